"""Drives a store on the twin through random steps and power cuts, beside a list of what it was told."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from storage import Append, FakeClock, Frame, SegmentStore, Ticket
from storage.errors import StoreBusyError
from storage.kv.memory import MemoryTwin


@dataclass
class Drive:
    """One run. After every reopening the store must hold a prefix of what was sent that contains all acknowledged."""

    seed: int
    steps: int = 0
    cuts: int = 0
    twin: MemoryTwin = field(default_factory=MemoryTwin)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.store = SegmentStore.in_memory(self.twin, clock=self.clock)
        self.streams = ["a", "b/c", "d"]
        for stream in self.streams:
            self.store.create_stream(stream)
        self.sent: dict[str, list[tuple[int, bytes]]] = {stream: [] for stream in self.streams}
        """Per stream, every event of writer `w` in order, with its number."""
        self.acknowledged = dict.fromkeys(self.streams, 0)
        self.waiting: list[tuple[Ticket, str, int, bytes]] = []
        self.cursor = 0
        self.cursor_acknowledged = 0

    def run(self, steps: int) -> None:
        choices = [self.append, self.append_again, self.commit, self.read, self.hinder, self.power_cut, self.reopen]
        weights = [40, 5, 25, 15, 3, 4, 2]
        for _ in range(steps):
            self.random.choices(choices, weights)[0]()
            self.note_acknowledged()
            self.clock.advance(self.random.random())
            self.steps += 1
        self.reopen()

    def append(self) -> None:
        stream = self.random.choice(self.streams)
        sent = self.sent[stream]
        count = self.random.choice([1, 1, 2, 5, 40])
        fresh = [(len(sent) + i, b"%d:" % (len(sent) + i) + self.random.randbytes(8)) for i in range(count)]
        self.cursor += 1
        state = b"%d" % self.cursor
        ticket = self.submit(stream, fresh, state)
        if ticket is not None:
            sent += fresh
            self.waiting.append((ticket, stream, len(sent), state))

    def append_again(self) -> None:
        """Send numbers that were sent before: an acknowledged prefix must not be stored twice."""
        stream = self.random.choice(self.streams)
        sent = self.sent[stream]
        if sent:
            first = self.random.randrange(len(sent))
            self.submit(stream, sent[first : first + 3], None)

    def submit(self, stream: str, events: list[tuple[int, bytes]], state: bytes | None) -> Ticket | None:
        frame = Frame([payload for _, payload in events], f"k{events[0][0] % 3}", writer="w", number=events[0][0])
        try:
            return self.store.submit([Append(stream, [frame])], {} if state is None else {"cursor": state})
        except StoreBusyError:
            return None

    def commit(self) -> None:
        self.store.commit()

    def hinder(self) -> None:
        self.twin.stalled_writes = self.random.randrange(3)

    def read(self) -> None:
        """What is read is a prefix of what was sent, nothing that is not durable, from any position on."""
        stream = self.random.choice(self.streams)
        events = list(self.store.read(stream))
        self.expect_prefix(stream, [(event.number, event.payload) for event in events])
        if events:
            index = self.random.randrange(len(events))
            assert list(self.store.read(stream, events[index].position)) == events[index:]

    def power_cut(self) -> None:
        self.cuts += 1
        self.note_acknowledged()
        self.twin.power_cut(keep=self.random.randint(0, self.twin.unsynced_batches))
        self.open_and_compare()

    def reopen(self) -> None:
        self.twin.stalled_writes = 0
        self.store.close()
        self.note_acknowledged()
        self.open_and_compare()

    def note_acknowledged(self) -> None:
        still = []
        for ticket, stream, length, state in self.waiting:
            if ticket.done() and ticket.error() is None:
                self.acknowledged[stream] = max(self.acknowledged[stream], length)
                self.cursor_acknowledged = max(self.cursor_acknowledged, int(state))
            elif not ticket.done():
                still.append((ticket, stream, length, state))
        self.waiting = still

    def open_and_compare(self) -> None:
        self.waiting = []
        self.twin.stalled_writes = 0
        if self.random.random() < 0.3:
            self.clock.reboot()
        self.store = SegmentStore.in_memory(self.twin, clock=self.clock)
        for stream in self.streams:
            held = [(event.number, event.payload) for event in self.store.read(stream)]
            self.expect_prefix(stream, held)
            assert len(held) >= self.acknowledged[stream], f"{stream}: acknowledged events are gone"
            self.sent[stream] = self.sent[stream][: len(held)]
            assert self.store.last_number(stream, "w") == (len(held) - 1 if held else None)
        cursor = int(self.store.cursor("cursor") or 0)
        assert self.cursor_acknowledged <= cursor <= self.cursor
        self.cursor = max(self.cursor, cursor)
        report = self.store.check()
        assert report.findings == [], report.findings

    def expect_prefix(self, stream: str, held: list[tuple[int | None, bytes]]) -> None:
        assert held == self.sent[stream][: len(held)], f"{stream}: not a prefix of what was sent"
