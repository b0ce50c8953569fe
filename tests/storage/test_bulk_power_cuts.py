"""Bulk under power cuts, full disks and truncation: what was acknowledged is there, and no chunk that holds nothing stays."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from storage import Append, FakeClock, Frame, Position, SegmentStore, StreamConfig, Ticket
from storage.bulk.writes import BulkWrites
from storage.errors import StoreBusyError
from storage.kv.memory import MemoryTwin
from storage.trace import Trace

CHUNK_BYTES = 6000
STREAMS = {"cam": "bulk", "cam-2": "bulk", "flow": "telemetry"}


class PowerGone(BaseException):
    """Raised at a step by the test: the process is gone there."""


@dataclass
class BulkDrive:
    """One run on the twin. After every opening each stream is what was sent, from its start on, all acknowledged in it."""

    seed: int
    twin: MemoryTwin = field(default_factory=MemoryTwin)
    clock: FakeClock = field(default_factory=FakeClock)
    cuts: int = 0
    visits: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.cut_at: tuple[str, int] | None = None
        self.sent: dict[str, list[bytes]] = {name: [] for name in STREAMS}
        self.acknowledged = dict.fromkeys(STREAMS, 0)
        self.given_up = dict.fromkeys(STREAMS, 0)
        """Events that are certain to be gone: a truncation that took them was acknowledged."""
        self.waiting: list[tuple[Ticket, dict[str, int]]] = []
        self.store = self.open()
        for name, kind in STREAMS.items():
            self.store.create_stream(name, StreamConfig(kind=kind))

    def open(self) -> SegmentStore:
        return SegmentStore.in_memory(self.twin, clock=self.clock, trace=self.trace)

    def trace(self, step: str, details: dict[str, object]) -> None:
        self.visits[step] = self.visits.get(step, 0) + 1
        if self.cut_at is not None and self.cut_at[0] == step:
            if self.cut_at[1] > 0:
                self.cut_at = (step, self.cut_at[1] - 1)
            else:
                self.cut_at = None
                raise PowerGone(step)

    def run(self, steps: int) -> None:
        choices: list[Callable[[], object]] = [
            self.append, self.commit, self.read, self.truncate, self.hinder, self.fill, self.aim, self.cut, self.reopen,
        ]  # fmt: skip
        for _ in range(steps):
            step = self.random.choices(choices, [40, 25, 10, 6, 3, 3, 5, 3, 3])[0]
            try:
                step()
            except PowerGone:
                self.lose_power()
            self.note_acknowledged()
            self.clock.advance(self.random.random())
        self.cut_at = None
        self.reopen()

    def append(self) -> None:
        counts = {}
        appends = []
        for name in self.random.sample(sorted(STREAMS), self.random.randint(1, 3)):
            sent = self.sent[name]
            size_bytes = self.random.choice([10, 700, 3000, 9000])
            fresh = [
                b"%d:" % (len(sent) + i) + self.random.randbytes(size_bytes) for i in range(self.random.randint(1, 3))
            ]
            frame = Frame(fresh, writer="w", number=len(sent), key_frame=self.random.random() < 0.3)
            appends.append(Append(name, [frame]))
            counts[name] = len(sent) + len(fresh)
            self.sent[name] = sent + fresh
        try:
            self.waiting.append((self.store.submit(appends), counts))
        except StoreBusyError:
            for name in counts:
                self.sent[name] = self.sent[name][
                    : -len(next(a for a in appends if a.stream == name).frames[0].payloads)
                ]

    def commit(self) -> None:
        self.store.commit()

    def hinder(self) -> None:
        self.twin.stalled_writes = self.random.randrange(3)

    def fill(self) -> None:
        """A full disk for a few steps."""
        self.twin.capacity_bytes = self.twin.used_bytes + self.random.choice([0, 200, 5000])
        for _ in range(self.random.randint(1, 4)):
            self.append()
            self.store.commit()
        self.twin.capacity_bytes = None

    def aim(self) -> None:
        steps = ["chunk.written", "chunk.synced", "chunk.unlinked", "commit.writing", "commit.written", "commit.synced"]
        self.cut_at = (self.random.choice(steps), self.random.randrange(4))

    def truncate(self) -> None:
        name = self.random.choice(sorted(STREAMS))
        segment = self.store.stream(name).segments[0]
        if segment.length > segment.start and self.store.blocked is None and not self.waiting:
            offset = self.random.randint(segment.start, segment.length)
            self.store.truncate(name, Position(segment.id.number, segment.id.epoch, offset))
            self.given_up[name] = self.gone(name)

    def gone(self, name: str) -> int:
        """How many of a stream's events were given up: told by the number of the first that is left."""
        first = next(iter(self.store.read(name, limit=1)), None)
        return self.store.stream(name).segments[0].events if first is None else first.number or 0

    def read(self) -> None:
        name = self.random.choice(sorted(STREAMS))
        events = list(self.store.read(name))
        first = self.gone(name)
        assert [event.payload for event in events] == self.sent[name][first : first + len(events)]
        if events:
            place = self.random.randrange(len(events))
            assert list(self.store.read(name, events[place].position)) == events[place:]
            self.read_bytes(name)

    def read_bytes(self, name: str) -> None:
        segment = self.store.stream(name).segments[0]
        start = Position(segment.id.number, segment.id.epoch, segment.start)
        whole = self.store.read_bytes(name, start, segment.length)
        assert len(whole) == segment.length - segment.start
        skip = self.random.randrange(len(whole))
        some = self.store.read_bytes(name, start._replace(offset=segment.start + skip), 2000)
        assert some == whole[skip : skip + 2000]

    def note_acknowledged(self) -> None:
        still = []
        for ticket, counts in self.waiting:
            if not ticket.done():
                still.append((ticket, counts))
            elif ticket.error() is None:
                for name, count in counts.items():
                    self.acknowledged[name] = max(self.acknowledged[name], count)
        self.waiting = still

    def cut(self) -> None:
        self.lose_power()

    def lose_power(self) -> None:
        self.cuts += 1
        self.note_acknowledged()
        keep = self.random.randint(0, self.twin.unsynced_batches)
        self.twin.power_cut(keep, keep_chunk_bytes=self.random.choice([0, 0, 1, 100, 1 << 20]))
        self.open_and_compare()

    def reopen(self) -> None:
        self.twin.stalled_writes = 0
        self.twin.capacity_bytes = None
        try:
            self.store.close()
        except PowerGone:
            self.lose_power()
            return
        self.note_acknowledged()
        self.open_and_compare()

    def open_and_compare(self) -> None:
        self.waiting = []
        self.twin.stalled_writes = 0
        self.twin.capacity_bytes = None
        self.cut_at = None
        if self.random.random() < 0.3:
            self.clock.reboot()
        self.store = self.open()
        assert self.store.recovery == ()
        for name in STREAMS:
            held = [event.payload for event in self.store.read(name)]
            first = self.gone(name)
            assert first >= self.given_up[name], f"{name}: what was given up is there again"
            assert held == self.sent[name][first : first + len(held)]
            assert first + len(held) >= self.acknowledged[name], f"{name}: acknowledged events are gone"
            self.sent[name] = self.sent[name][: first + len(held)]
        report = self.store.check()
        assert report.findings == [], report.findings
        self.expect_no_leftovers()

    def expect_no_leftovers(self) -> None:
        """Every chunk holds something readable, and no byte that no pointer names."""
        catalog, chunks = self.store._catalog, self.twin.chunks
        assert chunks.numbers() == sorted(catalog.chunks)
        for number, record in catalog.chunks.items():
            assert chunks.size(number) == record.size_bytes
            assert record.end > catalog.segments[record.segment].start


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.committer.CHUNK_BYTES", CHUNK_BYTES)


def run(seeds: range, steps: int) -> dict[str, int]:
    visits: dict[str, int] = {}
    for seed in seeds:
        drive = BulkDrive(seed)
        drive.run(steps)
        for step, count in drive.visits.items():
            visits[step] = visits.get(step, 0) + count
    return visits


def test_power_cuts_at_every_step_cost_nothing_that_was_acknowledged() -> None:
    visits = run(range(3), 100)
    assert visits["chunk.written"] >= visits["chunk.synced"] > 20
    assert visits["chunk.unlinked"] > 3


@pytest.mark.long
def test_many_power_cuts_cost_nothing_that_was_acknowledged() -> None:
    run(range(100, 140), 200)


@pytest.mark.parametrize("broken", ["unsynced", "late"])
def test_pointing_to_what_is_not_durable_is_caught(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def persist(self: BulkWrites, chunks: object, trace: Trace) -> None:
        for number, offset, raw in self._writes[: None if broken == "unsynced" else -1]:
            chunks.write(number, offset, raw)  # type: ignore[attr-defined]

    monkeypatch.setattr(BulkWrites, "persist", persist)
    with pytest.raises(AssertionError):
        run(range(10), 100)
