"""Durable events of 100 bytes a second, beside SQLite and a bare file with the same bytes.

Rounds: in each one every way of writing runs once, with a fresh SQLite database and a fresh file before it, so that what
else the machine does hits all of them; what is printed is the median of the rounds' ratios. Processor time tells the
same on a machine that has other work. Then what was written is read back, and read along while it is written.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edge.daemon.committer import Committer
from edge.daemon.run import tune_interpreter
from storage import SegmentStore, StreamConfig, Ticket, Writer
from tests.bench.figures import Figure, payloads

SIZE_BYTES = 100
SECONDS = 0.7
ROUNDS = 5
MANY = 1000
EVENTS = payloads(MANY, SIZE_BYTES)
Send = Callable[[Writer], Ticket]


@dataclass(frozen=True, slots=True)
class Plan:
    """One way of writing: what a call sends, and how many of its tickets each writer has in flight."""

    what: str
    send: Send
    events: int
    in_flight: int
    writers: int


@dataclass(frozen=True, slots=True)
class Pace:
    """Events that were made durable, or read."""

    events: int
    seconds: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        return 1e6 * self.cpu_s / self.events


@dataclass(slots=True)
class Seen:
    """A way of writing in every round, and what ran beside it."""

    ours: list[Pace] = field(default_factory=list)
    sqlite: list[Pace] = field(default_factory=list)
    bare: list[Pace] = field(default_factory=list)
    read: list[Pace] = field(default_factory=list)


def figures(folder: Path) -> list[Figure]:
    """All of them. Each run has a store of its own."""
    tune_interpreter()
    plans = [
        *(Plan("append, 1,000 tickets in flight", _one, 1, 1000, writers) for writers in (1, 4, 16)),
        *(Plan(f"append_many({MANY:,})", _many, MANY, 4, writers) for writers in (1, 4, 16)),
    ]
    seen = [Seen() for _ in plans]
    for number in range(ROUNDS):
        for place, plan in enumerate(plans):
            path = folder / f"{number}-{place}"
            seen[place].bare.append(_bare(path.with_suffix(".bare"), MANY))
            seen[place].sqlite.append(_sqlite(path.with_suffix(".sqlite")))
            ours, read = _durable(path, plan, follow=False)
            seen[place].ours.append(ours)
            seen[place].read.append(read)
    made = _alone(folder) + _references(seen)
    for plan, rounds in zip(plans, seen, strict=True):
        made += _rows(plan, rounds)
    along = [_durable(folder / f"along-{number}", plans[3], follow=True) for number in range(ROUNDS)]
    kept_up = statistics.median(read.per_s / ours.per_s for ours, read in along)
    rate = statistics.median(ours.per_s for ours, _ in along)
    return [
        *made,
        Figure(
            "append_many, a reader follows in the same process",
            rate,
            "events/s",
            note=f"{kept_up:.2f} of it read meanwhile",
        ),
    ]


def _rows(plan: Plan, seen: Seen) -> list[Figure]:
    rate = statistics.median(ours.per_s for ours in seen.ours)
    name = f"{plan.what}, {plan.writers} writer{'s' * (plan.writers > 1)}"
    cpu = statistics.median(ours.cpu_us for ours in seen.ours)
    sqlite = _ratio(seen.ours, seen.sqlite)
    sqlite_cpu = statistics.median(o.cpu_us / s.cpu_us for o, s in zip(seen.ours, seen.sqlite, strict=True))
    note = f"{sqlite:.2f} of SQLite; cpu {cpu:.2f} us an event, {sqlite_cpu:.2f} of SQLite"
    rows = [Figure(name, rate, "events/s", "bare", _ratio(seen.ours, seen.bare), note)]
    if plan.events > 1:
        read = statistics.median(read.per_s for read in seen.read)
        cpu = statistics.median(read.cpu_us for read in seen.read)
        note = f"cpu {cpu:.2f} us an event"
        rows.append(Figure("  read back", read, "events/s", "what was written", _ratio(seen.read, seen.ours), note))
    return rows


def _references(seen: list[Seen]) -> list[Figure]:
    every = {"SQLite (WAL, FULL)": [s for r in seen for s in r.sqlite], "bare file": [b for r in seen for b in r.bare]}
    return [
        Figure(
            f"{name}, synced after {MANY:,}", statistics.median(pace.per_s for pace in paces), "events/s",
            note=f"cpu {statistics.median(pace.cpu_us for pace in paces):.2f} us an event",
        )
        for name, paces in every.items()
    ]  # fmt: skip


def _alone(folder: Path) -> list[Figure]:
    """One event at a time: what a sync costs."""
    plan = Plan("append, waiting for each", _one, 1, 1, 1)
    pairs = [
        (_durable(folder / f"alone-{number}", plan, follow=False)[0], _bare(folder / "alone.bare", 1))
        for number in range(ROUNDS)
    ]
    rate = statistics.median(ours.per_s for ours, _ in pairs)
    ratio = statistics.median(ours.per_s / bare.per_s for ours, bare in pairs)
    return [Figure(f"{plan.what}, 1 writer", rate, "events/s", "bare, each synced", ratio)]


def _ratio(over: list[Pace], under: list[Pace]) -> float:
    return statistics.median(one.per_s / other.per_s for one, other in zip(over, under, strict=True))


def _one(writer: Writer) -> Ticket:
    return writer.append(EVENTS[writer.next_number % MANY], "key")


def _many(writer: Writer) -> Ticket:
    return writer.append_many(EVENTS, "key")


def _durable(path: Path, plan: Plan, *, follow: bool) -> tuple[Pace, Pace]:
    """What was made durable, and what was read: afterwards, or meanwhile where it `follow`s."""
    with SegmentStore.open(path) as store:
        store.create_stream("bench", StreamConfig())
        committer = Committer(store, lambda: None)
        committer.start()
        counts = [0] * plan.writers
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        until_s = began_s + SECONDS
        threads = [threading.Thread(target=_write, args=(store, plan, until_s, counts, n)) for n in range(plan.writers)]
        reading: list[Pace] = []
        if follow:
            threads.append(threading.Thread(target=lambda: reading.append(_read(store, until_s))))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        events = sum(counts) * plan.events
        written = Pace(events, time.perf_counter() - began_s, time.process_time() - began_cpu_s)
        committer.stop()
        store.own_commits(False)
        read = reading[0] if follow else _read(store, None)
    shutil.rmtree(path)
    return written, read


def _write(store: SegmentStore, plan: Plan, until_s: float, counts: list[int], place: int) -> None:
    writer = store.writer("bench", f"writer-{place}")
    tickets: deque[Ticket] = deque()
    while time.perf_counter() < until_s:
        tickets.append(plan.send(writer))
        if len(tickets) >= plan.in_flight:
            tickets.popleft().result(30)
            counts[place] += 1
    for ticket in tickets:
        ticket.result(30)
        counts[place] += 1


def _read(store: SegmentStore, until_s: float | None) -> Pace:
    """All that is durable from the head on, or what there is until then."""
    reader = store.reader("bench")
    count = 0
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    while until_s is None or time.perf_counter() < until_s:
        seen = store.last_commit
        items = reader.poll()
        count += len(items)
        if not items:
            if until_s is None:
                break
            store.wait_for_commit(seen, 0.1)
    return Pace(count, time.perf_counter() - began_s, time.process_time() - began_cpu_s)


def _sqlite(path: Path) -> Pace:
    """The same payloads, each a row, in a transaction for each thousand."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE events (payload BLOB)")
    rows = [(event,) for event in EVENTS]
    count = 0
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    while time.perf_counter() - began_s < SECONDS:
        database.execute("BEGIN")
        database.executemany("INSERT INTO events VALUES (?)", rows)
        database.execute("COMMIT")
        count += MANY
    pace = Pace(count, time.perf_counter() - began_s, time.process_time() - began_cpu_s)
    database.close()
    path.unlink()
    return pace


def _bare(path: Path, batch: int) -> Pace:
    """The same bytes in a file that is synced after each `batch` of events."""
    data = b"".join(EVENTS[:batch])
    count = 0
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    while time.perf_counter() - began_s < SECONDS:
        os.write(descriptor, data)
        os.fdatasync(descriptor)
        count += batch
    pace = Pace(count, time.perf_counter() - began_s, time.process_time() - began_cpu_s)
    os.close(descriptor)
    path.unlink()
    return pace
