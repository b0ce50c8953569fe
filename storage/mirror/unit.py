"""Mirroring as the store sees it: what one unit of replication is, and what a store says it holds of a node.

A unit is a run of whole local commits, cut down to some streams. It is applied in one atomic write, and only where it
continues exactly what is held: the same store, no older opening of it, the same incarnation of each stream, the same
last commit, the same length. So a resend is a no-op, a lost reply is harmless, and what is held is the whole state of
the protocol. Entries go over as the bytes that lie on disk, at the offsets they have there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from storage.boots import Boot
from storage.chain import UNKNOWN_EVENTS


@dataclass(frozen=True, slots=True)
class Entry:
    """A block or a gap record of a segment, verbatim, and where it stands. Lengths and offsets in bytes."""

    segment: int
    epoch: int
    start: int
    length: int
    events: int
    commit: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """One stream's share of a unit: its entries of the commits in (`after`, `through`], in order.

    `layout` is what segments it had at `through`, as JSON (`storage.catalog.encode_layout`); empty: only its first.
    """

    stream: str
    incarnation: UUID
    config: bytes
    after: int
    through: int
    entries: tuple[Entry, ...]
    layout: bytes = b""


@dataclass(frozen=True, slots=True)
class Unit:
    """What is put upstream at once. `store` and `opening` say whose commits these are.

    `boots` are those whose records changed in the commits in (`boots_after`, `boots_through`]: a clock was corrected, a
    boot began or ended. A unit may carry them and no parts.
    """

    node: str
    store: UUID
    opening: int
    boots: tuple[Boot, ...]
    parts: tuple[Part, ...]
    boots_after: int = 0
    boots_through: int = 0

    @property
    def size_bytes(self) -> int:
        return sum(len(entry.raw) for part in self.parts for entry in part.entries)

    @property
    def events(self) -> int:
        counts = (entry.events for part in self.parts for entry in part.entries)
        return sum(events for events in counts if events != UNKNOWN_EVENTS)


@dataclass(frozen=True, slots=True)
class HeldSegment:
    """What is held of a segment: it ends at `length`; `events` were ever appended to it, None where that is not said."""

    segment: int
    epoch: int
    length: int
    events: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Held:
    """What is held of one stream of a node: all of it up to commit `through`.

    `incarnation` is the stream's: another one is another stream under an old name.
    """

    incarnation: UUID
    through: int
    segments: tuple[HeldSegment, ...] = ()

    @property
    def length(self) -> int:
        """Where its segments end, all together: bytes of offsets."""
        return sum(segment.length for segment in self.segments)

    @property
    def events(self) -> int | None:
        """The events ever appended to what is held, None where that is not said."""
        counts = [segment.events for segment in self.segments]
        return None if None in counts else sum(count or 0 for count in counts)

    def of(self, segment: int, epoch: int) -> HeldSegment:
        """What is held of one segment."""
        mine = (each for each in self.segments if (each.segment, each.epoch) == (segment, epoch))
        return next(mine, HeldSegment(segment, epoch, 0, 0))


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a store holds of a node. `store` is None for a node never seen. Streams by the node's own names.

    What its boots are is held up to its commit `boots`.
    """

    store: UUID | None
    opening: int
    streams: dict[str, Held] = field(default_factory=dict)
    boots: int = 0
