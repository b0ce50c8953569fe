"""How long streams are kept: where each segment could begin by age, by bytes, and by what its consumers have read.

Age is how long the machine is known to have run since (`Timeline.uptime_ns`): boot clocks never step. The time between two
boots is not known and does not count, not even where both knew the time: one of them may have been told a wrong year. So
nothing expires because a wall clock jumps; after a long time without power things expire later than the calendar says,
never earlier.
"""

from __future__ import annotations

from storage.boots import Timeline
from storage.catalog import Catalog
from storage.clock import Clock
from storage.keys import SegmentKey
from storage.reading import SegmentScan
from storage.records import StreamRecord
from storage.retention.truncating import commit_start
from storage.seeking import commit_before, first_where, head_before


def cut_by_age(scan: SegmentScan, timeline: Timeline, max_age_ns: int, clock: Clock | None) -> int:
    """Where a segment may begin so that all before it is older than `max_age_ns`.

    `timeline` is that of the store that wrote it. What is mirrored has no `clock` here: only the time that passed on its
    own machine before its newest entry is known.
    """
    record = scan.record
    newest = head_before(scan, record.length - 1)
    if newest is None:
        return record.start
    boot, boot_ns = (newest.boot, newest.appended_ns) if clock is None else (clock.boot_id, clock.boot_ns())
    now_ns = timeline.uptime_ns(boot, boot_ns)
    if now_ns is None:
        return record.start

    def young(offset: int) -> bool:
        head = head_before(scan, offset)
        if head is None:
            return False
        then_ns = timeline.uptime_ns(head.boot, head.appended_ns)
        # What was written in a boot that nobody knows is kept: what lies behind it proves its age in time.
        return then_ns is None or then_ns > now_ns - max_age_ns

    return commit_start(scan, first_where(record.start, record.length, young))


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
    first = first_where(record.start, record.length, lambda offset: commit_before(scan, offset) > confirmed)
    return commit_start(scan, first)


def live_bytes(catalog: Catalog, stream: StreamRecord) -> int:
    """Bytes of offsets that a stream holds."""
    records = (catalog.segments.get(stream.key(layout)) for layout in stream.layout)
    return sum(record.length - record.start for record in records if record is not None)
