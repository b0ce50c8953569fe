"""What a stream has given up: counted by reason, and told to whoever reads below what is left.

The reasons: `request` (somebody asked), `age` and `bytes` (the stream's retention), `consumed` (every reader group has
read it), `disk_limit` (room was needed) and `thinned` (every second block, for room).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

REQUEST, AGE, BYTES, CONSUMED, DISK_LIMIT, THINNED = "request", "age", "bytes", "consumed", "disk_limit", "thinned"


class Dropped(NamedTuple):
    """So much was given up. `unsent` of the events had not been confirmed by every upstream that wants the stream."""

    events: int = 0
    size_bytes: int = 0
    unsent: int = 0


class Below(NamedTuple):
    """What is gone below a segment's start: the newest reason, and how many events ever lay there."""

    reason: str
    events: int


class Edit(NamedTuple):
    """What giving up does to a segment's record: its new start, and by how many its gap records grow."""

    start: int
    gaps: int


@dataclass(frozen=True, slots=True)
class Drops:
    """One stream's account. `below` by segment and epoch. Bytes are bytes of offsets: uncompressed."""

    reasons: Mapping[str, Dropped] = field(default_factory=dict)
    below: Mapping[tuple[int, int], Below] = field(default_factory=dict)

    def plus(self, reason: str, dropped: Dropped) -> Drops:
        """The account with `dropped` added to what was given up for that reason."""
        before = self.reasons.get(reason, Dropped())
        after = Dropped(*(a + b for a, b in zip(before, dropped, strict=True)))
        return Drops({**self.reasons, reason: after}, self.below)

    def starting(self, segment: int, epoch: int, reason: str, events: int) -> Drops:
        """The account with `events` more below the start of a segment."""
        before = self.below.get((segment, epoch), Below(reason, 0))
        return Drops(self.reasons, {**self.below, (segment, epoch): Below(reason, before.events + events)})

    def encode(self) -> bytes:
        below = [[segment, epoch, *told] for (segment, epoch), told in self.below.items()]
        return json.dumps({"reasons": self.reasons, "below": below}).encode()

    @staticmethod
    def decode(raw: bytes) -> Drops:
        loaded = json.loads(raw)
        return Drops(
            {reason: Dropped(*counts) for reason, counts in loaded["reasons"].items()},
            {(segment, epoch): Below(reason, events) for segment, epoch, reason, events in loaded["below"]},
        )
