"""The last key frame before a moment: found in the pointers of a segment, without touching a chunk."""

from __future__ import annotations

from storage.boots import Timeline
from storage.errors import DamagedBlockError
from storage.model import Position
from storage.pointer import MAGIC, Pointer
from storage.reading import SegmentScan
from storage.seeking import first_where

LOOK_BACK_ENTRIES = 10_000
"""So many blocks without a key frame are looked back over. A camera has one in at least every ten seconds."""


def key_frame_before(scan: SegmentScan, timeline: Timeline, time_ns: int) -> Position | None:
    """Where the newest key frame captured at or before `time_ns` (since 1970) stands, None where there is none.

    Blocks are found by bisecting when they begin: O(log n) reads. Order is by offset, so where the clock was set back
    between boots it is the newest in the order of offsets.
    """

    def later(offset: int) -> bool:
        begins = _begins_ns(scan, timeline, offset)
        return begins is not None and begins > time_ns

    offset = first_where(scan.record.start, scan.record.length, later) - 1
    for _ in range(LOOK_BACK_ENTRIES):
        found = scan.entry_at(offset) if offset >= scan.record.start else None
        if found is None:
            return None
        start, raw = found
        pointer = _pointer(raw)
        for key_frame in reversed(pointer.key_frames if pointer is not None else ()):
            if pointer is not None and key_frame.captured_ns + _shift_ns(timeline, pointer) <= time_ns:
                return Position(scan.key.segment, scan.key.epoch, start + key_frame.offset)
        offset = start - 1
    return None


def _pointer(raw: bytes) -> Pointer | None:
    try:
        return Pointer.decode(raw) if raw[:4] == MAGIC else None
    except DamagedBlockError:
        return None


def _shift_ns(timeline: Timeline, pointer: Pointer) -> int:
    return timeline.shift(pointer.boot).offset_ns


def _begins_ns(scan: SegmentScan, timeline: Timeline, offset: int) -> int | None:
    """When the first event of the entry at `offset`, or of the nearest before it that tells, was captured."""
    while offset >= scan.record.start and (found := scan.entry_at(offset)) is not None:
        pointer = _pointer(found[1])
        if pointer is not None:
            return pointer.first_captured_ns + _shift_ns(timeline, pointer)
        offset = found[0] - 1
    return None
