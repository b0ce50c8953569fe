"""Pointers: entries of a segment whose block lies elsewhere, in a transaction's shadow or in a chunk file.

A pointer stands at the offset where its block's events are read, and says of the block all that a segment asks of an
entry, so that the block itself is fetched only when its events are. Its `commit` is the one that made the events
visible, which may come long after the one that wrote the block; `previous` and `first_event` are the parent's.

Layout, big endian: magic `EPTR`, format u8, flags u8 (1: first entry of a transaction, 2: last), place u8 (1 generation,
2 chunk, 3 the block follows), zero u8, length u64, events u64, commit u64, first event u64, previous checksum u32, the
block's checksum u32, the block's bytes u32, boot 16, appended i64, first and last capture time i64, place: four u64
(generation: generation, stream · segment and epoch, offset; chunk: number, offset in the file) · key frames (u16
count; each: offset in the segment from the pointer's u32, capture time i64) · CRC-32C u32 · the block, where it follows.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from uuid import UUID

from storage.codec import crc32c
from storage.errors import DamagedBlockError
from storage.keys import SegmentKey

MAGIC = b"EPTR"
FORMAT = 1
BEGINS = 1
ENDS = 2

_GENERATION, _CHUNK, _INLINE = 1, 2, 3
_HEAD = struct.Struct(">4sBBBBQQQQIII16sqqqQQQQH")
_KEY_FRAME = struct.Struct(">Iq")
_U32 = struct.Struct(">I")
_MAX_KEY_FRAMES = 65_535


@dataclass(frozen=True, slots=True)
class InGeneration:
    """The block is stored under another segment's key: a shadow's."""

    generation: int
    segment: SegmentKey
    offset: int


@dataclass(frozen=True, slots=True)
class InChunk:
    """The block lies in a chunk file, `offset` bytes from its beginning."""

    chunk: int
    offset: int


@dataclass(frozen=True, slots=True)
class Inline:
    """The block follows the pointer: what goes upstream, where places of this store mean nothing."""

    raw: bytes = field(repr=False)


Place = InGeneration | InChunk | Inline


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """An event from which video can be decoded: where its frame begins, from the pointer's own offset, and its time."""

    offset: int
    captured_ns: int


@dataclass(frozen=True, slots=True)
class Pointer:
    """What the segment asks of an entry, and where the block lies. `length` in offsets, `size_bytes` as it is stored."""

    flags: int
    place: Place
    length: int
    events: int
    commit: int
    first_event: int
    previous: int
    checksum: int
    size_bytes: int
    boot: UUID
    appended_ns: int
    first_captured_ns: int
    last_captured_ns: int
    key_frames: tuple[KeyFrame, ...] = ()

    def encode(self) -> bytes:
        behind = b""
        match self.place:
            case InGeneration(generation, segment, offset):
                kind = _GENERATION
                where = (generation, segment.stream, segment.segment << 32 | segment.epoch, offset)
            case InChunk(chunk, offset):
                kind, where = _CHUNK, (chunk, offset, 0, 0)
            case Inline(behind):
                kind, where = _INLINE, (0, 0, 0, 0)
        key_frames = self.key_frames[:_MAX_KEY_FRAMES]
        raw = _HEAD.pack(
            MAGIC, FORMAT, self.flags, kind, 0, self.length, self.events, self.commit, self.first_event, self.previous,
            self.checksum, self.size_bytes, self.boot.bytes, self.appended_ns, self.first_captured_ns,
            self.last_captured_ns, *where, len(key_frames),
        )  # fmt: skip
        raw += b"".join(_KEY_FRAME.pack(frame.offset, frame.captured_ns) for frame in key_frames)
        return raw + _U32.pack(crc32c(raw)) + behind

    @staticmethod
    def decode(raw: bytes) -> Pointer:
        """Raises DamagedBlockError. A block that follows is not looked at."""
        try:
            (
                magic, form, flags, kind, _, length, events, commit, first_event, previous, checksum, size_bytes, boot,
                appended, first, last, a, b, c, d, count,
            ) = _HEAD.unpack_from(raw)  # fmt: skip
            end = _HEAD.size + count * _KEY_FRAME.size
            if magic != MAGIC or crc32c(raw[:end]) != _U32.unpack_from(raw, end)[0]:
                raise DamagedBlockError("a pointer does not match its checksum")
        except struct.error as error:
            raise DamagedBlockError(f"a pointer does not parse: {error}") from error
        if form != FORMAT or not _GENERATION <= kind <= _INLINE:
            raise DamagedBlockError(f"a pointer has format {form}, place {kind}: this version does not know them")
        place: Place
        if kind == _GENERATION:
            place = InGeneration(a, SegmentKey(b, c >> 32, c & 0xFFFFFFFF), d)
        elif kind == _CHUNK:
            place = InChunk(a, b)
        else:
            place = Inline(raw[end + _U32.size :])
        key_frames = tuple(KeyFrame(*fields) for fields in _KEY_FRAME.iter_unpack(raw[_HEAD.size : end]))
        return Pointer(
            flags, place, length, events, commit, first_event, previous, checksum, size_bytes, UUID(bytes=boot), appended,
            first, last, key_frames,
        )  # fmt: skip
