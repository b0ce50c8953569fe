"""Thinning: of a generation every second block goes, and a gap record (reason THINNED) stands in its place.

Blocks of transactions and what lies in chunk files are left whole. So the history of a stream that is thinned three
times reaches back several times as far, with fewer and fewer of its blocks, before its oldest goes as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from storage import entry
from storage.catalog import Catalog
from storage.chain import BLOCK, REPLACED, ChainEntry, GapRecord
from storage.errors import ConditionFailedError, DamagedBlockError
from storage.group import Group
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.model import GapReason, Receipt
from storage.reading import SegmentScan
from storage.records import FamilyRecord
from storage.retention import drops
from storage.retention.drops import Dropped, Drops, Edit
from storage.ticket import Ticket
from storage.transactions.record import is_shadow

BLOCKS_AT_ONCE = 4000
"""Blocks that one commit thins."""
MOST_LEVELS = 3
"""So often a generation is thinned; then it goes whole."""


def thinnable(catalog: Catalog, family: FamilyRecord) -> bool:
    """Whether a generation can be thinned (again): nothing goes to it any more, and no log holds any of it."""
    verified = 0 if catalog.node is None else catalog.node.verified
    after = [
        other.first
        for other in catalog.families.values()
        if other.kind == "telemetry" and other.group == family.group and other.number > family.number
    ]
    return family.group.startswith("thin/") and family.thinned < MOST_LEVELS and bool(after) and min(after) <= verified


@dataclass(slots=True)
class Thinning:
    """One generation being thinned, some blocks at a time. `done`: all of it is."""

    kv: KeyValueStore
    catalog: Catalog
    family: FamilyRecord
    sent: Mapping[str, int]
    done: bool = False
    _reached: dict[SegmentKey, tuple[int, bool]] = field(default_factory=dict)
    """Where in each segment it goes on, and whether the next block stays."""

    def take(self, group: Group, ticket: Ticket) -> None:
        """Put the next blocks' gap records into a commit. Raises ConditionFailedError where the generation has gone."""
        if self.family.name not in self.catalog.families or group.edits:
            raise ConditionFailedError(f"{self.family.name} has gone, or something else is given up in this commit")
        left = BLOCKS_AT_ONCE
        for key, first, end in self.catalog.segments_in(self.family.number):
            if is_shadow(key.stream):
                continue
            left -= self._thin(group, key, first, end, left)
            if left <= 0:
                break
        else:
            self.done = True
            group.changes.families[self.family.name] = replace(self.family, thinned=self.family.thinned + 1)
        group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))

    def _thin(self, group: Group, key: SegmentKey, first: int, end: int, most: int) -> int:
        scan = SegmentScan(self.kv, self.catalog, key)
        start, stays = self._reached.get(key, (max(first, scan.record.start), True))
        stream = self.catalog.by_number.get(key.stream)
        sent = None if stream is None else self.sent.get(stream.name)
        thinned = Dropped()
        gaps = 0
        for at, raw in scan.between(max(start, scan.record.start), end):
            if gaps >= most:
                break
            start = at + 1
            try:
                head = entry.head(raw)
            except DamagedBlockError:
                continue
            if head.kind != BLOCK:
                continue
            stays = not stays
            if not stays:
                continue
            events = head.events or 0
            gap = GapRecord(GapReason.THINNED, head.length, events, head.commit, head.checksum)
            named = ChainEntry(*key, REPLACED, self.family.number, at, head.length, events, head.checksum)
            group.replace_entry(named, gap.encode())
            unsent = events if sent is not None and head.commit > sent else 0
            thinned = Dropped(thinned.events + events, thinned.size_bytes + head.length, thinned.unsent + unsent)
            gaps += 1
        else:
            start = end
        self._reached[key] = (start, stays)
        if gaps:
            group.edits[key] = Edit(0, gaps)
            account = group.changes.drops.get(key.stream) or group.catalog.drops.get(key.stream, Drops())
            group.changes.drops[key.stream] = account.plus(drops.THINNED, thinned)
        return gaps
