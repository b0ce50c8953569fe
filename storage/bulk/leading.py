"""Blocks that lie whole in chunks though their pointers are gone: found, and led back to where they stood.

A block says of itself which segment it is of, which block it follows and how many events went before it. So where the
newest pointers of a segment were lost with a log, the blocks behind its last entry follow from it one by one. What a
transaction brought does not: its blocks follow the transaction's own, and which segment they came to is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from storage import block
from storage.block import BlockHeader
from storage.bulk.chunks import ChunkRecord
from storage.bulk.writes import pointer_to
from storage.catalog import Catalog
from storage.chain import ChainEntry
from storage.errors import DamagedBlockError
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.pointer import InChunk, KeyFrame, Pointer
from storage.records import SegmentRecord

_STEP_BYTES = 1 << 20
_HEADER_BYTES = 1 << 20
"""A header is hardly ever above this: it names the writers of one commit."""


def blocks_in(kv: KeyValueStore, number: int, start: int, end: int) -> Iterator[tuple[int, BlockHeader]]:
    """Every block in a chunk's bytes [start, end) whose header is whole, and where it lies."""
    at = start
    while at < end:
        piece = kv.chunks.read(number, at, min(_STEP_BYTES + len(block.MAGIC), end - at))
        found = piece.find(block.MAGIC)
        if found < 0:
            at += _STEP_BYTES
            continue
        at += found
        try:
            header = block.parse_header(kv.chunks.read(number, at, min(_HEADER_BYTES, end - at)))
        except DamagedBlockError:
            at += 1
            continue
        yield at, header
        at += header.size_bytes


def led_back(kv: KeyValueStore, catalog: Catalog, entry: ChainEntry) -> bytes | None:
    """A pointer made again for an entry of the chain whose own was hit. None: its block does not lie whole in a chunk."""
    key = SegmentKey(entry.stream, entry.segment, entry.epoch)
    of_segment = catalog.chunks_of(key)
    holding = [record for record in of_segment if record.first <= entry.start < record.end] or of_segment[-1:]
    for record in holding:
        for at, header in blocks_in(kv, record.number, 0, kv.chunks.size(record.number) or 0):
            if (header.raw_bytes, header.events) == (entry.length, entry.events):
                found = _pointer_to(kv, InChunk(record.number, at), header)
                if found is not None and found.checksum == entry.checksum:
                    return found.encode()
    return None


@dataclass(frozen=True, slots=True)
class Unled:
    """A block that no pointer leads to: where it lies, and what it says of itself."""

    place: InChunk
    header: BlockHeader


class UnledBlocks:
    """All blocks behind what pointers are known to name."""

    def __init__(self, kv: KeyValueStore, catalog: Catalog, store: UUID) -> None:
        self._kv = kv
        self._catalog = catalog
        self._by_previous: dict[tuple[UUID, int, int, int], list[Unled]] = {}
        for number in kv.chunks.numbers():
            known = catalog.chunks.get(number)
            named = 0 if known is None else known.size_bytes
            for at, header in blocks_in(kv, number, named, kv.chunks.size(number) or 0):
                if header.store == store:
                    after = (header.incarnation, header.segment, header.epoch, header.previous)
                    self._by_previous.setdefault(after, []).append(Unled(InChunk(number, at), header))

    def behind(
        self, record: SegmentRecord, incarnation: UUID, key: SegmentKey, length: int | None
    ) -> list[tuple[Pointer, BlockHeader]]:
        """The blocks that follow a segment's last entry, one upon the other, all of them whole, up to `length` if known."""
        found: list[tuple[Pointer, BlockHeader]] = []
        checksum, ordinal, commit, end = record.checksum, record.events, record.last_commit, record.length
        while True:
            following = self._by_previous.get((incarnation, key.segment, key.epoch, checksum), ())
            fitting = [each for each in following if each.header.first_event == ordinal and each.header.commit > commit]
            pointers = [(_pointer_to(self._kv, each.place, each.header), each.header) for each in fitting]
            whole = [(pointer, header) for pointer, header in pointers if pointer is not None]
            if len(whole) != 1:
                # Two that follow the same block: one of them is of a transaction that was not committed.
                return found
            [(pointer, header)] = whole
            end += pointer.length
            if length is not None and end > length:
                return found
            found += whole
            checksum, ordinal, commit = pointer.checksum, ordinal + header.events, header.commit

    def records(self, key: SegmentKey, start: int, pointers: Sequence[Pointer]) -> dict[int, ChunkRecord]:
        """The records of the chunks that `pointers` lead to, which stand in a segment from `start` on."""
        records: dict[int, ChunkRecord] = {}
        offset = start
        for pointer in pointers:
            assert isinstance(pointer.place, InChunk)
            number, end = pointer.place.chunk, offset + pointer.length
            known = records.get(number) or self._catalog.chunks.get(number)
            record = known or ChunkRecord(number, key, offset, end, 0)
            size_bytes = pointer.place.offset + pointer.size_bytes
            records[number] = replace(record, end=end, size_bytes=size_bytes, sealed=True)
            offset = end
        return records


def _pointer_to(kv: KeyValueStore, place: InChunk, header: BlockHeader) -> Pointer | None:
    """A pointer to a block that lies there. None where it is not whole."""
    try:
        raw = kv.chunks.read(place.chunk, place.offset, header.size_bytes)
        frames = block.frames(raw, header)
    except DamagedBlockError:
        return None
    key_frames = [KeyFrame(frame.at, frame.captured_ns) for frame in frames if frame.key_frame]
    return replace(pointer_to(raw, key_frames), place=place)
