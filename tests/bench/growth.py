"""What more streams, and more that is stored, cost: one table.

Each row is a store of its own, filled by one process and measured by another that opens it: how long that takes, what
it holds in memory then, what an append costs that waits for its sync, how soon a reader that follows has it, and what
an event costs with many in flight, spread over all streams. `EDGE_BENCH_GROWTH_GB` says how much is stored (0.1,1,10).
"""

from __future__ import annotations

import os
import shutil
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random

from edge.daemon.committer import Committer
from edge.daemon.run import tune_interpreter
from storage import Append, Frame, SegmentStore, StreamConfig, Ticket
from tests.bench.figures import memory_bytes

STREAMS = (1, 10, 100, 1000)
STORED_GB = tuple(float(text) for text in os.environ.get("EDGE_BENCH_GROWTH_GB", "0.1,1,10").split(","))
FEW = 10
BATCH_BYTES = 128 << 10
EVENT_BYTES = 1000
APPENDS = 200
SPREAD = 20_000
IN_FLIGHT = 1000
PAYLOAD = b"12.7 " * 20


@dataclass(frozen=True, slots=True)
class Row:
    """One store. Times in ms, processor time in us."""

    streams: int
    stored_bytes: int
    families: int
    open_ms: float
    open_cpu_ms: float
    memory_mib: float
    append_cpu_us: float
    append_ms: float
    tail_ms: float
    tail_99_ms: float
    spread_cpu_us: float

    def text(self) -> str:
        return (
            f"{self.streams:7,} {self.stored_bytes / 1e9:8.2f} {self.families:5} {self.open_ms:9.0f} {self.open_cpu_ms:7.0f}"
            f" {self.memory_mib:7.0f} {self.append_cpu_us:9.0f} {self.append_ms:7.2f} {self.tail_ms:7.2f} {self.tail_99_ms:7.2f}"
            f" {self.spread_cpu_us:8.1f}"
        )


@dataclass(frozen=True, slots=True)
class Head:
    """What the columns are."""

    def text(self) -> str:
        return (
            f"{'streams':>7} {'GB':>8} {'gens':>5} {'open ms':>9} {'cpu':>7} {'MiB':>7} {'append us':>9} {'ms':>7}"
            f" {'tail ms':>7} {'p99':>7} {'us/event':>8}"
        )


def figures(folder: Path) -> list[Head | Row]:
    """More streams with the least that is stored, then more that is stored in a few."""
    plans = [(streams, STORED_GB[0]) for streams in STREAMS] + [(FEW, stored_gb) for stored_gb in STORED_GB[1:]]
    return [Head(), *(_row(folder / f"{streams}-{stored_gb}", streams, stored_gb) for streams, stored_gb in plans)]


def _row(path: Path, streams: int, stored_gb: float) -> Row:
    _apart(_fill, path, streams, int(stored_gb * 1e9))
    row = _apart(_measure, path, streams, 0)
    shutil.rmtree(path)
    assert row is not None
    return row


def _apart(work: Callable[[Path, int, int], Row | None], path: Path, streams: int, stored_bytes: int) -> Row | None:
    """In a process of its own: what one left in memory is not counted against the next."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(work, path, streams, stored_bytes).result()


def _fill(path: Path, streams: int, stored_bytes: int) -> None:
    """Store that many bytes, which no compression makes smaller, in all streams in turn."""
    random = Random(1)
    with SegmentStore.open(path) as store:
        for name in _names(streams):
            store.create_stream(name, StreamConfig())
        waiting: deque[Ticket] = deque()
        for number in range(stored_bytes // BATCH_BYTES):
            data = random.randbytes(BATCH_BYTES)
            events = [data[at : at + EVENT_BYTES] for at in range(0, BATCH_BYTES, EVENT_BYTES)]
            waiting.append(store.submit([Append(f"s/{number % streams}", [Frame(events, "key")])]))
            if len(waiting) >= 32:
                waiting.popleft().result()
        for ticket in waiting:
            ticket.result()


def _measure(path: Path, streams: int, _: int) -> Row:
    tune_interpreter()
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    with SegmentStore.open(path) as store:
        opened_ms, opened_cpu_ms = 1e3 * (time.perf_counter() - began_s), 1e3 * (time.process_time() - began_cpu_s)
        memory_mib = memory_bytes(os.getpid(), "VmRSS") / 2**20
        committer = Committer(store, lambda: None)
        committer.start()
        cpu_us, append_ms = _appends(store, streams)
        tail_ms = _tail(store)
        spread_us = _spread(store, streams)
        committer.stop()
        store.own_commits(False)
        return Row(
            streams, store.disk_bytes(), len(store._catalog.families), opened_ms, opened_cpu_ms, memory_mib, cpu_us, append_ms,
            statistics.median(tail_ms), sorted(tail_ms)[len(tail_ms) * 99 // 100], spread_us,
        )  # fmt: skip


def _appends(store: SegmentStore, streams: int) -> tuple[float, float]:
    """Appends that wait for their sync, to all streams in turn: processor time of one in us, its time in ms."""
    writers = [store.writer(name) for name in _names(streams)]
    times_s = []
    began_cpu_s = time.process_time()
    for number in range(APPENDS):
        began_s = time.perf_counter()
        writers[number % streams].append(PAYLOAD, "key").result()
        times_s.append(time.perf_counter() - began_s)
    return 1e6 * (time.process_time() - began_cpu_s) / APPENDS, 1e3 * statistics.median(times_s)


def _tail(store: SegmentStore) -> list[float]:
    """From an append to when a reader that follows has it, in ms; the next one is sent then."""
    seen_s: list[float] = []
    seen = threading.Semaphore(0)
    start = store.resolve("s/0", "tail")

    def follow() -> None:
        for _ in zip(range(APPENDS), store.read("s/0", start, follow=True), strict=False):
            seen_s.append(time.perf_counter())
            seen.release()

    reader = threading.Thread(target=follow)
    reader.start()
    writer = store.writer("s/0")
    sent_s = []
    for _ in range(APPENDS):
        sent_s.append(time.perf_counter())
        writer.append(PAYLOAD, "key")
        seen.acquire()
    reader.join()
    return [1e3 * (seen_s[number] - sent_s[number]) for number in range(APPENDS)]


def _spread(store: SegmentStore, streams: int) -> float:
    """Processor time of an event in us, with many in flight, each to the next stream."""
    writers = [store.writer(name) for name in _names(streams)]
    waiting: deque[Ticket] = deque()
    began_cpu_s = time.process_time()
    for number in range(SPREAD):
        waiting.append(writers[number % streams].append(PAYLOAD, "key"))
        if len(waiting) >= IN_FLIGHT:
            waiting.popleft().result()
    for ticket in waiting:
        ticket.result()
    return 1e6 * (time.process_time() - began_cpu_s) / SPREAD


def _names(streams: int) -> list[str]:
    return [f"s/{number}" for number in range(streams)]
