"""The key layout: what lies under which key in which family (the table of it is in the package's docstring)."""

from __future__ import annotations

import struct
from typing import NamedTuple
from uuid import UUID

DEFAULT = "default"
NODE = b"N"
STREAM = b"S"
SEGMENT = b"G"
SEGMENT_START = b"I"
WRITER = b"W"
CURSOR = b"C"
BOOT = b"B"
MIRROR = b"M"
THROUGH = b"T"
FAMILY = b"F"
DROPS = b"D"
CHUNK = b"K"
TRANSACTION = b"X"
PLACED = b"P"

_SEGMENT = struct.Struct(">III")
_BLOCK = struct.Struct(">IIIQ")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
LAST_OFFSET = (1 << 64) - 1


class SegmentKey(NamedTuple):
    """A segment by the store's own number of its stream."""

    stream: int
    segment: int
    epoch: int


def block(segment: SegmentKey, offset: int) -> bytes:
    return _BLOCK.pack(segment.stream, segment.segment, segment.epoch, offset)


def block_offset(key: bytes) -> int:
    return int(_BLOCK.unpack(key)[3])


def block_segment(key: bytes) -> SegmentKey:
    return SegmentKey(*_BLOCK.unpack(key)[:3])


def chain(commit: int) -> bytes:
    return _U64.pack(commit)


def stream(name: str) -> bytes:
    return STREAM + name.encode()


def segment(of: SegmentKey) -> bytes:
    return SEGMENT + _SEGMENT.pack(*of)


def parse_segment(key: bytes) -> SegmentKey:
    return SegmentKey(*_SEGMENT.unpack_from(key, 1))


def segment_start(of: SegmentKey, generation: int) -> bytes:
    return SEGMENT_START + _SEGMENT.pack(*of) + _U32.pack(generation)


def parse_segment_start(key: bytes) -> tuple[SegmentKey, int]:
    return parse_segment(key), int(_U32.unpack_from(key, 13)[0])


def writer(stream_number: int, writer_id: str) -> bytes:
    return WRITER + _U32.pack(stream_number) + writer_id.encode()


def parse_writer(key: bytes) -> tuple[int, str]:
    return int(_U32.unpack_from(key, 1)[0]), key[5:].decode()


def cursor(name: str) -> bytes:
    return CURSOR + name.encode()


def boot(store: UUID, boot_id: UUID) -> bytes:
    return BOOT + store.bytes + boot_id.bytes


def parse_boot(key: bytes) -> tuple[UUID, UUID]:
    """The store that was written in the boot, and the boot."""
    return UUID(bytes=key[1:17]), UUID(bytes=key[17:])


def mirror(node: str) -> bytes:
    return MIRROR + node.encode()


def through(stream_number: int) -> bytes:
    return THROUGH + _U32.pack(stream_number)


def drops(stream_number: int) -> bytes:
    return DROPS + _U32.pack(stream_number)


def family(name: str) -> bytes:
    return FAMILY + name.encode()


def chunk(number: int) -> bytes:
    return CHUNK + _U64.pack(number)


def transaction(of: UUID) -> bytes:
    return TRANSACTION + of.bytes


def placed(shadow: SegmentKey) -> bytes:
    return PLACED + _SEGMENT.pack(*shadow)


def number(rest: bytes) -> int:
    """The number that is all of a key behind its table's byte."""
    return int.from_bytes(rest, "big")
