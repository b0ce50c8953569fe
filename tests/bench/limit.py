"""A disk limit under far more than fits: its peak, how much of it is in use, what is written for it, and how fast.

Readings are JSON as devices send them; bulk is what a camera encodes, which no compression makes smaller.
`EDGE_BENCH_LIMIT_GB` says how much goes in (5).
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from storage import Append, Frame, SegmentStore, StreamConfig, Ticket
from tests.bench.figures import Figure

LIMIT_BYTES = 256 << 20
FULL_FROM_BYTES = LIMIT_BYTES * 5 // 4
"""So much payload fills it, so from here on something is given up for everything that comes."""
TOTAL_BYTES = int(float(os.environ.get("EDGE_BENCH_LIMIT_GB", "5")) * 1e9)
READINGS = 500
FRAME_BYTES = 250_000
IN_FLIGHT = 16
Source = Callable[[int], tuple[Append, int]]


def figures(folder: Path) -> list[Figure]:
    """Readings alone and bulk alone say what each writes; both together go against the limit."""
    made = []
    for what, source, part in (("readings", _readings(), 5), ("bulk", _bulk(), 5)):
        run = Run(folder / what, [source], TOTAL_BYTES // part)
        made.append(
            Figure(f"{what}: written to the disk", run.written_bytes / 1e6, "MB", "the payload", run.amplification)
        )
    run = Run(folder / "mixed", [_readings(), _bulk(), _bulk(), _bulk()], TOTAL_BYTES)
    slow = Run(folder / "slow", [_one_second_of_camera(), _ten_readings()], TOTAL_BYTES, in_flight=1)
    bare = _bare(folder / "bare", min(TOTAL_BYTES, 1_000_000_000))
    note = f"{run.payload_bytes / 1e9:.1f} GB, longest pause {run.longest_s * 1000:.0f} ms"
    return [
        *made,
        _share("full speed: peak on disk", run.peak_bytes),
        _share("full speed: in use, on average", run.mean_bytes, run.least_bytes),
        Figure("full speed: durable", run.rate / 1e6, "MB/s", "bare write+fdatasync", run.rate / bare, note),
        _share("camera, 10 readings/s: peak on disk", slow.peak_bytes),
        _share("camera, 10 readings/s: in use, on average", slow.mean_bytes, slow.least_bytes),
        Figure("camera, 10 readings/s: written", slow.written_bytes / 1e6, "MB", "the payload", slow.amplification),
    ]


def _share(what: str, size_bytes: float, least_bytes: int | None = None) -> Figure:
    note = "" if least_bytes is None else f"never below {least_bytes / LIMIT_BYTES:.2f}"
    return Figure(what, size_bytes / (1 << 20), "MiB", "the limit", size_bytes / LIMIT_BYTES, note)


class Run:
    """One store under the limit, given so many bytes of payload."""

    def __init__(self, path: Path, sources: list[Source], total_bytes: int, in_flight: int = IN_FLIGHT) -> None:
        self.payload_bytes = 0
        self.peak_bytes = 0
        self.longest_s = 0.0
        self._path = path
        self._in_flight = in_flight
        self._seen: list[int] = []
        self._done = threading.Event()
        with SegmentStore.open(path, disk_limit=LIMIT_BYTES) as store:
            store.create_stream("readings", StreamConfig(when_full="drop-oldest", priority=20))
            store.create_stream("bulk", StreamConfig(kind="bulk", when_full="drop-oldest", priority=5))
            watcher = threading.Thread(target=self._watch)
            watcher.start()
            before, started = _written_bytes(), time.monotonic()
            try:
                self._fill(store, sources, total_bytes)
            finally:
                self._done.set()
                watcher.join()
            self.rate = self.payload_bytes / (time.monotonic() - started)
            self.written_bytes = _written_bytes() - before
        shutil.rmtree(path)
        self.mean_bytes = sum(self._seen) / max(1, len(self._seen))
        self.least_bytes = min(self._seen, default=0)
        self.amplification = self.written_bytes / self.payload_bytes

    def _fill(self, store: SegmentStore, sources: list[Source], total_bytes: int) -> None:
        waiting: deque[Ticket] = deque()
        number = 0
        while self.payload_bytes < total_bytes:
            append, size = sources[number % len(sources)](number)
            waiting.append(store.submit([append]))
            self.payload_bytes += size
            number += 1
            if len(waiting) >= self._in_flight:
                before = time.monotonic()
                while not waiting[0].done():
                    store.commit()
                self.longest_s = max(self.longest_s, time.monotonic() - before)
                if self.payload_bytes > FULL_FROM_BYTES:
                    self._seen.append(_disk_bytes(self._path))
                while waiting and waiting[0].done():
                    waiting.popleft()
        for ticket in waiting:
            ticket.result()

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self.peak_bytes = max(self.peak_bytes, _disk_bytes(self._path))


def _readings() -> Source:
    random = Random(3)
    value = [20.0] * 40
    many = []
    for index in range(40_000):
        device = index % 40
        value[device] += random.gauss(0, 0.05)
        many.append(
            json.dumps(
                {
                    "device": f"pump-{device}", "time": 1_700_000_000_000 + index * 25, "temperature_c": round(value[device], 2),
                    "pressure_bar": round(3 + value[device] / 50, 3), "flow_l_s": round(random.gauss(12, 0.2), 2), "state": "RUN",
                }
            ).encode()
        )  # fmt: skip

    def source(number: int) -> tuple[Append, int]:
        first = number * READINGS % (len(many) - READINGS)
        chosen = many[first : first + READINGS]
        return Append("readings", [Frame(chosen, "pumps")]), sum(map(len, chosen))

    return source


def _bulk() -> Source:
    frames = [Random(index).randbytes(FRAME_BYTES) for index in range(16)]

    def source(number: int) -> tuple[Append, int]:
        return Append("bulk", [Frame([frames[number % len(frames)]], "camera")]), FRAME_BYTES

    return source


def _one_second_of_camera() -> Source:
    """What a camera of 250 kB/s makes in a second, durable every second."""
    return _bulk()


def _ten_readings() -> Source:
    """A second of ten readings a second, in one commit."""
    many = _readings()

    def source(number: int) -> tuple[Append, int]:
        append, _ = many(number)
        chosen = append.frames[0].payloads[:10]
        return Append("readings", [Frame(chosen, "pumps")]), sum(map(len, chosen))

    return source


def _files(path: Path) -> Iterator[os.DirEntry[str]]:
    for found in os.scandir(path):
        if found.is_dir():
            yield from _files(Path(found.path))
        else:
            yield found


def _disk_bytes(path: Path) -> int:
    total = 0
    for found in _files(path):
        try:
            total += found.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


def _written_bytes() -> int:
    """What this process caused to be written to storage (proc(5), /proc/PID/io)."""
    for line in Path("/proc/self/io").read_text().splitlines():
        name, _, value = line.partition(": ")
        if name == "write_bytes":
            return int(value)
    return 0


def _bare(path: Path, total_bytes: int) -> float:
    """Bytes a second of plain write and fdatasync, 1 MB each, over and over the same file of the limit's size."""
    data = Random(1).randbytes(1_000_000)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT)
    started, done = time.monotonic(), 0
    while done < total_bytes:
        os.pwrite(handle, data, done % (LIMIT_BYTES - len(data)))
        os.fdatasync(handle)
        done += len(data)
    rate = done / (time.monotonic() - started)
    os.close(handle)
    path.unlink()
    return rate
