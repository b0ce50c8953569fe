"""Forgetting boots: those before everything that can still be read, so that a machine's boots do not add up for ever.

A boot is needed while a readable block names it, and where the place in time of one that is needed hangs on it. From the
last boot before the first that is named whose clock was trusted, all later ones can be placed without those before it
(`storage.boots`). A transaction may bring blocks that are older than what stands before them: so `BOOTS_KEPT` more are
left. Beyond `MAX_BOOTS` of one store the oldest go whatever names them; what was captured in these can be read as
before, under times that nobody knows.

What is named first in each segment is looked for in bounded steps, a walk over all segments in an hour at most.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from storage.boots import Boot, Timeline
from storage.catalog import Catalog
from storage.chain import GAP_MAGIC
from storage.clock import Clock
from storage.errors import DamagedBlockError
from storage.fetch import fetch_header
from storage.group import Group
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.model import Receipt
from storage.reading import SegmentScan
from storage.ticket import Ticket

MAX_BOOTS = 10_000
"""Boots of one store, ours or a mirrored one."""
BOOTS_KEPT = 100
"""Before the first that is named: more boots than a transaction stays open for."""
WALK_EVERY_S = 3600.0
SEGMENTS_AT_ONCE = 100


def needed_from(timeline: Timeline, named: int | None) -> int:
    """The number of the first boot to be kept, where `named` is the first that is named, None for none of them."""
    if not timeline.boots:
        return 0
    oldest, newest = timeline.boots[0].number, timeline.boots[-1].number
    low = (newest if named is None else named) - BOOTS_KEPT
    anchors = [boot.number for boot in timeline.boots if boot.trusted and boot.number <= low]
    first = anchors[-1] if anchors else oldest
    return max(first, timeline.boots[-MAX_BOOTS:][0].number)


def take_forgetting(group: Group, ticket: Ticket, first: dict[UUID, int]) -> None:
    """Put into a commit that of each store the boots before the first to be kept are forgotten."""
    for store, number in first.items():
        timeline = group.catalog.timelines.get(store, Timeline())
        gone = [boot for boot in timeline.boots if boot.number < number]
        group.changes.gone_boots += [(store, boot.id) for boot in gone]
        kept = timeline.boots[len(gone) :][:1]
        if gone and kept and not kept[0].trusted and (store, kept[0].id) not in group.changes.boots:
            # It hung on those that go: it stays where they put it.
            group.note_boot(_placed(timeline, kept[0]))
    group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))


def _placed(timeline: Timeline, boot: Boot) -> Boot:
    return replace(boot, wall_offset_ns=timeline.shift(boot.id).offset_ns)


class Forgetting:
    """Walks over the segments, and then says which boots nothing needs. One thread at a time."""

    def __init__(self, kv: KeyValueStore, catalog: Catalog, clock: Clock) -> None:
        self._kv = kv
        self._catalog = catalog
        self._clock = clock
        self._left: list[SegmentKey] | None = None
        self._named: dict[UUID, int] = {}
        self._unsure = False
        self._due_ns = clock.boot_ns()

    def step(self) -> dict[UUID, int]:
        """One bounded step. At the end of a walk, the number of the first boot to be kept of each store that has older ones."""
        if self._left is None:
            many = any(len(timeline.boots) > BOOTS_KEPT for timeline in self._catalog.timelines.copy().values())
            if not many or self._clock.boot_ns() < self._due_ns:
                return {}
            self._due_ns = self._clock.boot_ns() + int(WALK_EVERY_S * 1e9)
            self._left, self._named, self._unsure = list(self._catalog.segments.copy()), {}, False
        for _ in range(min(SEGMENTS_AT_ONCE, len(self._left))):
            self._look_at(SegmentScan(self._kv, self._catalog, self._left.pop()))
        if self._left:
            return {}
        self._left = None
        found = {}
        for store, timeline in self._catalog.timelines.copy().items():
            # Where a segment would not say, all of it may be named.
            named = 0 if self._unsure else self._named.get(store)
            first = needed_from(timeline, named)
            if timeline.boots and timeline.boots[0].number < first:
                found[store] = first
        return found

    def _look_at(self, scan: SegmentScan) -> None:
        """Note which boot the first readable block of a segment names: those behind it name later ones."""
        record = scan.record
        start = record.start
        items = scan.entries_from(start) if start < record.length else []
        for at, raw in items:
            start = at + 1
            if raw[:4] == GAP_MAGIC:
                continue
            try:
                header = fetch_header(self._kv, raw)
            except DamagedBlockError:
                continue
            timeline = self._catalog.timelines.get(header.store, Timeline())
            number = timeline.number(header.boot)
            if number is not None:
                self._named[header.store] = min(number, self._named.get(header.store, number))
                return
        if items and scan.entries_from(start, limit=1):
            self._unsure = True
