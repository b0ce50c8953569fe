"""Frames with a number, in each framing: how they are made, damaged, and known again."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from string import ascii_letters, digits

from drivers.serial.framing import Checksum, nmea_checksum

SYNC = b"\xaa\x55"
FIXED_BYTES = 48
LINE_CHARACTERS = 36
_TEXT = b"0123456789abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMN"
_CRC16 = Checksum("crc16-modbus", "little")
_CRC32 = Checksum("crc32", "big")


@dataclass(frozen=True, slots=True)
class Kind:
    """A framing. `settings` are those of a source that reads it; `number` is None where a payload is none of ours.

    A byte of a frame from `first` up to `last` (counted from its end) may be damaged; none becomes one of `reserved`.
    `cut_end` is what stays of a frame whose tail is missing.
    """

    settings: Mapping[str, str | int]
    make: Callable[[int], bytes]
    number: Callable[[bytes], int | None]
    reserved: bytes
    first: int = 0
    last: int = 0
    cut_end: bytes = b""
    noise_end: bytes = b""


def _line(number: int) -> bytes:
    said = b"%08d %s" % (number, _TEXT[:LINE_CHARACTERS])
    return b"%s %08x\r\n" % (said, zlib.crc32(said))


def _line_number(payload: bytes) -> int | None:
    said, _, checksum = payload.rpartition(b" ")
    return int(said[:8]) if checksum == b"%08x" % zlib.crc32(said) else None


def _sentence(number: int) -> bytes:
    body = b"IIXDR,C,%.2f,C,AIR,H,%.1f,P,HUM,G,%d,,N" % (number % 400 / 10, number % 1000 / 10, number)
    return b"$%s*%02X\r\n" % (body, nmea_checksum(body))


def _sentence_number(payload: bytes) -> int | None:
    values = json.loads(payload)
    return int(values["N"]) if values["units"] == {"AIR": "degC", "HUM": "%"} else None


def _body(number: int) -> bytes:
    return b"%08d%s" % (number, _TEXT[: 10 + number % 40])


def _fixed(number: int) -> bytes:
    frame = SYNC + b"%08d" % number + _TEXT[: FIXED_BYTES - 12]
    return frame + _CRC16.of(frame)


def _prefixed(number: int) -> bytes:
    body = _body(number)
    frame = SYNC + bytes([len(body)]) + body
    return frame + _CRC32.of(frame)


def _signed(number: int) -> bytes:
    """Every byte value comes up in it, also those that are stuffed."""
    body = b"%08d" % number + bytes((number * 7 + index) % 256 for index in range(10 + number % 40))
    return body + _CRC32.of(body)


def _slip(number: int) -> bytes:
    return b"\xc0" + _signed(number).replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"


def _cobs(number: int) -> bytes:
    """The packets are shorter than 254 bytes, so that each zero is one code."""
    return b"".join(bytes([len(part) + 1]) + part for part in _signed(number).split(b"\x00")) + b"\x00"


def _number_at(start: int, make: Callable[[int], bytes]) -> Callable[[bytes], int | None]:
    """The number that is written from `start` on, if all the rest is right."""

    def number(payload: bytes) -> int | None:
        found = int(payload[start : start + 8])
        return found if payload == make(found) else None

    return number


_SYNC = SYNC.hex(" ")
KINDS: Mapping[str, Kind] = {
    "lines": Kind(
        {"framing": "lines", "pattern": r"\d{8} [0-9a-zA-Z ]{36} [0-9a-f]{8}"},
        _line,
        _line_number,
        b"\r\n " + (ascii_letters + digits).encode(),
        last=2,
        cut_end=b"\r\n",
        noise_end=b"\n",
    ),
    "nmea": Kind({"framing": "nmea"}, _sentence, _sentence_number, b"$!*\r\nabcdef", last=2),
    "fixed": Kind(
        {
            "framing": "fixed",
            "sync": _SYNC,
            "frame_bytes": FIXED_BYTES,
            "checksum": "crc16-modbus",
            "checksum_order": "little",
        },
        _fixed,
        _number_at(2, _fixed),
        SYNC,
    ),
    "length": Kind(
        {"framing": "length", "sync": _SYNC, "length_offset": 2, "length_adds": 7, "checksum": "crc32"},
        _prefixed,
        _number_at(3, _prefixed),
        SYNC,
    ),
    "slip": Kind({"framing": "slip", "checksum": "crc32"}, _slip, _number_at(0, _signed), b"\xc0\xdb", first=1, last=1),
    "cobs": Kind(
        {"framing": "cobs", "checksum": "crc32"},
        _cobs,
        _number_at(0, _signed),
        b"\x00",
        last=1,
        cut_end=b"\x00",
        noise_end=b"\x00",
    ),
}


def damaged(kind: Kind, frame: bytes, random: Random) -> bytes:
    """`frame` with a byte changed, a byte missing, or its tail cut off."""
    stop = len(frame) - kind.last
    way = random.choice(("change", "miss", "cut"))
    if way == "cut":
        return frame[: random.randrange(max(4, kind.first), stop - 1)] + kind.cut_end
    at = random.randrange(kind.first, stop)
    if way == "miss":
        # Of two equal neighbours it can't be told which is missing, but that one is.
        return frame[:at] + frame[at + 1 :]
    changed = random.choice([value for value in range(256) if value != frame[at] and value not in kind.reserved])
    return frame[:at] + bytes([changed]) + frame[at + 1 :]


def noise(kind: Kind, random: Random) -> bytes:
    """A burst between frames: at most as long as the shortest of them."""
    values = [value for value in range(256) if value not in kind.reserved]
    return bytes(random.choices(values, k=random.randrange(4, 30))) + kind.noise_end
