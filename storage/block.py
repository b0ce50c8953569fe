"""Blocks: one segment's events of one commit, in bytes that stand alone.

Layout, big endian: magic `EBLK`, format u8, codec u8, flags u16 (transaction boundary: 1 begins, 2 ends), key id u32 (0:
not encrypted), header bytes u32, body bytes u32, raw bytes u32, store 16, stream incarnation 16, segment u32, epoch
u32, commit u64, checksum of the segment's previous block u32, ordinal of the first event u64, events u32, boot 16,
appended i64, first and last capture time i64 (boot clock, ns), stream name (u16 length), writers (u16 count; each id
with u16 length, first and last number u64), CRC-32C of the header u32 · body · CRC-32C of all of it u32.

The header has a checksum of its own so that when the body is hit, what was lost is still known exactly.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from uuid import UUID

from storage import codec
from storage.errors import DamagedBlockError
from storage.frame import DecodedFrame, decode_all

MAGIC = b"EBLK"
FORMAT = 1
_HEAD = struct.Struct(">4sBBHIIII16s16sIIQIQI16sqqq")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_NUMBERS = struct.Struct(">QQ")

BLOCK_TARGET_BYTES = 1 << 20
"""Frames of one segment and commit are cut into blocks of about this size."""


@dataclass(frozen=True, slots=True)
class WriterSpan:
    """A writer's numbers within one block, both ends included."""

    writer: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """What a block says of itself. `raw_bytes` is its length in segment offsets, `size_bytes` its length on disk."""

    codec: int
    flags: int
    key_id: int
    header_bytes: int
    body_bytes: int
    raw_bytes: int
    store: UUID
    incarnation: UUID
    segment: int
    epoch: int
    commit: int
    previous: int
    first_event: int
    events: int
    boot: UUID
    appended_ns: int
    first_captured_ns: int
    last_captured_ns: int
    stream: str
    writers: tuple[WriterSpan, ...]

    @property
    def size_bytes(self) -> int:
        return self.header_bytes + self.body_bytes + _U32.size


def encode(
    *,
    store: UUID,
    incarnation: UUID,
    stream: str,
    segment: int,
    epoch: int,
    commit: int,
    previous: int,
    first_event: int,
    events: int,
    boot: UUID,
    appended_ns: int,
    captured_ns: tuple[int, int],
    writers: tuple[WriterSpan, ...],
    body: bytes,
) -> bytes:
    """A block around `body`, the frames as `storage.frame.encode` made them."""
    form, packed = codec.compress(body)
    name = stream.encode()
    tail = [_U16.pack(len(name)), name, _U16.pack(len(writers))]
    for span in writers:
        encoded = span.writer.encode()
        tail += [_U16.pack(len(encoded)), encoded, _NUMBERS.pack(span.first, span.last)]
    variable = b"".join(tail)
    head = _HEAD.pack(
        MAGIC, FORMAT, form, 0, 0, _HEAD.size + len(variable) + _U32.size, len(packed), len(body),
        store.bytes, incarnation.bytes, segment, epoch, commit, previous, first_event, events,
        boot.bytes, appended_ns, captured_ns[0], captured_ns[1],
    )  # fmt: skip
    header = head + variable
    header += _U32.pack(codec.crc32c(header))
    return b"".join((header, packed, _U32.pack(codec.crc32c(packed, codec.crc32c(header)))))


def parse_header(raw: bytes, at: int = 0) -> BlockHeader:
    """The header of the block at `raw[at:]`, checked by its own checksum. Raises DamagedBlockError."""
    try:
        (
            magic, form, packing, flags, key_id, header_bytes, body_bytes, raw_bytes, store, incarnation, segment, epoch,
            commit, previous, first_event, events, boot, appended, first, last,
        ) = _HEAD.unpack_from(raw, at)  # fmt: skip
        if magic != MAGIC:
            raise DamagedBlockError(f"no block here: it begins with {magic!r}")
        end = at + header_bytes - _U32.size
        if end < at + _HEAD.size or codec.crc32c(raw[at:end]) != _U32.unpack_from(raw, end)[0]:
            raise DamagedBlockError("a block's header does not match its checksum")
        if form != FORMAT:
            raise DamagedBlockError(f"a block has format {form}, this version knows {FORMAT}")
        cursor = at + _HEAD.size
        name_bytes = _U16.unpack_from(raw, cursor)[0]
        name = raw[cursor + 2 : cursor + 2 + name_bytes].decode()
        cursor += 2 + name_bytes
        count = _U16.unpack_from(raw, cursor)[0]
        cursor += 2
        writers = []
        for _ in range(count):
            length = _U16.unpack_from(raw, cursor)[0]
            writer = raw[cursor + 2 : cursor + 2 + length].decode()
            cursor += 2 + length
            writers.append(WriterSpan(writer, *_NUMBERS.unpack_from(raw, cursor)))
            cursor += _NUMBERS.size
    except (struct.error, UnicodeDecodeError) as error:
        raise DamagedBlockError(f"a block's header does not parse: {error}") from error
    return BlockHeader(
        packing, flags, key_id, header_bytes, body_bytes, raw_bytes, UUID(bytes=store), UUID(bytes=incarnation), segment,
        epoch, commit, previous, first_event, events, UUID(bytes=boot), appended, first, last, name, tuple(writers),
    )  # fmt: skip


def checksum(raw: bytes) -> int:
    """The checksum that a block carries at its end: what the next block of the segment names as `previous`."""
    return int(_U32.unpack_from(raw, len(raw) - _U32.size)[0])


def verify(raw: bytes, header: BlockHeader) -> None:
    """Raises DamagedBlockError unless `raw` is whole and matches its checksum."""
    if len(raw) != header.size_bytes:
        raise DamagedBlockError(f"a block is {len(raw)} bytes where its header says {header.size_bytes}")
    if codec.crc32c(raw[: -_U32.size]) != checksum(raw):
        raise DamagedBlockError("a block's body does not match its checksum")


def frames(raw: bytes, header: BlockHeader) -> list[DecodedFrame]:
    """The frames of a whole block, checksum checked first. Raises DamagedBlockError."""
    verify(raw, header)
    body = raw[header.header_bytes : header.header_bytes + header.body_bytes]
    return decode_all(codec.decompress(header.codec, body, header.raw_bytes))
