"""Bulk: large data is written once, into chunk files; the segment holds pointers.

A segment of a bulk stream has one open chunk. Its blocks go there, and are durable before the commit that points to them
is written. Giving up what is older than a segment's start is unlinking the chunks that end before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from storage import block
from storage.bulk.chunks import ChunkFiles, ChunkRecord
from storage.catalog import Catalog, Changes
from storage.errors import StorageError
from storage.keys import SegmentKey
from storage.pointer import InChunk, Inline, KeyFrame, Pointer
from storage.trace import Trace


def pointer_to(raw: bytes, key_frames: Sequence[KeyFrame] = ()) -> Pointer:
    """A pointer that says of a block what the block says of itself, and carries it along."""
    header = block.parse_header(raw)
    return Pointer(
        0, Inline(raw), header.raw_bytes, header.events, header.commit, header.first_event, header.previous,
        block.checksum(raw), len(raw), header.boot, header.appended_ns, header.first_captured_ns,
        header.last_captured_ns, tuple(key_frames),
    )  # fmt: skip


def chunks_below(
    catalog: Catalog, segment: SegmentKey, start: int, changes: Changes | None = None
) -> list[ChunkRecord]:
    """The chunks of a segment that hold nothing from `start` on, what a commit in the making changes included."""
    records = {record.number: record for record in catalog.chunks_of(segment)}
    if changes is not None:
        records |= {number: record for number, record in changes.chunks.items() if record.segment == segment}
        records = {number: record for number, record in records.items() if number not in changes.gone_chunks}
    return [record for record in records.values() if record.end <= start]


class BulkWrites:
    """One commit's bulk: where each block goes, then the writing of it."""

    def __init__(self, catalog: Catalog, changes: Changes, chunk_bytes: int) -> None:
        self._catalog = catalog
        self._changes = changes
        self._chunk_bytes = chunk_bytes
        self._writes: list[tuple[int, int, bytes]] = []
        self._durable = False
        self.size_bytes = 0

    def place(self, segment: SegmentKey, start: int, length: int, raw: bytes) -> InChunk:
        """Where the block `raw` will lie, whose pointer stands at `start` and covers `length` bytes of offsets."""
        record = self._open_chunk(segment)
        if record is not None and record.size_bytes + len(raw) > self._chunk_bytes and record.size_bytes:
            self._changes.chunks[record.number] = replace(record, sealed=True)
            record = None
        if record is None:
            number = 1 + max(self._catalog.newest_chunk, *self._changes.chunks, 0)
            record = ChunkRecord(number, segment, start, start, 0)
        place = InChunk(record.number, record.size_bytes)
        self._writes.append((record.number, record.size_bytes, raw))
        self.size_bytes += len(raw)
        self._changes.chunks[record.number] = replace(
            record, end=start + length, size_bytes=record.size_bytes + len(raw)
        )
        return place

    def written(self, place: InChunk) -> bytes | None:
        """The block that this commit puts there, None where it puts none."""
        return next(
            (raw for chunk, offset, raw in self._writes if (chunk, offset) == (place.chunk, place.offset)), None
        )

    def _open_chunk(self, segment: SegmentKey) -> ChunkRecord | None:
        mine = [record for record in self._changes.chunks.values() if record.segment == segment]
        newest = (mine or self._catalog.chunks_of(segment))[-1:]
        return newest[0] if newest and not newest[0].sealed else None

    def persist(self, chunks: ChunkFiles, trace: Trace) -> None:
        """Write the blocks and sync them. Where that is refused it may be repeated: every block has its place.

        Raises StoreFullError (may be repeated), StoreFailedError.
        """
        if self._durable or not self._writes:
            return
        for number, offset, raw in self._writes:
            chunks.write(number, offset, raw)
        trace("chunk.written", {"blocks": len(self._writes), "bytes": self.size_bytes})
        chunks.sync(sorted({number for number, _, _ in self._writes}))
        trace("chunk.synced", {"bytes": self.size_bytes})
        self._durable = True

    def unlink_given_up(self, chunks: ChunkFiles, trace: Trace) -> None:
        """Let go of the files whose end this commit made durable. What stays of them, the next opening unlinks."""
        for number in self._changes.gone_chunks:
            try:
                chunks.unlink(number)
            except StorageError as error:
                trace("chunk.unlink_failed", {"chunk": number, "why": str(error)})
                continue
            trace("chunk.unlinked", {"chunk": number})
