"""Truncation: the start of a segment moves, offsets never shift, and what is given up is counted by reason.

A segment begins with the first entry of a commit: so never inside an entry, and never inside a transaction, which a
segment holds as the entries of one commit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from storage import entry
from storage.catalog import Catalog
from storage.chain import GAP
from storage.errors import ConditionFailedError, DamagedBlockError
from storage.group import Group
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.model import Position
from storage.reading import SegmentScan
from storage.records import SegmentRecord, StreamRecord
from storage.retention.drops import Dropped, Drops, Edit
from storage.transactions.burying import bury_below


@dataclass(frozen=True, slots=True)
class Cut:
    """One segment's share of a truncation, measured on `record`. `events` were still there, `gaps` records told of gaps."""

    segment: SegmentKey
    record: SegmentRecord
    start: int
    events: int
    gaps: int
    unsent: int

    @property
    def size_bytes(self) -> int:
        return self.start - self.record.start


def commit_start(scan: SegmentScan, offset: int, *, onward: bool = False) -> int:
    """The start of a commit's entries at `offset` or before it, or behind it with `onward`; the end is one as well."""
    record = scan.record
    if offset >= record.length:
        return record.length
    if offset <= record.start:
        return record.start
    found = scan.entry_at(offset)
    if found is None:
        return offset
    start, raw = found
    commit = _commit(raw)
    if onward:
        before = scan.entry_at(start - 1)
        if start == offset and (before is None or commit is None or _commit(before[1]) != commit):
            return offset
        return _behind(scan, start, raw)
    while start > record.start and commit is not None:
        before = scan.entry_at(start - 1)
        if before is None or _commit(before[1]) != commit:
            break
        start = before[0]
    return max(start, record.start)


def _behind(scan: SegmentScan, start: int, raw: bytes) -> int:
    """The offset behind the entries of one commit."""
    commit, first = _commit(raw), start
    while items := scan.entries_from(start):
        for at, item in items:
            if at > first and (commit is None or _commit(item) != commit):
                return at
            start = at + 1
    return scan.record.length


def _commit(raw: bytes) -> int | None:
    """The commit of an entry, None where it does not say."""
    try:
        return entry.head(raw).commit or None
    except DamagedBlockError:
        return None


def measure(
    kv: KeyValueStore, catalog: Catalog, segment: SegmentKey, start: int, sent_through: int | None = None
) -> Cut:
    """What moving a segment's start to `start` gives up. What was committed behind `sent_through` counts as unsent."""
    scan = SegmentScan(kv, catalog, segment)
    record = scan.record
    events = gaps = unsent = 0
    for _, raw in scan.between(record.start, start):
        try:
            head = entry.head(raw)
        except DamagedBlockError:
            continue
        if head.kind == GAP:
            gaps += 1
            continue
        events += head.events or 0
        if sent_through is not None and head.commit > sent_through:
            unsent += head.events or 0
    return Cut(segment, record, start, events, gaps, unsent)


def take_cuts(group: Group, cuts: Iterable[Cut], reason: str) -> None:
    """Put cuts into a commit. Raises ConditionFailedError, with nothing taken, where a segment is no more as measured."""
    cuts = [cut for cut in cuts if cut.start > cut.record.start]
    for cut in cuts:
        now = group.catalog.segments.get(cut.segment, SegmentRecord())
        if cut.segment in group.edits or (now.start, now.gaps) != (cut.record.start, cut.record.gaps):
            raise ConditionFailedError("the segment was truncated meanwhile: look again")
    for cut in cuts:
        stream, segment, epoch = cut.segment
        drops = group.changes.drops.get(stream) or group.catalog.drops.get(stream, Drops())
        drops = drops.plus(reason, Dropped(cut.events, cut.size_bytes, cut.unsent))
        group.changes.drops[stream] = drops.starting(segment, epoch, reason, cut.events)
        group.edits[cut.segment] = Edit(cut.start, -cut.gaps)
        bury_below(group, cut.segment, cut.start)


def cuts_of(
    kv: KeyValueStore, catalog: Catalog, stream: StreamRecord, positions: Iterable[Position], sent_through: int | None
) -> list[Cut]:
    """What truncating a stream at `positions`, one for each segment, gives up. Raises ValueError for another stream's."""
    cuts = []
    known = {(layout.segment, layout.epoch) for layout in stream.layout}
    for position in positions:
        if (position.number, position.epoch) not in known:
            raise ValueError(f"{stream.name!r} has no segment {position.number}.{position.epoch}")
        segment = SegmentKey(stream.number, position.number, position.epoch)
        start = commit_start(SegmentScan(kv, catalog, segment), position.offset)
        cuts.append(measure(kv, catalog, segment, start, sent_through))
    return [cut for cut in cuts if cut.start > cut.record.start]
