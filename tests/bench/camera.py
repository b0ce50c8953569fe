"""Real encoders over RTSP into `edge run`: is every frame there, and what does it cost beside `ffmpeg -c copy`.

Both look at the same camera at the same time. Frames are counted where the encoder gives them and where the store has them,
from the first to the last that is stored. `python -m tests.bench.camera --seconds 600` is the long form.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av

from drivers.camera.packet import Packet, from_event
from edge.demo.nodes import NodeProcess
from edge.export.video import Footage
from tests.bench.figures import Printed
from tests.servers.camera import Encoder, RtspCameras, ffmpeg, matching

SECONDS = 15.0
SETTLE_S = 5.0
PATIENCE_S = 60.0
CUT_S = 5.0
SCENE = "zone-plate kx2=12 ky2=12 kt=2"
"""Moves everywhere, so that the encoder uses all its bitrate, as before trees in the wind."""
FULL_HD = Encoder("cam", "h264", 1920, 1080, 30, 30, 4_000, SCENE)
OTHERS = (
    Encoder("cam", "h265", 1280, 720, 10, 20, 2_000, SCENE),
    Encoder("cam", "mjpeg", 1280, 720, 15, 1, 0, SCENE),
)
FOUR = tuple(Encoder(f"cam{number}", "h264", 640, 360, 15, 30, 1_000, SCENE) for number in range(4))


@dataclass(frozen=True, slots=True)
class Line:
    line: str

    def text(self) -> str:
        return self.line


def figures(folder: Path, seconds: float = SECONDS) -> Iterator[Printed]:
    yield from _beside_ffmpeg(folder / "h264", "1080p30 H.264, 4 Mbit/s", (FULL_HD,), seconds)
    for encoder in OTHERS:
        what = f"{encoder.height}p{encoder.rate} {encoder.codec}"
        yield from _beside_ffmpeg(folder / encoder.codec, what, (encoder,), min(seconds, SECONDS))
    yield from _beside_ffmpeg(folder / "four", "four of 360p15 H.264 at once", FOUR, min(seconds, SECONDS))


def _beside_ffmpeg(folder: Path, what: str, encoders: Sequence[Encoder], seconds: float) -> Iterator[Printed]:
    with ExitStack() as stack:
        server = stack.enter_context(RtspCameras(folder / "server", *encoders))
        # One after the other: the server breaks when two ask at once for a camera that is not running yet. And the second
        # one makes it set the camera's clock anew, for the first to see.
        copies = [stack.enter_context(_copy(server, encoder, folder)) for encoder in encoders]
        for copy in copies:
            stack.callback(copy.terminate)
        _until("an encoder runs", lambda: all(len(server.encoded(encoder.path)) > encoder.rate for encoder in encoders))
        node = NodeProcess(folder / "node", _configuration(folder / "node", server, encoders))
        stack.callback(node.kill)
        node.start()
        node.ready()
        _until("video is durable", lambda: all(source.events for source in node.client.status().sources))
        time.sleep(SETTLE_S)
        assert node.pid is not None
        parts = {"edge run": [node.pid], "its readers": _children(node.pid), "ffmpeg": [copy.pid for copy in copies]}
        before = {name: sum(map(_cpu_s, pids)) for name, pids in parts.items()}
        began_s = time.monotonic()
        time.sleep(seconds)
        lasted_s = time.monotonic() - began_s
        share = {name: 100 * (sum(map(_cpu_s, pids)) - before[name]) / lasted_s for name, pids in parts.items()}
        ours = share["edge run"] + share["its readers"]
        yield Line(
            f"{what}, {lasted_s:.0f} s: {ours:.2f} % of a core ({share['edge run']:.2f} in edge run, "
            f"{share['its readers']:.2f} in the processes that read), ffmpeg -c copy {share['ffmpeg']:.2f} %: "
            f"{ours / share['ffmpeg']:.2f} times"
        )
        for encoder in encoders:
            yield from _judged(server, node, encoder, folder)


def _judged(server: RtspCameras, node: NodeProcess, encoder: Encoder, folder: Path) -> Iterator[Printed]:
    events = list(node.client.read(f"site/{encoder.path}"))
    stored = [from_event(event.payload, event.content_type, event.headers, event.time_ns) for event in events]
    times_s = [float(packet.pts * packet.base) for packet in stored if packet.pts is not None]
    encoded_s = [frame.pts_ns / 1e9 for frame in server.encoded(encoder.path)]
    found = matching(times_s, encoded_s)
    marks = [packet.discontinuity for packet in stored if packet.discontinuity]
    size_mb = sum(len(packet.payload) for packet in stored) / 1e6
    yield Line(
        f"  {encoder.path}: {len(stored):,} frames stored, {size_mb:.1f} MB, "
        f"{len(stored) - len(times_s)} without a time, marks {', '.join(marks)}; the encoder gave "
        f"{'the same' if found is not None else 'OTHERS'} between the first and the last of them"
    )
    if found is None:
        yield Line(f"  {encoder.path}: MISSING: {_missing(times_s, encoded_s)}")
    cut = folder / f"{encoder.path}.mp4"
    begin = next(event for event in events if event.time_ns >= events[-1].time_ns - CUT_S * 1e9)
    list(
        Footage(node.client, f"site/{encoder.path}").write_mp4(
            str(begin.position), str(events[-1].position), cut, close_gaps=False, on_skipped=lambda _: None
        )
    )
    yield Line(f"  {encoder.path}: {_compared(cut, stored)}; ffprobe: {_probed(cut)}")


def _compared(cut: Path, stored: Sequence[Packet]) -> str:
    """The cut's packets and their times beside the stored ones."""
    with av.open(str(cut)) as container:
        stream = container.streams.video[0]
        there = [(packet.pts, packet.time_base, bytes(packet)) for packet in container.demux(stream) if packet.size]
    end = len(stored) - 1
    beside = stored[end - len(there) : end]
    lengths = beside[0].codec in ("h264", "hevc")
    same = sum(
        _units(payload, lengths) == _units(packet.payload)
        for (_, _, payload), packet in zip(there, beside, strict=True)
    )
    first_s = float((beside[0].pts or 0) * beside[0].base)
    on_time = sum(
        abs(float((pts or 0) * (base or 0)) - (float((packet.pts or 0) * packet.base) - first_s)) < 1e-5
        for (pts, base, _), packet in zip(there, beside, strict=True)
    )
    return f"cut of {len(there)} frames, {same} of them bit-identical, {on_time} at the camera's times"


def _units(payload: bytes, lengths: bool = False) -> list[bytes]:
    """The units of a packet, without what stands between them: lengths in a file, start codes over the network."""
    if payload.startswith(b"\xff\xd8"):
        return [payload]
    if not lengths:
        return [unit for unit in re.split(rb"\x00*\x00\x00\x01", payload) if unit]
    reader, units = io.BytesIO(payload), []
    while size := reader.read(4):
        units.append(reader.read(int.from_bytes(size, "big")))
    return units


def _probed(cut: Path) -> str:
    program, environment = ffmpeg("ffprobe")
    options = ["-v", "warning", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"]
    done = subprocess.run([program, *options, cut], env=environment, capture_output=True, text=True, check=False)
    return f"{done.stdout.strip()} frames decoded, {done.stderr.strip() or 'nothing to complain about'}"


def _missing(times_s: Sequence[float], encoded_s: Sequence[float]) -> str:
    steps = max(later - earlier for earlier, later in pairwise(times_s))
    given = max(later - earlier for earlier, later in pairwise(encoded_s))
    return f"steps up to {steps:.3f} s stored, up to {given:.3f} s encoded"


def _configuration(folder: Path, server: RtspCameras, encoders: Sequence[Encoder]) -> str:
    tables = [f'[node]\nname = "bench"\ndata_dir = "{folder}"\nsocket = "{folder}/edge.sock"\n']
    for encoder in encoders:
        tables.append(
            f'[[source]]\nname = "{encoder.path}"\ndriver = "camera"\nurl = "{server.url(encoder.path)}"\n'
            f'stream = "site/{encoder.path}"\n'
        )
    return "\n".join(tables)


def _until(what: str, holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what}: not in {PATIENCE_S:.0f} s")
        time.sleep(0.2)


def _copy(server: RtspCameras, encoder: Encoder, folder: Path) -> subprocess.Popen[bytes]:
    program, environment = ffmpeg()
    arguments = ["-rtsp_transport", "tcp", "-i", server.url(encoder.path), "-map", "0:v", "-c", "copy"]
    return subprocess.Popen(
        [program, "-loglevel", "error", "-nostdin", *arguments, folder / f"{encoder.path}.mkv"], env=environment
    )


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text(encoding="ascii").split()]


def _cpu_s(pid: int) -> float:
    """Time on a processor of all threads that there are, to the nanosecond (sched-stats: /proc/PID/task/TID/schedstat)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.camera")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of the camera in full HD")
    seconds: float = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="edge-bench-camera-") as folder:
        for figure in figures(Path(folder), seconds):
            print(figure.text(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
