"""Bytes of a segment as they lie under its offsets: event frames (`storage.frame`), headers and all, one behind the other.

They are there as soon as they are durable, while more is written behind them. What lies in a chunk uncompressed is read
straight from the file, no more of it than asked for, and is not checked then: whoever needs whole events checks them by
reading events, or by the frames' own lengths.
"""

from __future__ import annotations

from storage import block, codec
from storage.block import BlockHeader
from storage.chain import GAP_MAGIC
from storage.errors import DamagedBlockError, RangeGoneError
from storage.kv.contract import KeyValueStore
from storage.pointer import MAGIC, InChunk, Pointer
from storage.reading import SegmentScan

MAX_RANGE_BYTES = 64 << 20
_HEADER_BYTES = 4096


def read_range(kv: KeyValueStore, scan: SegmentScan, offset: int, size_bytes: int) -> bytes:
    """Up to `size_bytes` bytes from `offset` on: fewer at the durable end and before a gap, b"" at the end.

    At most 64 MiB at once. Raises RangeGoneError where `offset` lies below the start or in a gap, DamagedBlockError where
    the block it lies in does not check.
    """
    pieces: list[bytes] = []
    left = min(size_bytes, MAX_RANGE_BYTES)
    while left > 0 and offset < scan.record.length:
        if offset < scan.record.start:
            raise RangeGoneError(f"byte {offset} was given up: the segment begins at {scan.record.start}")
        found = scan.entry_at(offset)
        if found is None or found[1][:4] == GAP_MAGIC:
            if pieces:
                break
            raise RangeGoneError(f"byte {offset} lies in a gap; `gaps` says how far it goes, and why")
        start, raw = found
        try:
            piece = _within(kv, scan, raw, offset - start, left)
        except DamagedBlockError:
            if pieces:
                break
            raise
        if not piece:
            raise RangeGoneError(f"nothing is stored at byte {offset}")
        pieces.append(piece)
        offset, left = offset + len(piece), left - len(piece)
    return b"".join(pieces)


def _within(kv: KeyValueStore, scan: SegmentScan, raw: bytes, skip: int, size_bytes: int) -> bytes:
    """The bytes [skip, skip + size_bytes) of the body of an entry's block, as far as it goes."""
    if raw[:4] == MAGIC:
        pointer = Pointer.decode(raw)
        if isinstance(pointer.place, InChunk):
            header = _header_at(kv, pointer, pointer.place)
            if header.codec == codec.CODEC_NONE:
                size_bytes = min(size_bytes, pointer.length - skip)
                at = pointer.place.offset + header.header_bytes + skip
                return kv.chunks.read(pointer.place.chunk, at, size_bytes) if size_bytes > 0 else b""
    whole = scan.fetch(raw)
    header = block.parse_header(whole)
    block.verify(whole, header)
    body = whole[header.header_bytes : header.header_bytes + header.body_bytes]
    return codec.decompress(header.codec, body, header.raw_bytes)[skip : skip + size_bytes]


def _header_at(kv: KeyValueStore, pointer: Pointer, place: InChunk) -> BlockHeader:
    """The header of a block in a chunk; most are short."""
    for size_bytes in (min(_HEADER_BYTES, pointer.size_bytes), pointer.size_bytes):
        try:
            return block.parse_header(kv.chunks.read(place.chunk, place.offset, size_bytes))
        except DamagedBlockError:
            if size_bytes == pointer.size_bytes:
                raise
    raise DamagedBlockError("a block's header does not parse")
