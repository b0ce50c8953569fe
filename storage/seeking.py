"""Where a moment stands in a segment.

A read by time begins at the first event, in the order of offsets, that was stored and captured at or after the moment, by
the clocks as they are believed now. Order is by offset: where a later boot's clock stood earlier, what lies behind may be
older than the moment; nothing that was captured since, and stored since, is left out. Events whose boot was never
trusted count by where their boot was placed.

Within a boot, entries were stored in the order of their offsets, and boots follow each other in it. So each boot is
bisected by itself, and boots that had ended before the moment are not looked at: a handful of bisections, whatever the
segment holds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from uuid import UUID

from storage import entry
from storage.boots import Timeline
from storage.catalog import Catalog
from storage.chain import GAP
from storage.entry import EntryHead
from storage.errors import DamagedBlockError
from storage.event import Event
from storage.model import Position
from storage.reading import SegmentReader, SegmentScan
from storage.records import StreamRecord


def position_of_time(
    read_from: Callable[[Position], SegmentReader], timeline: Timeline, scan: SegmentScan, time_ns: int
) -> Position:
    """Where the first event stored and captured at or after `time_ns` stands; the segment's end where there is none.

    `read_from` makes a reader of the segment, `timeline` is that of the store that wrote it.
    """
    segment = scan.key
    for start, end in _candidates(scan, timeline, time_ns):
        reader = read_from(Position(segment.segment, segment.epoch, start))
        while reader.position.offset < end and (items := reader.poll()):
            for item in items:
                if item.position.offset >= end:
                    break
                if isinstance(item, Event) and item.time_ns >= time_ns:
                    return item.position
    return Position(segment.segment, segment.epoch, scan.record.length)


def _candidates(scan: SegmentScan, timeline: Timeline, time_ns: int) -> Iterator[tuple[int, int]]:
    """From where to where the entries lie that may hold the event, in order: stored since, not all captured before."""
    offset, end = scan.record.start, scan.record.length
    next_boot = 0
    while offset < end:
        reached = timeline.reaching(time_ns, next_boot)
        if reached is None:
            return
        offset = first_where(offset, end, _written_from(scan, timeline, reached))
        head = None if offset >= end else head_before(scan, offset)
        if head is None:
            return
        boot, shift_ns = head.boot, timeline.shift(head.boot).offset_ns
        behind = first_where(offset, end, _left(scan, boot))
        offset = first_where(offset, behind, _stored(scan, time_ns - shift_ns))
        for start, later in _entries(scan, offset, behind):
            if later.last_captured_ns + shift_ns >= time_ns:
                yield start, start + later.length
        offset = behind
        number = timeline.number(boot)
        next_boot = next_boot if number is None else max(next_boot, number + 1)


def _written_from(scan: SegmentScan, timeline: Timeline, number: int) -> Callable[[int], bool]:
    """Whether what lies at an offset was written in that boot or a later one. Of an unknown boot: it may be."""

    def holds(offset: int) -> bool:
        head = head_before(scan, offset)
        if head is None:
            return False
        known = timeline.number(head.boot)
        return known is None or known >= number

    return holds


def _left(scan: SegmentScan, boot: UUID) -> Callable[[int], bool]:
    def holds(offset: int) -> bool:
        head = head_before(scan, offset)
        return head is not None and head.boot != boot

    return holds


def _stored(scan: SegmentScan, boot_ns: int) -> Callable[[int], bool]:
    def holds(offset: int) -> bool:
        head = head_before(scan, offset)
        return head is not None and head.appended_ns >= boot_ns

    return holds


def first_where(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The first offset in [low, high) for which `holds`, which once true stays true; `high` where none does."""
    return low + bisect_left(range(low, high), True, key=holds)


def head_before(scan: SegmentScan, offset: int) -> EntryHead | None:
    """The entry that covers `offset`, or the nearest before it that says when it was stored."""
    start = scan.record.start
    while offset >= start:
        found = scan.entry_at(offset)
        if found is None:
            return None
        try:
            head = entry.head(found[1])
            if head.kind != GAP:
                return head
        except DamagedBlockError:
            pass
        offset = found[0] - 1
    return None


def commit_before(scan: SegmentScan, offset: int) -> int:
    """The commit of the entry that covers `offset`, or of the nearest before it that tells; 0 where none does."""
    while offset >= scan.record.start and (found := scan.entry_at(offset)) is not None:
        try:
            if commit := entry.head(found[1]).commit:
                return commit
        except DamagedBlockError:
            pass
        offset = found[0] - 1
    return 0


def timeline_of(catalog: Catalog, stream: StreamRecord, scan: SegmentScan) -> Timeline:
    """The boots in which a segment was written. Its blocks say whose they are: what came through another hub is not its."""
    head = head_before(scan, scan.record.length - 1)
    if head is None or head.store is None:
        return catalog.timeline_of(stream)
    return catalog.timelines.get(head.store, Timeline())


def _entries(scan: SegmentScan, offset: int, end: int) -> Iterator[tuple[int, EntryHead]]:
    """Entries that start in [offset, end): where, and what they say. Gaps and damaged ones, which hold no time, not."""
    for start, raw in scan.between(offset, end):
        try:
            head = entry.head(raw)
        except DamagedBlockError:
            continue
        if head.kind != GAP:
            yield start, head
