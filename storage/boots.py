"""Boots, and where each stands in wall time: what turns readings of boot clocks into times that people know.

A boot clock only runs forward, and compares only within its boot. Of each boot a store remembers its place in order, the
span of readings in which it wrote, and the offset from its clock to wall time: as a trusted clock gave it, however late
in the boot, or else as the machine believed. Boots of one store are each other's neighbours, those of another are not.
Those that nothing needs any more are forgotten (`storage.forgetting`).

A boot whose clock was trusted stands where that clock says. One whose clock never was is placed, and is uncertain:

1. Its belief is kept where it is credible: its first reading does not lie before this program was released.
2. A belief that is not (1970) is replaced: the boot begins where the one before it, as placed, ended; the first boot of
   a store ends where the next trusted one begins, less what the boots between them ran.
3. Either way it does not begin before the last trusted boot before it ended, plus what the boots between them ran; and
   above all it does not end after the next trusted boot began, less what the boots between them ran.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from typing import NamedTuple
from uuid import UUID

from storage.clock import RELEASED_NS

CLOCK_STEP_NS = 500_000_000
"""When wall and boot clock have moved this far apart, the boot's offset is written anew."""


@dataclass(frozen=True, slots=True)
class Boot:
    """A boot of the machine that wrote `store`: wall time of its events is their boot clock plus `wall_offset_ns`.

    `number` is its place in the order of that store's boots. `first_ns` and `last_ns` are readings of its boot clock:
    it is known to have run, and to have written, from the one to the other. `trusted`: a clock that
    was trusted gave the offset; else it is what the machine believed. `commit` is the local commit that wrote this record.
    """

    store: UUID
    id: UUID
    number: int
    first_ns: int
    last_ns: int
    wall_offset_ns: int
    trusted: bool = False
    commit: int = 0

    def told(self, now_ns: int, offset_ns: int, trusted: bool) -> Boot:
        """This boot after its wall clock was read; itself where that changes nothing worth writing.

        A clock that is not trusted never overrides one that was.
        """
        moved = abs(offset_ns - self.wall_offset_ns) > CLOCK_STEP_NS
        if not self.trusted and not trusted:
            return replace(self, wall_offset_ns=offset_ns, last_ns=now_ns) if moved else self
        if not trusted or (self.trusted and not moved):
            return self
        return replace(self, wall_offset_ns=offset_ns, last_ns=now_ns, trusted=True)


def encode_boot(boot: Boot) -> bytes:
    return json.dumps(
        {
            "number": boot.number,
            "first_ns": boot.first_ns,
            "last_ns": boot.last_ns,
            "wall_offset_ns": boot.wall_offset_ns,
            "trusted": boot.trusted,
            "commit": boot.commit,
        }
    ).encode()


def decode_boot(store: UUID, boot_id: UUID, raw: bytes) -> Boot:
    loaded = json.loads(raw)
    return Boot(
        store, boot_id, loaded["number"], loaded["first_ns"], loaded["last_ns"], loaded["wall_offset_ns"],
        loaded["trusted"], loaded["commit"],
    )  # fmt: skip


class Shift(NamedTuple):
    """What is added to a boot clock's reading to make it wall time, in ns, and whether that is a guess."""

    offset_ns: int
    uncertain: bool


UNKNOWN = Shift(0, True)


class Timeline:
    """The boots of one store in order, and where each stands. Never changes: `with_boots` makes another."""

    def __init__(self, boots: Iterable[Boot] = ()) -> None:
        self.boots = tuple(sorted(boots, key=lambda boot: boot.number))
        self.by_id: Mapping[UUID, Boot] = {boot.id: boot for boot in self.boots}
        self._shifts = dict(zip((boot.id for boot in self.boots), _placed(self.boots), strict=True))
        ran = accumulate((boot.last_ns - boot.first_ns for boot in self.boots), initial=0)
        self._ran_before = {boot.id: ns for boot, ns in zip(self.boots, ran, strict=False)}

    def with_boots(self, changed: Iterable[Boot]) -> Timeline:
        kept = {boot.id: boot for boot in chain(self.boots, changed)}
        return Timeline(kept.values())

    @property
    def next_number(self) -> int:
        return self.boots[-1].number + 1 if self.boots else 1

    def shift(self, boot: UUID) -> Shift:
        """How to read that boot's clock; `UNKNOWN` for a boot that nobody told of."""
        return self._shifts.get(boot, UNKNOWN)

    def number(self, boot: UUID) -> int | None:
        known = self.by_id.get(boot)
        return None if known is None else known.number

    def uptime_ns(self, boot: UUID, boot_ns: int) -> int | None:
        """How long the machine is known to have run up to that reading, over all its boots; None for an unknown boot.

        The difference of two uptimes is time that has passed at least, whatever any wall clock says.
        """
        known = self.by_id.get(boot)
        return None if known is None else self._ran_before[boot] + boot_ns - known.first_ns

    def reaching(self, time_ns: int, number: int) -> int | None:
        """The number of the first boot from `number` on that may have run at `time_ns` or later, None where none did."""
        for boot in self.boots:
            # Of the newest boot nobody knows yet when it ends.
            open_ended = boot is self.boots[-1]
            if boot.number >= number and (open_ended or self._shifts[boot.id].offset_ns + boot.last_ns >= time_ns):
                return boot.number
        return None


def _placed(boots: tuple[Boot, ...]) -> Iterator[Shift]:
    latest = _latest_offsets(boots)
    trusted_end: int | None = None
    end: int | None = None
    for boot, high in zip(boots, latest, strict=True):
        offset = boot.wall_offset_ns
        if not boot.trusted:
            offset = _place(boot, trusted_end, end, high)
        yield Shift(offset, not boot.trusted)
        end = offset + boot.last_ns
        if boot.trusted:
            trusted_end = end
        elif trusted_end is not None:
            trusted_end += boot.last_ns - boot.first_ns


def _place(boot: Boot, trusted_end: int | None, end: int | None, high: int | None) -> int:
    """The offset of a boot that was never trusted: see the formula above."""
    offset = boot.wall_offset_ns
    if offset + boot.first_ns < RELEASED_NS:
        if end is not None:
            offset = end - boot.first_ns
        elif high is not None:
            offset = high
    if trusted_end is not None:
        offset = max(offset, trusted_end - boot.first_ns)
    return offset if high is None else min(offset, high)


def _latest_offsets(boots: tuple[Boot, ...]) -> list[int | None]:
    """Of each boot the greatest offset with which it ends before the next trusted one begins."""
    latest: list[int | None] = []
    next_start: int | None = None
    for boot in reversed(boots):
        latest.append(None if next_start is None else next_start - boot.last_ns)
        if boot.trusted:
            next_start = boot.wall_offset_ns + boot.first_ns
        elif next_start is not None:
            next_start -= boot.last_ns - boot.first_ns
    return latest[::-1]
