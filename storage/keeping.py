"""How long streams are kept: where each segment could begin by age, by bytes, and by what its consumers have read.

Age is what is known to have passed on boot clocks, which never step: within a boot the difference, across boots the time
that each was seen to run. The time between two boots is not known and does not count. So nothing expires because a
wall clock jumps; after a long time without power things expire later than the calendar says, never earlier.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from storage import entry
from storage.catalog import Catalog, StreamRecord
from storage.chain import GAP
from storage.clock import Clock
from storage.errors import DamagedBlockError
from storage.keys import SegmentKey
from storage.reading import SegmentScan
from storage.truncating import commit_start

MOST_BOOTS = 1000
"""Boots of one segment that are looked at in one step."""


def first_where(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The first number in [low, high) for which `holds`, which once true stays true; `high` where none does."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _head(scan: SegmentScan, offset: int) -> entry.EntryHead | None:
    """The entry that covers `offset`, or the nearest before it that says when it was appended."""
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


def cut_by_age(scan: SegmentScan, clock: Clock, max_age_ns: int, *, mirrored: bool = False) -> int:
    """Where a segment may begin so that all before it is older than `max_age_ns`.

    Of what is `mirrored` from another machine, only the time that passed there before its newest entry is known.
    """
    record = scan.record
    end = record.length
    passed = 0
    newest = _head(scan, end - 1)
    for _ in range(MOST_BOOTS):
        if newest is None:
            break
        boot, latest = newest.boot, newest.appended_ns
        if end == record.length:
            if boot == clock.boot_id:
                latest = clock.boot_ns()
            elif not mirrored:
                passed = clock.boot_ns()
        begin = first_where(record.start, end, lambda offset, boot=boot: _boot(scan, offset) == boot)  # type: ignore[misc]
        until = latest - (max_age_ns - passed)
        young = first_where(begin, end, lambda offset, until=until: _appended(scan, offset) > until)  # type: ignore[misc]
        if young > begin:
            return commit_start(scan, young)
        oldest = _head(scan, begin)
        if begin <= record.start or oldest is None:
            break
        passed += latest - oldest.appended_ns
        end = begin
        newest = _head(scan, begin - 1)
    return record.start


def _boot(scan: SegmentScan, offset: int) -> UUID | None:
    head = _head(scan, offset)
    return None if head is None else head.boot


def _appended(scan: SegmentScan, offset: int) -> int:
    head = _head(scan, offset)
    return -1 if head is None else head.appended_ns


def cut_by_bytes(scans: list[SegmentScan], max_bytes: int) -> dict[SegmentKey, int]:
    """Where the segments of a stream, the oldest first, may begin so that at most `max_bytes` of offsets remain."""
    surplus = sum(scan.record.length - scan.record.start for scan in scans) - max_bytes
    cuts: dict[SegmentKey, int] = {}
    for scan in scans:
        if surplus <= 0:
            break
        record = scan.record
        cuts[scan.key] = commit_start(scan, min(record.start + surplus, record.length), onward=True)
        surplus -= cuts[scan.key] - record.start
    return cuts


def sent_before(scan: SegmentScan, stream: StreamRecord, confirmed: int | None) -> int:
    """The offset before which every upstream holds the segment; its end where no upstream wants it (None)."""
    record = scan.record
    if confirmed is None or confirmed >= record.last_commit:
        return record.length
    if stream.origin is not None:
        return record.start
    first = first_where(record.start, record.length, lambda offset: _commit(scan, offset) > confirmed)
    return commit_start(scan, first)


def _commit(scan: SegmentScan, offset: int) -> int:
    found = scan.entry_at(offset)
    try:
        commit = 0 if found is None else entry.head(found[1]).commit
    except DamagedBlockError:
        commit = 0
    if commit or found is None or found[0] <= scan.record.start:
        return commit
    return _commit(scan, found[0] - 1)


def live_bytes(catalog: Catalog, stream: StreamRecord) -> int:
    """Bytes of offsets that a stream holds."""
    records = (
        catalog.segments.get(SegmentKey(stream.number, layout.segment, layout.epoch)) for layout in stream.layout
    )
    return sum(record.length - record.start for record in records if record is not None)
