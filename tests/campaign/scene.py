"""What operations of the load work on: a store, its clock, the journal, and how to submit so that the journal knows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random

from storage import Append, FakeClock, Frame, Position, RetentionPolicy, SegmentStore, StreamConfig, Ticket
from storage.errors import StorageError, StoreClosedError, StoreFailedError
from storage.state.table import Change
from tests.campaign.events import Identity, is_numbered
from tests.campaign.journal import Acknowledged, Did, Journal, Part, Refused, Submitted, Ticked
from tests.campaign.judging import TABLE

DISK_LIMIT = 16 << 20
STREAMS = {
    "flow": StreamConfig(retention=RetentionPolicy(max_bytes=600_000)),
    "ring": StreamConfig(when_full="drop-oldest", priority=3, retention=RetentionPolicy(max_bytes=60_000)),
    "thin": StreamConfig(when_full="thin", priority=2),
    "cam": StreamConfig(kind="bulk", when_full="drop-oldest", priority=1),
    "film": StreamConfig(kind="bulk", priority=20, retention=RetentionPolicy(max_bytes=2_000_000)),
    "aged": StreamConfig(retention=RetentionPolicy(max_age_s=60.0)),
    "eaten": StreamConfig(retention=RetentionPolicy(consumed=True)),
    "log": StreamConfig(),
}
NUMBERED = ("flow", "ring", "thin", "cam", "film", "aged", "eaten")
PER_ROUND = 100_000
"""Submissions of one round have numbers of their own."""
_UNDECIDED = (StoreFailedError, StoreClosedError)
"""What raises these may be on disk all the same."""


class Scene:
    """One round's. The thread that makes it runs the operations; others may `submit` for sources of their own."""

    def __init__(
        self, store: SegmentStore, hub: SegmentStore | None, clock: FakeClock, boot: int, random: Random,
        journal: Journal, round_: int,
    ) -> None:  # fmt: skip
        self.store = store
        self.hub = hub
        self.clock = clock
        self.boot = boot
        self.random = random
        self.journal = journal
        self.round = round_
        self._ids = itertools.count(round_ * PER_ROUND + 1)
        self._numbers: dict[tuple[str, str], int] = {}
        self._versions: dict[str, int] = {}
        self.failed: list[str] = []
        """What went wrong in callbacks."""

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

    def next_id(self) -> int:
        return next(self._ids)

    def next_number(self, stream: str, source: str) -> int:
        """The next number of a writer: behind what is durable or, once, a few of those again."""
        of = (stream, source)
        if of not in self._numbers:
            last = self.store.last_number(stream, source)
            end = 0 if last is None else last + 1
            self._numbers[of] = max(0, end - self.random.choice([0, 0, 1, 5]))
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
        except _UNDECIDED:
            raise
        except StorageError as error:
            self.journal.say(Refused(id_, type(error).__name__))
            for part in parts:
                if is_numbered(part.source):
                    self._numbers[part.stream, part.source] = part.first
            return None
        if change is not None:
            self._versions[change.key] = (change.expected or 0) + 1
        ticket.on_done(lambda done: self._told(id_, parts, change, done))
        return ticket

    def _told(self, id_: int, parts: Sequence[Part], change: Change | None, ticket: Ticket) -> None:
        error = ticket.error()
        if error is None:
            receipt = ticket.result()
            self.journal.say(Acknowledged(id_, receipt.commit, receipt.positions, receipt.stored, receipt.duplicates))
        elif isinstance(error, StorageError) and not isinstance(error, _UNDECIDED):
            self.journal.say(Refused(id_, type(error).__name__))
            # What follows in flight is refused as well; then they begin again behind what is durable.
            for part in parts:
                self._numbers.pop((part.stream, part.source), None)
            if change is not None:
                self._versions.pop(change.key, None)
        else:
            self.failed.append(f"submission {id_}: {error!r}")

    def change(self, key: str, value: bytes) -> Change:
        """A change of the table on the condition that nothing comes between it and the one before it."""
        table = self.store.table(TABLE)
        held = table.get(key)
        return table.change(key, value, self._versions.get(key, 0 if held is None else held.version))

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
