"""What a store must hold: what the last verification found in it, and what the journal tells of the round since."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from storage import Position
from tests.campaign.events import Identity, is_numbered
from tests.campaign.journal import (
    Aborted,
    Aborting,
    Acknowledged,
    Began,
    Committing,
    Did,
    Expiring,
    Handed,
    Measured,
    Part,
    Put,
    PutRefused,
    Putting,
    Record,
    Refused,
    Retaining,
    Sealed,
    Sealing,
    Submitted,
    Ticked,
    Truncating,
    records_of,
)
from tests.campaign.transactions import Open
from tests.campaign.transactions import take as take_transacted

Segment = tuple[str, int, int]
"""Stream, number, epoch."""


class EntryAt(NamedTuple):
    """An entry of a segment: where it begins, the commit that made it visible, how long the machine had run by then."""

    start: int
    commit: int
    uptime_ns: int


@dataclass
class Found:
    """What was read of one segment."""

    start: int = 0
    length: int = 0
    events: int = 0
    """Ever appended."""
    live: dict[Position, Identity] = field(default_factory=dict)
    entries: list[EntryAt] = field(default_factory=list)
    thinned: list[tuple[int, int]] = field(default_factory=list)
    sealed: bool = False


@dataclass
class Model:
    """`known` and what follows is as of the last verification, `waiting` and what follows is of the round since."""

    rounds: int = 0
    known: dict[Segment, Found] = field(default_factory=dict)
    safe: dict[tuple[str, str], int] = field(default_factory=dict)
    """By stream and writer, the end of the numbers that are durable."""
    cursors: dict[str, bytes] = field(default_factory=dict)
    table: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    won: dict[tuple[str, int], int] = field(default_factory=dict)
    """By stream and expected length, the submission that won."""
    sealed: dict[str, tuple[Position, ...]] = field(default_factory=dict)
    ending: set[str] = field(default_factory=set)
    asked: dict[Segment, int] = field(default_factory=dict)
    """Up to which offset a truncation was ever asked for."""
    confirmed: dict[str, int] = field(default_factory=dict)
    consumed: dict[Segment, int] = field(default_factory=dict)
    read: dict[str, dict[Position, str]] = field(default_factory=dict)
    """By reader group and stream, what was handed out."""
    place: dict[str, str] = field(default_factory=dict)
    """By reader group and reader, where it stands."""
    boots: dict[int, int] = field(default_factory=dict)
    """By boot, how long the machine had run when its clock began."""
    clock: Ticked | None = None
    transactions: dict[int, Open] = field(default_factory=dict)
    peak_bytes: int = 0
    given_up: Counter[str] = field(default_factory=Counter)
    """Events, by reason, of all streams."""
    mirrored: dict[Segment, Found] = field(default_factory=dict)
    """What the hub held at the last verification."""
    done: Counter[str] = field(default_factory=Counter)
    again: list[str] = field(default_factory=list)
    """What was handed out twice, or not in order."""

    waiting: dict[int, Submitted] = field(default_factory=dict)
    told: dict[int, tuple[Submitted, Acknowledged]] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    times_ns: dict[int, int] = field(default_factory=dict)
    """By submission, how long the machine had run by then."""
    sent: dict[tuple[str, str], int] = field(default_factory=dict)
    """By stream and writer, the end of the numbers that were ever submitted."""

    def play(self, journal: Path) -> None:
        """Take in what a round wrote."""
        for record in records_of(journal):
            self.take(record)

    def take(self, record: Record) -> None:  # noqa: PLR0912 - one branch for each kind of record
        """Take in one record."""
        match record:
            case Submitted():
                self.waiting[record.id] = record
                self.times_ns[record.id] = self.uptime_ns
                for part in record.parts:
                    self._send(part)
            case Acknowledged():
                submitted = self.waiting.pop(record.id)
                self.told[record.id] = (submitted, record)
                self.done[submitted.operation] += 1
                self.done["(events stored)"] += record.stored
                self.done["(duplicates not stored)"] += record.duplicates
            case Refused():
                del self.waiting[record.id]
                self.refused[record.id] = record.why
                self.done[f"refused: {record.why}"] += 1
            case Truncating():
                for at in record.positions:
                    _raise_to(self.asked, (record.stream, at.number, at.epoch), at.offset)
            case Retaining():
                for stream, commit in record.confirmed.items():
                    self.confirmed[stream] = max(commit, self.confirmed.get(stream, 0))
                for stream, positions in record.consumed.items():
                    for at in positions:
                        _raise_to(self.consumed, (stream, at.number, at.epoch), at.offset)
            case Sealing():
                self.ending.add(record.stream)
            case Sealed():
                self.sealed[record.stream] = record.lengths
            case Ticked():
                if record.boot not in self.boots:
                    self.boots[record.boot] = self.uptime_ns - record.boot_ns
                self.clock = record
            case Handed():
                self._hand(record)
            case Began() | Putting() | Put() | PutRefused() | Committing() | Aborting() | Aborted() | Expiring():
                take_transacted(self.transactions, record, self.uptime_ns)
                if isinstance(record, Putting):
                    self._send(record.part)
            case Measured():
                self.peak_bytes = max(self.peak_bytes, record.size_bytes)
            case Did():
                self.done[record.operation] += record.times

    def _send(self, part: Part) -> None:
        if is_numbered(part.source):
            of = (part.stream, part.source)
            self.sent[of] = max(self.sent.get(of, 0), part.first + part.events)

    def _hand(self, record: Handed) -> None:
        for stream, position in record.items:
            key = f"{record.group} {stream} {position.number}.{position.epoch}"
            of_segment = self.read.setdefault(key, {})
            if position in of_segment or (of_segment and position < next(reversed(of_segment))):
                self.again.append(f"group {record.group}: {stream} {position} was handed out again, or out of order")
            of_segment[position] = record.reader
        self.place[f"{record.group} {record.reader}"] = record.position

    @property
    def uptime_ns(self) -> int:
        """How long the machine has run, all boots together."""
        return 0 if self.clock is None else self.boots[self.clock.boot] + self.clock.boot_ns

    @property
    def parts(self) -> list[tuple[Part, int, bool]]:
        """What this round submitted and was not refused: the part, its submission, whether it was acknowledged."""
        waiting = [(part, submitted.id, False) for submitted in self.waiting.values() for part in submitted.parts]
        return waiting + [(part, submitted.id, True) for submitted, _ in self.told.values() for part in submitted.parts]

    def settle(self) -> None:
        """The round is verified: what it submitted is known, one way or the other."""
        self.rounds += 1
        self.waiting, self.told, self.refused, self.times_ns = {}, {}, {}, {}

    def save(self, path: Path) -> None:
        fresh = path.with_suffix(".new")
        fresh.write_bytes(pickle.dumps(self))
        fresh.rename(path)

    @staticmethod
    def load(path: Path) -> Model:
        """The model saved at `path`, an empty one where there is none."""
        if not path.exists():
            return Model()
        loaded = pickle.loads(path.read_bytes())
        assert isinstance(loaded, Model)
        return loaded


def _raise_to(bounds: dict[Segment, int], segment: Segment, offset: int) -> None:
    bounds[segment] = max(offset, bounds.get(segment, 0))
