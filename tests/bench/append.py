"""Durable events a second, by one call each and by a thousand at a time."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from edge.daemon.committer import Committer
from edge.daemon.run import SWITCH_INTERVAL_S
from storage import SegmentStore, StreamConfig, Ticket, Writer
from tests.bench.figures import Figure, payloads

SIZE_BYTES = 100
SECONDS = 3.0
MANY = 1000
EVENTS = payloads(MANY, SIZE_BYTES)
Send = Callable[[Writer], Ticket]


def figures(folder: Path) -> list[Figure]:
    """All of them. Each run has a store of its own."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    bare_one = _bare(folder / "bare", 1)
    bare_many = _bare(folder / "bare", MANY)
    made = [
        Figure("bare file, synced after each event", bare_one, "events/s"),
        Figure(f"bare file, synced after {MANY}", bare_many, "events/s"),
    ]
    plans: list[tuple[str, Send, int, int, int, str, float]] = [
        ("append, waiting for each", _one, 1, 1, 1, "bare, each synced", bare_one),
        ("append, waiting for each", _one, 4, 1, 1, "bare, each synced", bare_one),
        ("append, 1000 tickets in flight", _one, 1, 1000, 1, f"bare, synced after {MANY}", bare_many),
        ("append, 1000 tickets in flight", _one, 4, 1000, 1, f"bare, synced after {MANY}", bare_many),
        (f"append_many({MANY}), 4 tickets in flight", _many, 1, 4, MANY, f"bare, synced after {MANY}", bare_many),
        (f"append_many({MANY}), 4 tickets in flight", _many, 4, 4, MANY, f"bare, synced after {MANY}", bare_many),
    ]
    for place, (what, send, writers, in_flight, events, beside, reference) in enumerate(plans):
        rate = _durable_rate(folder / f"store-{place}", send, writers, in_flight) * events
        made.append(
            Figure(f"{what}, {writers} writer{'s' * (writers > 1)}", rate, "events/s", beside, rate / reference)
        )
    return made


def _one(writer: Writer) -> Ticket:
    return writer.append(EVENTS[writer.next_number % MANY], "key")


def _many(writer: Writer) -> Ticket:
    return writer.append_many(EVENTS, "key")


def _durable_rate(path: Path, send: Send, writers: int, in_flight: int) -> float:
    """Tickets a second, resolved."""
    with SegmentStore.open(path) as store:
        store.create_stream("bench", StreamConfig())
        committer = Committer(store, lambda: None)
        committer.start()
        counts = [0] * writers
        began_s = time.perf_counter()

        def work(place: int) -> None:
            writer = store.writer("bench", f"writer-{place}")
            tickets: deque[Ticket] = deque()
            while time.perf_counter() - began_s < SECONDS:
                tickets.append(send(writer))
                if len(tickets) >= in_flight:
                    tickets.popleft().result(30)
                    counts[place] += 1
            for ticket in tickets:
                ticket.result(30)
                counts[place] += 1

        threads = [threading.Thread(target=work, args=(place,)) for place in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rate = sum(counts) / (time.perf_counter() - began_s)
        committer.stop()
        store.own_commits(False)
        return rate


def _bare(path: Path, batch: int) -> float:
    """Events a second written to a file that is synced after each `batch`."""
    data = b"".join(EVENTS[:batch])
    count = 0
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    began_s = time.perf_counter()
    while time.perf_counter() - began_s < SECONDS / 2:
        os.write(descriptor, data)
        os.fdatasync(descriptor)
        count += batch
    duration_s = time.perf_counter() - began_s
    os.close(descriptor)
    path.unlink()
    return count / duration_s
