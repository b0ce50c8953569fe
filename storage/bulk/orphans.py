"""Chunks at opening: what no pointer names is cut off, what pointers name and is not there is told.

The records say how much of each chunk pointers name. But a record may have been lost with a page of the tables, so before
anything behind a record's end is let go, the blocks found there are asked which segment they are of, and that segment
whether a pointer leads to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from storage.block import BlockHeader
from storage.bulk.chunks import ChunkRecord
from storage.bulk.leading import blocks_in
from storage.catalog import Catalog
from storage.errors import DamagedBlockError
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.pointer import MAGIC, InChunk, Pointer
from storage.reading import SegmentScan
from storage.salvage.report import SalvageReport
from storage.seeking import commit_before, first_where
from storage.transactions.record import is_shadow


@dataclass(slots=True)
class Settled:
    """What opening changes about chunks."""

    records: dict[int, ChunkRecord] = field(default_factory=dict)
    gone: list[int] = field(default_factory=list)
    lost: list[tuple[SegmentKey, int, int]] = field(default_factory=list)
    """Ranges of segments in which pointers lead to what is not there."""


def settle_chunks(
    kv: KeyValueStore, catalog: Catalog, report: SalvageReport, led_back: Mapping[int, ChunkRecord]
) -> Settled:
    """Bring files and records together: files are cut and unlinked at once, records change with the opening's commit.

    `led_back`: the records of chunks to which that commit leads pointers back.
    """
    settled = Settled(dict(led_back))
    for record in list(catalog.chunks.values()):
        segment = catalog.segments.get(record.segment)
        given_up = is_shadow(record.segment.stream) if segment is None else record.end <= segment.start
        if given_up:
            # A repair of the tables may have brought the record back.
            settled.gone.append(record.number)
    for number in kv.chunks.numbers():
        if number in settled.gone:
            kv.chunks.unlink(number)
            continue
        known = settled.records.get(number) or catalog.chunks.get(number)
        held = kv.chunks.size(number) or 0
        named = 0 if known is None else known.size_bytes
        if known is not None and held <= named:
            continue
        found = _find_named(kv, catalog, number, named, held, known)
        if found is not None:
            settled.records[number] = found
            named = found.size_bytes
            report.say(f"chunk {number}: its record was behind the pointers to it, and was made again")
        if named:
            kv.chunks.cut(number, named)
        else:
            kv.chunks.unlink(number)
    for number in sorted(catalog.chunks.keys() - set(settled.gone)):
        _tell_lost(kv, settled.records.get(number, catalog.chunks[number]), settled, report)
    return settled


def _find_named(
    kv: KeyValueStore, catalog: Catalog, number: int, start: int, end: int, known: ChunkRecord | None
) -> ChunkRecord | None:
    """The record that a chunk should have, where pointers lead to blocks in its bytes [start, end)."""
    record = None
    for at, header in blocks_in(kv, number, start, end):
        for segment in _segments_of(catalog, header):
            found = _pointer_to(kv, catalog, segment, header, number, at)
            if found is not None:
                offset, pointer = found
                first = known.first if known is not None else record.first if record is not None else offset
                record = ChunkRecord(number, segment, first, offset + pointer.length, at + pointer.size_bytes)
    return None if record is None else replace(record, sealed=True)


def _segments_of(catalog: Catalog, header: BlockHeader) -> list[SegmentKey]:
    """Where a pointer to a block may stand: in any segment of its stream, since a transaction spans scales, or in a shadow."""
    streams = [stream for stream in catalog.streams.values() if stream.incarnation == header.incarnation]
    numbers = {stream.number for stream in streams}
    shadows = [
        each for record in catalog.open_transactions.values() for each in record.shadows if each.stream in numbers
    ]
    return [
        *(stream.key(layout) for stream in streams for layout in stream.layout),
        *(SegmentKey(shadow.number, header.segment, header.epoch) for shadow in shadows),
    ]


def _pointer_to(
    kv: KeyValueStore, catalog: Catalog, segment: SegmentKey, header: BlockHeader, number: int, at: int
) -> tuple[int, Pointer] | None:
    """The pointer that leads to a block, and its offset. It was committed with the block, or later by a transaction."""
    scan = SegmentScan(kv, catalog, segment)
    start, length = scan.record.start, scan.record.length
    # Where nothing tells a commit the look begins before it: that only takes longer.
    offset = first_where(start, length, lambda at: (commit_before(scan, at) or header.commit) >= header.commit)
    while items := scan.entries_from(offset):
        for start, raw in items:
            if raw[:4] == MAGIC:
                pointer = _decode(raw)
                if pointer is not None and pointer.place == InChunk(number, at):
                    return start, pointer
        offset = items[-1][0] + 1
    return None


def _decode(raw: bytes) -> Pointer | None:
    try:
        return Pointer.decode(raw)
    except DamagedBlockError:
        return None


def _tell_lost(kv: KeyValueStore, record: ChunkRecord, settled: Settled, report: SalvageReport) -> None:
    """A chunk that is missing, or shorter than what pointers name: its pointers become gaps, and nothing more goes in it."""
    held = kv.chunks.size(record.number)
    if (held or 0) >= record.size_bytes:
        return
    what = "is missing" if held is None else f"is {record.size_bytes - held} bytes short"
    report.say(f"chunk {record.number} {what}")
    settled.lost.append((record.segment, record.first, record.end))
    settled.records[record.number] = replace(record, size_bytes=held or 0, sealed=True)
