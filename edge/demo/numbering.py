"""Events that say which they are: who sent them, the how-manieth, and a checksum of both."""

from __future__ import annotations

import re
import zlib
from functools import reduce
from operator import xor

_STAMP = re.compile(rb"([!-~]+) (\d+) ([0-9a-f]{8})")
_SENTENCE = re.compile(rb"\$EDQ,([!-~]+?),(\d+),[-\d.]+\*([0-9A-F]{2})")


_JPEG = b"\xff\xd8"


def stamp(who: str, number: int) -> bytes:
    """What a publisher or writer sends."""
    said = f"{who} {number}"
    return f"{said} {zlib.crc32(said.encode()):08x}".encode()


def sentence(who: str, number: int, value: float) -> bytes:
    """What an instrument says: an NMEA 0183 sentence, without the line's end. XOR of all between `$` and `*`."""
    said = f"EDQ,{who},{number},{value:.3f}".encode()
    return b"$%s*%02X" % (said, reduce(xor, said))


def read_number(payload: bytes) -> tuple[str, int] | None:
    """Who and which, of any kind. None where it does not check."""
    if payload[:2] == _JPEG:
        from drivers.camera.card import comment  # noqa: PLC0415  (OpenCV: only where there are pictures)

        payload = comment(payload)
    match = _STAMP.fullmatch(payload)
    if match is not None:
        who, number = match[1].decode(), int(match[2])
        return (who, number) if stamp(who, number) == payload else None
    match = _SENTENCE.fullmatch(payload)
    if match is None or int(match[3], 16) != reduce(xor, payload[1 : payload.index(b"*")]):
        return None
    return match[1].decode(), int(match[2])
