"""Frames that are delimited by a byte which they never contain: SLIP and COBS."""

from __future__ import annotations

from collections.abc import Callable

from drivers.serial.framing.checksums import Checksum
from drivers.serial.framing.contract import Reading
from drivers.serial.framing.cutting import Cutter, PieceFramer

END, ESC = b"\xc0", b"\xdb"
_ESCAPED = {b"\xdc": END, b"\xdd": ESC}


def slip_decode(piece: bytes) -> bytes | None:
    """A SLIP packet without its END (RFC 1055). None where an ESC is followed by what RFC 1055 does not know."""
    first, *escaped = piece.split(ESC)
    whole = bytearray(first)
    for part in escaped:
        meant = _ESCAPED.get(part[:1])
        if meant is None:
            return None
        whole += meant
        whole += part[1:]
    return bytes(whole)


def cobs_decode(piece: bytes) -> bytes | None:
    """A packet under Consistent Overhead Byte Stuffing without its zero (Cheshire & Baker 1999, section 3).

    None where a code points beyond the end.
    """
    whole = bytearray()
    at, size = 0, len(piece)
    while at < size:
        code = piece[at]
        end = at + code
        if not at < end <= size:
            return None
        whole += piece[at + 1 : end]
        at = end
        if code < 0xFF and at < size:
            whole.append(0)
    return bytes(whole)


class StuffedFramer(PieceFramer):
    """Decoded packets of at most `max_bytes`, the checksum included where there is one. Empty packets are none."""

    def __init__(
        self,
        delimiter: bytes,
        decode: Callable[[bytes], bytes | None],
        checksum: Checksum,
        max_bytes: int,
        encoded_bytes: int,
    ) -> None:
        super().__init__(Cutter(delimiter, encoded_bytes))
        self._decode = decode
        self._checksum = checksum
        self._max_bytes = max_bytes

    def _reading(self, piece: bytes) -> Reading | None:
        packet = self._decode(piece)
        if packet is None or len(packet) > self._max_bytes or not self._checksum.right(packet):
            self._refused += 1
            return None
        return Reading(packet) if packet else None


def slip_framer(checksum: Checksum, max_bytes: int) -> StuffedFramer:
    """SLIP. A sender should say END before a packet too: then noise in between costs no packet (RFC 1055)."""
    return StuffedFramer(END, slip_decode, checksum, max_bytes, 2 * max_bytes)


def cobs_framer(checksum: Checksum, max_bytes: int) -> StuffedFramer:
    """COBS, with zero as the delimiter."""
    return StuffedFramer(b"\x00", cobs_decode, checksum, max_bytes, max_bytes + max_bytes // 254 + 1)
