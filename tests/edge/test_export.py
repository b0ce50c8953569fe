"""`edge export`: ranges of streams as files, through the socket of a node."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av
import cv2
import pytest

from drivers.camera.mp4 import write_mp4
from drivers.camera.packet import Packet, to_frame
from edge.cli.main import main
from edge.client import Client
from edge.export.video import Footage
from edge.http.local import local_application
from edge.http.server import Server, UnixSite
from edge.words import moment
from storage.event import Event
from storage.model import Append, Gap, GapReason, Position, StreamConfig
from storage.store import SegmentStore
from tests.drivers.camera.footage import FPS, NS, film, moving
from tests.drivers.camera.test_mp4 import probed, written
from tests.edge.running import running, write_config
from tests.edge.test_api import BareNode
from tests.waiting import until


@dataclass
class Box:
    """A node, and the command `edge` beside it."""

    node: BareNode
    socket: Path
    folder: Path
    capture: pytest.CaptureFixture[str]

    @property
    def client(self) -> Client:
        return Client(self.socket)

    @property
    def store(self) -> SegmentStore:
        return self.node.store

    def export(self, *arguments: str) -> tuple[int, str, str]:
        code = main(["--socket", str(self.socket), "export", *arguments])
        said = self.capture.readouterr()
        return code, said.out, said.err

    def out(self, name: str) -> Path:
        return self.folder / name

    def film(self, packets: Sequence[Packet], key: str = "gate") -> list[Packet]:
        """Store `packets` as a camera does that sent the last of them just now."""
        if not self.store.has_stream("video/gate"):
            self.store.create_stream("video/gate", StreamConfig(kind="bulk"))
        late_ns = self.store.clock.boot_ns() - packets[-1].captured_ns
        now = [replace(packet, captured_ns=packet.captured_ns + late_ns) for packet in packets]
        for start in range(0, len(now), 7):
            self.store.submit(
                [Append("video/gate", [to_frame(packet, key) for packet in now[start : start + 7]])]
            ).result()
        return now


@pytest.fixture
def box(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Box]:
    node = BareNode()
    server = Server(UnixSite(local_application(node), tmp_path / "edge.sock"))
    server.start()
    folder = tmp_path / "out"
    folder.mkdir()
    yield Box(node, tmp_path / "edge.sock", folder, capsys)
    server.stop()
    node.close()


def times(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [packet.pts for packet in container.demux(video=0) if packet.pts is not None]


def test_a_range_begins_at_the_key_frame_before_it(box: Box) -> None:
    packets = box.film(film(moving(40), gop=10))
    events = list(box.client.read("video/gate"))
    out = box.out("cut.mp4")
    code, said, error = box.export(
        "video/gate", "--from", str(events[17].position), "--to", str(events[33].position), "--out", str(out), "--json"
    )
    assert code == 0
    file = json.loads(said)["files"][0]
    assert (file["path"], file["frames"], file["first_ns"]) == (str(out), 23, events[10].time_ns)
    assert error.startswith("edge: 23 frames from 20")
    assert times(out) == [(packet.pts or 0) - (packets[10].pts or 0) for packet in packets[10:33]]


def test_a_range_by_time_is_the_same(box: Box) -> None:
    box.film(film(moving(40), gop=10))
    events = list(box.client.read("video/gate"))
    begin, end = (moment(events[number].time_ns, "microseconds") for number in (25, 35))
    box.export("video/gate", "--from", begin, "--to", end, "--out", str(box.out("cut.mp4")))
    assert len(times(box.out("cut.mp4"))) in (15, 16)  # the text has microseconds


def test_a_range_that_begins_at_a_key_frame_has_nothing_before_it(box: Box) -> None:
    box.film(film(moving(40), gop=10))
    events = list(box.client.read("video/gate"))
    box.export("video/gate", "--from", str(events[20].position), "--out", str(box.out("cut.mp4")))
    assert len(times(box.out("cut.mp4"))) == 20


def test_a_range_without_video_names_the_nearest(box: Box) -> None:
    box.film(film(moving(20), gop=10))
    code, _, error = box.export(
        "video/gate", "--from", "2001-01-01T00:00:00Z", "--to", "2001-01-02T00:00:00Z", "--out", str(box.out("cut.mp4"))
    )
    assert code == 1
    assert "no video from 2001-01-01T00:00:00Z to 2001-01-02T00:00:00Z; the nearest is from 20" in error
    assert list(box.folder.iterdir()) == []
    code, _, error = box.export("video/gate", "--from", "tail", "--out", str(box.out("cut.mp4")))
    assert code == 1
    assert "the nearest is around 20" in error


def test_a_change_in_mid_stream_is_another_file(box: Box) -> None:
    box.film(film(moving(10)))
    box.film(film(moving(10, (320, 240))))
    code, _, error = box.export("video/gate", "--out", str(box.out("cut.mp4")))
    assert code == 0
    assert sorted(each.name for each in box.folder.iterdir()) == ["cut-2.mp4", "cut.mp4"]
    assert "the picture's size changed from 160x120 to 320x240: another file begins" in error


def test_two_cameras_in_one_stream_must_be_told_apart(box: Box) -> None:
    box.film(film(moving(10)))
    box.film(film(moving(12)), key="yard")
    code, _, error = box.export("video/gate", "--out", str(box.out("cut.mp4")))
    assert (code, "has the video of gate and of yard: choose one with --key" in error) == (1, True)
    assert list(box.folder.iterdir()) == []
    assert box.export("video/gate", "--key", "yard", "--out", str(box.out("cut.mp4")))[0] == 0
    assert len(times(box.out("cut.mp4"))) == 12


@pytest.mark.long
def test_one_of_two_cameras_that_share_a_stream_begins_at_a_key_frame_of_its_own(box: Box) -> None:
    gate, yard = film(moving(40), gop=20), film(moving(40), gop=5)
    for number in range(40):
        for packet, key in ((gate[number], "gate"), (yard[number], "yard")):
            box.film([packet], key)
    wanted = [event for event in box.client.read("video/gate") if event.routing_key == "gate"][37]
    arguments = ("video/gate", "--key", "gate", "--from", str(wanted.position))
    assert box.export(*arguments, "--out", str(box.out("cut.mp4")))[0] == 0
    assert len(times(box.out("cut.mp4"))) == 20
    assert box.export("video/gate", "--key", "gate", "--out", str(box.out("now.jpg")))[0] == 0


def test_what_is_no_video_is_refused_in_words(box: Box) -> None:
    box.client.write("plant/flow", [b"12.7"])
    for name in ("cut.mp4", "now.jpg"):
        code, _, error = box.export("plant/flow", "--from", "head", "--out", str(box.out(name)))
        assert code == 1
        assert "plant/flow, event at 0.0:0: an event of no content type is no frame of a camera" in error


def test_a_gap_in_the_cameras_time_can_be_left_out(box: Box) -> None:
    before = film(moving(10))
    after = [replace(each, captured_ns=each.captured_ns + 60 * NS) for each in film(moving(10))]
    after[0] = replace(after[0], discontinuity="reopened")
    box.film([*before, *after])
    box.export("video/gate", "--out", str(box.out("whole.mp4")))
    box.export("video/gate", "--close-gaps", "--out", str(box.out("closed.mp4")))
    assert [times(box.out(name))[-1] // 90_000 for name in ("whole.mp4", "closed.mp4")] == [60, 1]


class Torn(Client):
    """Tells of a gap in front of one event, as where the disk limit or a flipped bit took something."""

    def __init__(self, socket: Path, before: Position) -> None:
        super().__init__(socket)
        self._before = before

    def read(
        self,
        stream: str,
        start: str | Position = "head",
        *,
        stop: str | Position | None = None,
        limit: int | None = None,
        follow: bool = False,
        on_gap: Callable[[Gap], None] | None = None,
    ) -> Generator[Event, None, None]:
        for event in super().read(stream, start, stop=stop, limit=limit, follow=follow):
            if event.position == self._before and on_gap is not None:
                on_gap(Gap(stream, event.position, event.position, GapReason.DROPPED, 1, ""))
            yield event


def test_frames_that_build_on_what_is_gone_are_left_out(box: Box) -> None:
    packets = box.film(film(moving(40), gop=10))
    gaps: list[Gap] = []
    client = Torn(box.socket, list(box.client.read("video/gate"))[15].position)
    list(
        Footage(client, "video/gate", None, gaps.append).write_mp4(
            "head", None, box.out("cut.mp4"), close_gaps=False, on_skipped=lambda frames: None
        )
    )
    whole = [packet.pts or 0 for packet in (*packets[:15], *packets[20:])]
    assert times(box.out("cut.mp4")) == [pts - whole[0] for pts in whole]
    assert len(gaps) == 1


def test_a_picture_is_what_the_camera_saw_at_that_moment(box: Box) -> None:
    shown = moving(40)
    box.film(film(shown, gop=20, b_frames=2))
    events = list(box.client.read("video/gate"))
    # In decoding order: among three in a row is one that is shown before what was decoded ahead of it.
    for wanted in events[26:29]:
        number = (int(dict(wanted.headers)["video.pts"]) - 123_456) * FPS // 90_000
        assert box.export("video/gate", "--from", str(wanted.position), "--out", str(box.out("then.jpg")))[0] == 0
        seen = cv2.imread(str(box.out("then.jpg")), cv2.IMREAD_GRAYSCALE)
        assert seen is not None
        apart = [float(cv2.norm(seen, each, cv2.NORM_L1)) for each in shown]
        assert apart.index(min(apart)) == number


def test_without_a_moment_a_picture_is_the_newest_and_a_thumbnail_is_as_wide_as_it_is_told(box: Box) -> None:
    shown = moving(35)
    box.film(film(shown, gop=10))
    _, said, _ = box.export("video/gate", "--width", "80", "--out", str(box.out("now.jpg")), "--json")
    assert json.loads(said)["files"][0]["time_ns"] == list(box.client.read("video/gate"))[-1].time_ns
    seen = cv2.imread(str(box.out("now.jpg")), cv2.IMREAD_GRAYSCALE)
    assert seen is not None
    assert seen.shape == (60, 80)
    apart = [float(cv2.norm(seen, cv2.resize(each, (80, 60)), cv2.NORM_L1)) for each in shown]
    assert apart.index(min(apart)) == 34


def test_a_jpeg_of_the_camera_stays_as_it_is(box: Box) -> None:
    packets = box.film(film(moving(5), "mjpeg"))
    box.export("video/gate", "--from", "tail", "--out", str(box.out("now.jpg")))
    assert box.out("now.jpg").read_bytes() == packets[-1].payload


def test_lines_are_those_of_read(box: Box) -> None:
    box.client.write("plant/flow", [b"12.7", b"\xff"], key="pump-7", writer="plc", number=4)
    code, said, error = box.export("plant/flow", "--out", str(box.out("a.jsonl")))
    assert (code, said, error) == (0, "", f"edge: 2 events in {box.out('a.jsonl')}\n")
    main(["--socket", str(box.socket), "read", "--json", "plant/flow"])
    assert box.out("a.jsonl").read_text() == box.capture.readouterr().out


def test_rows_have_a_column_for_everything(box: Box) -> None:
    body = {"stream": "s", "key": "a,b", "payload": 'say "12.7"\nagain', "headers": {"unit": "m3/h"}}
    box.client.post("/v1/write", json.dumps(body).encode())
    box.client.write("s", [b"\xff\x00"], writer="plc", number=4)
    box.export("s", "--out", str(box.out("a.csv")))
    with box.out("a.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    event = next(box.client.read("s"))
    assert (first["key"], first["payload"], first["headers"]) == ("a,b", 'say "12.7"\nagain', '[["unit", "m3/h"]]')
    assert (first["position"], first["time"][:10]) == (str(event.position), first["time"][:4] + first["time"][4:10])
    assert (second["writer"], second["number"], second["payload"], second["payload_base64"]) == ("plc", "4", "", "/wA=")


def test_raw_is_the_bytes_and_a_key_selects(box: Box) -> None:
    box.client.write("s", [b"\xff\x00", b"a"], key="x")
    box.client.write("s", [b"b"], key="y")
    box.export("s", "--out", str(box.out("all.raw")))
    box.export("s", "--key", "y", "--out", str(box.out("y.raw")))
    assert (box.out("all.raw").read_bytes(), box.out("y.raw").read_bytes()) == (b"\xff\x00ab", b"b")


def test_a_file_that_can_not_be_written_or_is_not_known_is_told(box: Box) -> None:
    box.client.write("s", [b"a"])
    code, _, error = box.export("s", "--out", str(box.out("nowhere/a.csv")))
    assert (code, "a.csv: can't be written: No such file or directory" in error) == (1, True)
    code, _, error = box.export("s", "--out", str(box.out("a.docx")))
    assert (code, "a.docx: the ending of --out says what to write: .jsonl, .csv" in error) == (2, True)
    code, _, error = box.export("s", "--out", str(box.out("a.parquet")))
    assert (code, "Parquet is not there yet" in error) == (2, True)
    assert box.export("none", "--out", str(box.out("a.csv")))[0] == 1
    assert list(box.folder.iterdir()) == []


@pytest.mark.long
def test_from_the_camera_through_the_gateway_into_a_file_every_packet_is_the_same(tmp_path: Path) -> None:
    """A file with lengths in place of start codes, so that nothing may differ: not a byte, not a tick."""
    frames = 50
    list(write_mp4(film(moving(frames), gop=25, b_frames=2, fps=25), tmp_path / "camera.mp4"))
    camera = f'[[source]]\nname = "gate"\ndriver = "camera"\nurl = "{tmp_path}/camera.mp4"\nstream = "video/gate"\n'
    with running(write_config(tmp_path / "node", more=camera)) as node:
        until(lambda: node.client.sources()[0].events >= frames, f"{frames} durable frames")
        done = node.edge("export", "video/gate", "--out", str(tmp_path / "cut.mp4"))
    assert done.code == 0, done.err
    assert written(tmp_path / "cut.mp4") == written(tmp_path / "camera.mp4")
    assert probed(tmp_path / "cut.mp4")["nb_read_frames"] == str(frames)
