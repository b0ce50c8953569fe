"""From an entry to its block: the one place that knows where blocks lie."""

from __future__ import annotations

from storage import block, keys, pointer
from storage.block import BlockHeader
from storage.errors import DamagedBlockError
from storage.kv.contract import KeyValueStore
from storage.pointer import InChunk, InGeneration, Inline, Pointer

_HEADER_BYTES = 16 << 10
"""Most headers are much smaller."""


def fetch(kv: KeyValueStore, raw: bytes) -> bytes:
    """The block that the entry `raw` is or points to, as it was written. A gap record has none.

    Raises DamagedBlockError where the block is not there, or is not the one pointed to. What it does not check is the
    body against its checksum: `block.frames` and `block.verify` do.
    """
    if raw[:4] != pointer.MAGIC:
        return raw
    at = Pointer.decode(raw)
    found = _lying_at(kv, at)
    if found[:4] == pointer.MAGIC and isinstance(at.place, InGeneration):
        # What a transaction put into a chunk is pointed to from its shadow: one step more, and no other.
        at = Pointer.decode(found)
        if isinstance(at.place, InGeneration):
            raise DamagedBlockError("a pointer leads to a pointer that leads on")
        found = _lying_at(kv, at)
    if len(found) != at.size_bytes or block.checksum(found) != at.checksum:
        raise DamagedBlockError(f"the block in {_describe(at)} is not the one that its pointer names")
    return found


def fetch_header(kv: KeyValueStore, raw: bytes) -> BlockHeader:
    """The header of the block that the entry `raw` is or points to; of one in a chunk no more is read than its beginning.

    Raises DamagedBlockError.
    """
    if raw[:4] == pointer.MAGIC:
        at = Pointer.decode(raw)
        if isinstance(at.place, InChunk):
            try:
                return block.parse_header(
                    kv.chunks.read(at.place.chunk, at.place.offset, min(at.size_bytes, _HEADER_BYTES))
                )
            except DamagedBlockError:
                pass  # A header with very many writers is longer.
    return block.parse_header(fetch(kv, raw))


def carried(raw: bytes) -> bytes:
    """The block that an entry from elsewhere is or carries along, checked whole. Raises DamagedBlockError."""
    if raw[:4] == pointer.MAGIC:
        at = Pointer.decode(raw)
        if not isinstance(at.place, Inline):
            raise DamagedBlockError("a pointer from elsewhere leads to a place that is not here")
        raw = at.place.raw
        if len(raw) != at.size_bytes or block.checksum(raw) != at.checksum:
            raise DamagedBlockError("a pointer carries another block than it names")
    block.verify(raw, block.parse_header(raw))
    return raw


def _lying_at(kv: KeyValueStore, at: Pointer) -> bytes:
    match at.place:
        case Inline(raw):
            return raw
        case InChunk(chunk, offset):
            return kv.chunks.read(chunk, offset, at.size_bytes)
        case InGeneration(generation, segment, offset):
            family = f"telemetry-{generation:08d}"
            found = kv.get(family, keys.block(segment, offset)) if family in kv.families() else None
            if found is None:
                raise DamagedBlockError(f"there is nothing in {_describe(at)}")
            return found


def _describe(at: Pointer) -> str:
    match at.place:
        case Inline():
            return "a pointer"
        case InChunk(chunk, offset):
            return f"chunk {chunk} at byte {offset}"
        case InGeneration(generation, segment, offset):
            return f"generation {generation}, segment {segment.stream}/{segment.segment}.{segment.epoch} at {offset}"
