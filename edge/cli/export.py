"""`edge export`: a range of a stream into a file, in the form that the file's ending names."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.cli.events import report_gap
from edge.cli.options import FINE, WRONG, Options, Verbs, add_verb, complain, print_json
from edge.words import count, count_of, moment

_WHERE = "head, tail, a position that an earlier read printed, an ISO 8601 time, or an age such as 15m"
_ENDINGS = ".jsonl, .csv, .raw, .mp4 or .jpg"
_PICTURES = (".jpg", ".jpeg")


def add(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = add_verb(verbs, "export", export, "a range of a stream into a file")
    parser.add_argument("stream", metavar="STREAM")
    parser.add_argument(
        "--from", dest="start", metavar="P", help=f"{_WHERE} (default: head; of a picture: tail, the newest)"
    )
    parser.add_argument("--to", dest="stop", metavar="P", help="the first that is left out (default: none)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=f"its ending says what: {_ENDINGS}")
    parser.add_argument("--key", metavar="K", help="only events of this routing key")
    parser.add_argument("--width", type=int, metavar="N", help="of a picture, in pixels (default: the camera's)")
    parser.add_argument(
        "--close-gaps",
        action="store_true",
        help="of video: leave out the time in which there is none, as in a time-lapse",
    )


def export(arguments: argparse.Namespace, options: Options) -> int:
    from edge.export.tables import TABLES  # noqa: PLC0415  (other verbs should not wait for it)

    ending = arguments.out.suffix.lower()
    if ending in TABLES:
        return _table(arguments, options)
    if ending == ".mp4":
        return _video(arguments, options)
    if ending in _PICTURES:
        return _picture(arguments, options)
    if ending == ".parquet":
        complain(f"{arguments.out}: Parquet is not there yet: export .csv or .jsonl, which its tools read")
        return WRONG
    complain(f"{arguments.out}: the ending of --out says what to write: {_ENDINGS}")
    return WRONG


def _table(arguments: argparse.Namespace, options: Options) -> int:
    from edge.export.tables import TABLES  # noqa: PLC0415
    from edge.export.whole import whole_file  # noqa: PLC0415

    events = options.client().read(arguments.stream, arguments.start or "head", stop=arguments.stop, on_gap=report_gap)
    wanted = (event for event in events if arguments.key is None or event.routing_key == arguments.key)
    with whole_file(arguments.out) as file:
        events_written = TABLES[arguments.out.suffix.lower()](wanted, file)
    complain(f"{count_of(events_written, 'event')} in {arguments.out}")
    if options.json:
        print_json({"files": [{"path": str(arguments.out), "events": events_written}]})
    return FINE


def _video(arguments: argparse.Namespace, options: Options) -> int:
    from edge.export.video import Footage  # noqa: PLC0415  (loads PyAV and OpenCV)

    footage = Footage(options.client(), arguments.stream, arguments.key, report_gap)
    files: list[dict[str, object]] = []
    for file in footage.write_mp4(
        arguments.start or "head",
        arguments.stop,
        arguments.out,
        close_gaps=arguments.close_gaps,
        on_skipped=lambda frames: complain(f"{count(frames)} frames before the first key frame are left out"),
    ):
        if file.why:
            complain(f"{file.why}: another file begins")
        complain(
            f"{count_of(file.frames, 'frame')} from {moment(file.first_ns)} to {moment(file.last_ns)} in {file.path}"
        )
        files.append(
            {"path": str(file.path), "frames": file.frames, "first_ns": file.first_ns, "last_ns": file.last_ns}
        )
    if options.json:
        print_json({"files": files})
    return FINE


def _picture(arguments: argparse.Namespace, options: Options) -> int:
    from edge.export.video import Footage  # noqa: PLC0415

    footage = Footage(options.client(), arguments.stream, arguments.key)
    frame = footage.write_picture(arguments.start or "tail", arguments.out, arguments.width)
    complain(f"the frame of {moment(frame.time_ns)} in {arguments.out}")
    if options.json:
        print_json({"files": [{"path": str(arguments.out), "time_ns": frame.time_ns, "position": str(frame.position)}]})
    return FINE
