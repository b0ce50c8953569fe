"""What operations of the load work on: a store, its clock, the journal, and how to submit so that the journal knows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random
from typing import Protocol

from storage import Append, FakeClock, Frame, Position, RetentionPolicy, SegmentStore, StreamConfig, Ticket
from storage.errors import StorageError, StoreClosedError, StoreFailedError
from storage.state.table import Change
from tests.campaign.events import Identity, is_numbered
from tests.campaign.journal import Acknowledged, Did, Journal, Measured, Part, Refused, Submitted, Ticked
from tests.campaign.judging import TABLE
from tests.campaign.model import Model
from tests.campaign.transactions import Open

DISK_LIMIT = 16 << 20
STREAMS = {
    "flow": StreamConfig(retention=RetentionPolicy(max_bytes=200_000)),
    "ring": StreamConfig(when_full="drop-oldest", priority=3, retention=RetentionPolicy(max_bytes=60_000)),
    "thin": StreamConfig(when_full="thin", priority=0),
    "cam": StreamConfig(kind="bulk", when_full="drop-oldest", priority=1),
    "film": StreamConfig(kind="bulk", retention=RetentionPolicy(max_bytes=1_000_000)),
    "aged": StreamConfig(retention=RetentionPolicy(max_age_s=25.0)),
    "eaten": StreamConfig(retention=RetentionPolicy(consumed=True)),
    "log": StreamConfig(retention=RetentionPolicy(max_bytes=50_000)),
    "dump": StreamConfig(kind="bulk", when_full="drop-oldest", priority=1),
}
PART = StreamConfig(retention=RetentionPolicy(max_age_s=30.0))
"""Streams that are made, written and ended."""
SCALED = ("flow", "ring", "aged", "cam")
NODE = "edge"
"""What the hub calls this store."""
NUMBERED = ("flow", "ring", "thin", "cam", "film", "aged", "eaten")
TRANSACTION_WRITER = "tx"
"""A writer whose numbers are given in transactions only, by one at a time in each stream."""
PER_ROUND = 100_000
"""Submissions of one round have numbers of their own."""
UNDECIDED = (StoreFailedError, StoreClosedError)
"""What raises these may be on disk all the same."""


class Members(Protocol):
    """The readers of a group."""

    def read(self, name: str) -> None: ...

    def leave(self, name: str) -> None: ...

    def checkpoint(self, name: str) -> None: ...


class Scene:
    """One round's. The thread that makes it runs the operations; others may `submit` for sources of their own."""

    def __init__(
        self, store: SegmentStore, hub: SegmentStore | None, clock: FakeClock, boot: int, random: Random,
        journal: Journal, model: Model, *, full: bool,
    ) -> None:  # fmt: skip
        self.store = store
        self.hub = hub
        self.clock = clock
        self.boot = boot
        self.random = random
        self.journal = journal
        self._numbers: dict[tuple[str, str], int] = {}
        self.versions: dict[str, int] = {}
        """Of the table's keys, once what is in flight is durable."""
        self.full = full
        """Whether the load is to come to the disk limit."""
        self.confirmed = dict(model.confirmed)
        self.places = dict(model.place)
        """Where the readers of groups stood."""
        self.transactions = {number: each.streams for number, each in model.transactions.items()}
        """Those that are open, with their streams."""
        self.numbering: dict[str, int] = {}
        """By stream, the open transaction that gives numbers of a writer in it."""
        self.doomed: list[int] = []
        """Transactions whose commit was refused."""
        self.ended: list[int] = []
        """Those that were committed in this round."""
        for number, each in model.transactions.items():
            self._resume(number, each)
        self.members: Members | None = None
        """The group's readers of this round, once one has read."""
        self._ids = itertools.count(model.rounds * PER_ROUND + 1)
        self.failed: list[str] = []
        """What went wrong in callbacks."""

    def _resume(self, number: int, each: Open) -> None:
        """A transaction of an earlier round goes on, its numbers behind those that were acknowledged."""
        for id_, part in each.parts.items():
            if is_numbered(part.source):
                self.numbering[part.stream] = number
                of = (part.stream, part.source)
                last = self.store.last_number(*of)
                end = part.first + part.events if id_ in each.put else 0
                self._numbers[of] = max(end, self._numbers.get(of, 0), 0 if last is None else last + 1)

    def forget_numbers(self, transaction: int) -> None:
        """A transaction has ended: another may give numbers, behind what is durable then."""
        for stream in [stream for stream, number in self.numbering.items() if number == transaction]:
            del self.numbering[stream]
            for of in [of for of in self._numbers if of[0] == stream and of[1] == TRANSACTION_WRITER]:
                del self._numbers[of]

    def prepare(self, writers: Sequence[str]) -> None:
        """Create the streams, and have every writer begin: a writer that nobody knows may begin at any number."""
        for name, config in STREAMS.items():
            if self.store.create_stream(name, config):
                self.journal.say(Did("create a stream"))
        for stream in NUMBERED:
            new = [writer for writer in writers if self.store.last_number(stream, writer) is None]
            for writer in new:
                ticket = self.submit("append", [self.numbered(stream, writer, 1)])
                assert ticket is not None
                ticket.result()

    def measure(self) -> None:
        """Write down what is on disk now."""
        self.journal.say(Measured(self.store.disk_bytes()))

    def next_id(self) -> int:
        return next(self._ids)

    def next_number(self, stream: str, source: str) -> int:
        """The next number of a writer: behind what is durable or, once, a few of those again."""
        of = (stream, source)
        if of not in self._numbers:
            last = self.store.last_number(stream, source)
            end = 0 if last is None else last + 1
            again = 0 if source == TRANSACTION_WRITER else self.random.choice([0, 0, 1, 5])
            self._numbers[of] = max(0, end - again)
        return self._numbers[of]

    def numbered(self, stream: str, source: str, count: int) -> Part:
        """The writer's next `count` events, as a part of a submission that is to be made now."""
        first = self.next_number(stream, source)
        self._numbers[stream, source] = first + count
        return Part(stream, source, first, count)

    def submit(
        self, operation: str, parts: Sequence[Part], cursors: dict[str, bytes] | None = None,
        change: Change | None = None, id_: int | None = None,
    ) -> Ticket | None:  # fmt: skip
        """Submit, telling the journal before it and when it is told. None: it was refused at once."""
        id_ = id_ or self.next_id()
        noted = None if change is None else (change.key, change.value or b"", change.expected or 0)
        self.journal.say(Submitted(id_, operation, tuple(parts), cursors or {}, noted))
        appends = [Append(part.stream, frames_of(part), part.expected) for part in parts]
        try:
            ticket = self.store.submit(appends, cursors, () if change is None else [change])
        except UNDECIDED:
            raise
        except StorageError as error:
            self.journal.say(Refused(id_, type(error).__name__))
            for part in parts:
                if is_numbered(part.source):
                    self._numbers[part.stream, part.source] = part.first
            return None
        if change is not None:
            self.versions[change.key] = (change.expected or 0) + 1
        ticket.on_done(lambda done: self._told(id_, parts, change, done))
        return ticket

    def _told(self, id_: int, parts: Sequence[Part], change: Change | None, ticket: Ticket) -> None:
        error = ticket.error()
        if error is None:
            receipt = ticket.result()
            self.journal.say(Acknowledged(id_, receipt.commit, receipt.positions, receipt.stored, receipt.duplicates))
        elif isinstance(error, StorageError) and not isinstance(error, UNDECIDED):
            self.journal.say(Refused(id_, type(error).__name__))
            # What follows in flight is refused as well; then they begin again behind what is durable.
            for part in parts:
                self._numbers.pop((part.stream, part.source), None)
            if change is not None:
                self.versions.pop(change.key, None)
        else:
            self.failed.append(f"submission {id_}: {error!r}")

    def change(self, key: str, value: bytes) -> Change:
        """A change of the table on the condition that nothing comes between it and the one before it."""
        table = self.store.table(TABLE)
        held = table.get(key)
        return table.change(key, value, self.versions.get(key, 0 if held is None else held.version))

    def tick(self, duration_s: float, step_wall_s: float = 0.0, trusted: bool | None = None) -> None:
        """Time passes; the wall clock may be told something else."""
        trusted = self.clock.reference if trusted is None else trusted
        boot_ns = self.clock.boot_ns() + int(duration_s * 1e9)
        wall_ns = self.clock.wall_ns() + int(duration_s * 1e9) + int(step_wall_s * 1e9)
        self.journal.say(Ticked(self.boot, boot_ns, wall_ns, trusted))
        self.clock.advance(duration_s)
        self.clock.step_wall(step_wall_s)
        self.clock.reference = trusted

    def lengths(self, stream: str) -> tuple[Position, ...]:
        segments = self.store.stream(stream).segments
        return tuple(Position(s.id.number, s.id.epoch, s.length) for s in segments)


def frames_of(part: Part) -> list[Frame]:
    """The events of a part, those of one key in one frame."""
    frames: list[Frame] = []
    identities = [Identity(part.stream, part.source, part.first + place) for place in range(part.events)]
    for key, group in itertools.groupby(identities, lambda identity: identity.routing_key):
        same = list(group)
        payloads = [identity.payload for identity in same]
        if is_numbered(part.source):
            frames.append(Frame(payloads, key, writer=part.source, number=same[0].number))
        else:
            frames.append(Frame(payloads, key))
    return frames
