"""Every range of a stream that is gone, and why."""

from __future__ import annotations

from storage.catalog import Catalog
from storage.chain import GAP_MAGIC, GapRecord
from storage.kv.contract import KeyValueStore
from storage.model import Gap, Position
from storage.reading import SegmentScan
from storage.records import StreamRecord


def gaps_of(kv: KeyValueStore, catalog: Catalog, stream: StreamRecord) -> list[Gap]:
    """The gap records of a stream, in order, segment by segment."""
    gaps = []
    for layout in stream.layout:
        scan = SegmentScan(kv, catalog, stream.key(layout))
        offset = scan.record.start
        while scan.record.gaps and (entries := scan.entries_from(offset)):
            for start, raw in entries:
                if raw[:4] == GAP_MAGIC:
                    gap = GapRecord.decode(raw)
                    at = Position(layout.segment, layout.epoch, start)
                    behind = Position(layout.segment, layout.epoch, start + gap.length)
                    gaps.append(Gap(stream.name, at, behind, gap.reason, gap.events, gap.detail))
            offset = entries[-1][0] + 1
    return gaps
