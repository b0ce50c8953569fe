"""Bulk: bytes written to the flash for each byte stored, and the rate beside a bare file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from storage import Append, Frame, SegmentStore, StreamConfig
from tests.bench.figures import Figure

CAMERA_BYTES = 250_000
"""A camera's second: what one commit holds."""
FRAMES = 25
CAMERA_SECONDS = 800
FULL_BYTES = 4 << 20
FULL_COMMITS = 100


def figures(folder: Path) -> list[Figure]:
    """Each beside a file that is written and synced with the same bytes as often. Each run has a folder of its own."""
    made: list[Figure] = []
    for what, size_bytes, commits in (
        ("bulk, 250 kB a commit", CAMERA_BYTES, CAMERA_SECONDS),
        ("bulk, 4 MiB a commit", FULL_BYTES, FULL_COMMITS),
    ):
        data = Random(1).randbytes(size_bytes)
        bare_rate, bare_amplification = _run(_bare, folder / f"bare-{size_bytes}", data, commits)
        rate, amplification = _run(_store, folder / f"store-{size_bytes}", data, commits)
        beside = "bare file, synced as often"
        made.append(Figure(f"{what}, MB/s", rate / 1e6, "MB/s", beside, rate / bare_rate))
        note = f"written for each byte stored: {amplification:.3f}, bare {bare_amplification:.3f}"
        made.append(Figure(f"{what}, per thousand bytes", 1000 * amplification, "bytes", note=note))
    return made


def _run(work: Callable[[Path, bytes, int], None], path: Path, data: bytes, commits: int) -> tuple[float, float]:
    """`(bytes a second, bytes written for each)`: by proc(5), what this process sent to the storage."""
    before, began_s = _written_bytes(), time.perf_counter()
    work(path, data, commits)
    duration_s = time.perf_counter() - began_s
    os.sync()
    total = len(data) * commits
    return total / duration_s, (_written_bytes() - before) / total


def _store(path: Path, data: bytes, commits: int) -> None:
    size = len(data) // FRAMES
    with SegmentStore.open(path) as store:
        store.create_stream("video", StreamConfig(kind="bulk"))
        for number in range(commits):
            frames = [Frame([data[at : at + size]], key_frame=at == 0) for at in range(0, size * FRAMES, size)]
            store.submit([Append("video", frames)], {"camera": b"%d" % number}).result()


def _bare(path: Path, data: bytes, commits: int) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for _ in range(commits):
        os.write(descriptor, data)
        os.fdatasync(descriptor)
    os.close(descriptor)
    path.unlink()


def _written_bytes() -> int:
    for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    raise ValueError("no write_bytes in /proc/self/io")
