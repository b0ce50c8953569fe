"""What the capturing process tells the driver, as bytes in a pipe: records of a kind, a length and a body.

    P  one frame: `_PACKET` with its codec, mark, extradata and payload behind it
    C  what was counted since the last C: lost, bad, gated; sent at least every second in which the camera sent frames
    N  what a person should know of the camera
    E  why it ends; the process is gone behind it
    X  a file was played to its end, nothing more will come

Fixed fields and lengths, no pickles: what comes out of a camera has passed through decoders before it is here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

from drivers.camera.packet import Packet

MAX_PAYLOAD_BYTES = 16 << 20
"""One frame. A larger one is left out, and counted as bad."""
MAX_RECORD_BYTES = MAX_PAYLOAD_BYTES + (1 << 20)

PACKET, COUNTS, NOTE, ERROR, END = b"P", b"C", b"N", b"E", b"X"

_HEAD = struct.Struct(">cI")
_PACKET = struct.Struct(">BqqqIIHHBBI")
_COUNTS = struct.Struct(">III")
_KEY, _HAS_PTS, _HAS_DTS = 1, 2, 4


def record(kind: bytes, body: bytes = b"") -> bytes:
    return _HEAD.pack(kind, len(body)) + body


def packet_record(packet: Packet) -> bytes:
    codec, mark = packet.codec.encode(), packet.discontinuity.encode()
    flags = _KEY * packet.key_frame | _HAS_PTS * (packet.pts is not None) | _HAS_DTS * (packet.dts is not None)
    fixed = _PACKET.pack(
        flags, packet.captured_ns, packet.pts or 0, packet.dts or 0, *packet.base.as_integer_ratio(), *packet.size,
        len(codec), len(mark), len(packet.extradata),
    )  # fmt: skip
    length = len(fixed) + len(codec) + len(mark) + len(packet.extradata) + len(packet.payload)
    return b"".join((_HEAD.pack(PACKET, length), fixed, codec, mark, packet.extradata, packet.payload))


def packet_of(body: bytes) -> Packet:
    """The packet in a P record's body. Raises ValueError."""
    try:
        flags, captured_ns, pts, dts, ticks, per_s, width, height, *lengths = _PACKET.unpack_from(body)
    except struct.error as error:
        raise ValueError(f"a frame's record of {len(body)} bytes: {error}") from error
    at = _PACKET.size
    parts = []
    for length in lengths:
        parts.append(body[at : at + length])
        at += length
    codec, mark, extradata = parts
    return Packet(
        payload=body[at:],
        codec=codec.decode(),
        key_frame=bool(flags & _KEY),
        captured_ns=captured_ns,
        pts=pts if flags & _HAS_PTS else None,
        dts=dts if flags & _HAS_DTS else None,
        base=_fraction(ticks, per_s),
        size=(width, height),
        extradata=extradata,
        discontinuity=mark.decode(),
    )


@lru_cache(maxsize=64)
def _fraction(numerator: int, denominator: int) -> Fraction:
    """A camera has one: making it anew for each frame takes as long as all the rest of reading a record."""
    return Fraction(numerator, denominator)


def counts_record(lost: int, bad: int, gated: int) -> bytes:
    return record(COUNTS, _COUNTS.pack(lost, bad, gated))


def counts_of(body: bytes) -> tuple[int, int, int]:
    """Raises ValueError."""
    try:
        lost, bad, gated = _COUNTS.unpack(body)
    except struct.error as error:
        raise ValueError(f"a record of counts of {len(body)} bytes: {error}") from error
    return lost, bad, gated


class Records:
    """Bytes in, whole records out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Kind and body of each record that is complete. Raises ValueError for what is none."""
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._buffer, at)
            if length > MAX_RECORD_BYTES:
                raise ValueError(f"a record of {length} bytes")
            end = at + _HEAD.size + length
            if len(self._buffer) < end:
                break
            yield kind, bytes(self._buffer[at + _HEAD.size : end])
            at = end
        del self._buffer[:at]
