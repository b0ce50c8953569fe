"""What a line speaks, judged by bytes that were heard on it under some settings. No input or output here.

Bytes heard at a wrong rate are bytes all the same, so what counts is what makes sense of them:

    nmea      sentences with the right checksum          0.8 to 0.99: chance has no part in it
    modbus    frames with the right CRC-16               likewise; somebody else asks on this line, so it is captured raw
    lines     text, in lines; with the top bit as parity, seven bits        up to 0.97
    cobs      packets whose every code is right          up to 0.85
    slip      packets whose every escape is right        up to 0.75
    raw       bytes                                      up to 0.3

times the share of bytes that the receiver does not call damaged (a wrong rate or parity; a pseudo-terminal never does),
squared. A score is no probability: it is there to put candidates in order, and 0.8 means that one may rely on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from drivers.serial.framing import NmeaFramer
from drivers.serial.framing.checksums import crc16_modbus
from drivers.serial.framing.stuffing import END, ESC, cobs_decode, slip_decode

RATES = (9_600, 115_200, 19_200, 38_400, 4_800, 57_600, 230_400, 460_800, 921_600, 2_400, 1_200)
"""The standard rates from 1,200 on, in the order in which instruments have them."""
CERTAIN = 0.95
SAMPLE_CHARACTERS = 72
CAPTURE_TIMEOUT = "50ms"
_COMMON = frozenset(b'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;+-=/%#*$_"{}[]()<>\r\n\t')
_RARE = frozenset(b"!&'?@\\^`|~")
_MODBUS_READS = range(1, 5)
_MODBUS_WRITES = (5, 6, 15, 16)

Settings = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Character:
    """How bits make a byte."""

    bytesize: int = 8
    parity: str = "none"


EIGHT_NONE = Character()
WITH_PARITY = (Character(8, "even"), Character(8, "odd"))
"""What has to be listened for anew. Seven bits and parity are eight bits to who listens."""


@dataclass(frozen=True, slots=True)
class Heard:
    """`data` is what was read, damaged bytes included; of `damaged` the receiver said so."""

    baud: int
    character: Character
    data: bytes
    damaged: int = 0


@dataclass(frozen=True, slots=True)
class Guess:
    """`settings` beside port, that a source would need; `score` is 0 to 1; `sample` is printable."""

    settings: Settings
    score: float
    sample: str


def guess(heard: Heard) -> Guess:
    """What makes the most sense of it. A score of 0 where nothing was heard."""
    if not heard.data:
        return Guess(_line_settings(heard.baud, heard.character), 0.0, "")
    found = max((judged for judge in _JUDGES for judged in judge(heard)), key=lambda judged: judged.score)
    sound = 1 - min(1.0, heard.damaged / len(heard.data))
    return Guess(found.settings, round(found.score * sound * sound, 3), found.sample)


def ranked(guesses: Sequence[Guess]) -> list[Guess]:
    """Best first; of equal ones the rate that is more common."""
    return sorted(guesses, key=lambda found: -found.score)


def _line_settings(baud: int, character: Character) -> dict[str, str | int]:
    settings: dict[str, str | int] = {"baud": baud}
    if character.bytesize != 8:
        settings["bytesize"] = character.bytesize
    if character.parity != "none":
        settings["parity"] = character.parity
    return settings


def _nmea(heard: Heard) -> Iterator[Guess]:
    for character, data in _readings_of(heard):
        framer = NmeaFramer()
        good = framer.feed(data)
        if good:
            # The first line was joined somewhere in the middle.
            bad = max(0, framer.bad - (data[:1] not in (b"$", b"!")))
            share = len(good) / (len(good) + bad)
            settings = _line_settings(heard.baud, character) | {"framing": "nmea"}
            yield Guess(settings, 0.8 + 0.19 * share, _printable(good[-1].payload))


def _modbus(heard: Heard) -> Iterator[Guess]:
    frames = list(_modbus_frames(heard.data))
    if not frames:
        return
    covered = sum(map(len, frames)) / len(heard.data)
    settings = _line_settings(heard.baud, heard.character) | {"framing": "raw", "frame_timeout": CAPTURE_TIMEOUT}
    yield Guess(settings, 0.8 + 0.19 * covered, f"Modbus RTU: {_printable(frames[-1].hex(' ').encode())}")


def _modbus_frames(data: bytes) -> Iterator[bytes]:
    """Requests and answers (V1.1b3, section 6) with the right CRC."""
    at = 0
    while at + 5 <= len(data):
        for size in _modbus_sizes(data, at):
            frame = data[at : at + size]
            if len(frame) == size and crc16_modbus(frame) == 0:
                yield frame
                at += size
                break
        else:
            at += 1


def _modbus_sizes(data: bytes, at: int) -> Iterator[int]:
    device, function, count = data[at : at + 3]
    if not 1 <= device <= 247:
        return
    if function & 0x80:
        yield 5
    if function in _MODBUS_READS:
        yield 5 + count
    if function in (*_MODBUS_READS, *_MODBUS_WRITES):
        yield 8


def _text(heard: Heard) -> Iterator[Guess]:
    for character, data in _readings_of(heard):
        terminator = b"\n" if b"\n" in data else b"\r"
        first, *lines = data.split(terminator)
        whole = [line.strip(b"\r") for line in lines[:-1] if line.strip(b"\r")]
        sense = sum(1.0 if byte in _COMMON else 0.5 if byte in _RARE else 0.0 for byte in data) / len(data)
        sensible = max(0.0, (sense - 0.8) / 0.2)
        settings = _line_settings(heard.baud, character) | {"framing": "lines"}
        if terminator != b"\n":
            settings["terminator"] = "\r"
        # A line that is whole at both ends proves the terminator, one that has an end makes it likely.
        structure = 0.97 if whole else 0.8 if lines and first else 0.4
        evidence = 1 - 0.5 ** (len(data) / 4)
        yield Guess(settings, structure * sensible * evidence, _printable(max(whole or [first], key=len)))


def _readings_of(heard: Heard) -> Iterator[tuple[Character, bytes]]:
    """The bytes as they are; and as seven bits where every eighth could be their parity, and is not always zero."""
    yield heard.character, heard.data
    if heard.character != EIGHT_NONE or not any(byte & 0x80 for byte in heard.data):
        return
    for parity, rest in (("even", 0), ("odd", 1)):
        if all(byte.bit_count() % 2 == rest for byte in heard.data):
            yield Character(7, parity), bytes(byte & 0x7F for byte in heard.data)


def _cobs(heard: Heard) -> Iterator[Guess]:
    yield from _packets(heard, "cobs", b"\x00", cobs_decode, 0.85)


def _slip(heard: Heard) -> Iterator[Guess]:
    # Without an escape or two ENDs in a row, 0xC0 may be any byte.
    if ESC in heard.data or END + END in heard.data:
        yield from _packets(heard, "slip", END, slip_decode, 0.75)


def _packets(
    heard: Heard, framing: str, delimiter: bytes, decode: Callable[[bytes], bytes | None], most: float
) -> Iterator[Guess]:
    """Packets that are whole at both ends. Short ones are right by chance."""
    pieces = [piece for piece in heard.data.split(delimiter)[1:-1] if piece]
    packets = [packet for piece in pieces if (packet := decode(piece)) is not None]
    if len(packets) < 2 or len(packets) < len(pieces) or sum(map(len, packets)) < 5 * len(packets):
        return
    settings = _line_settings(heard.baud, heard.character) | {"framing": framing}
    yield Guess(settings, most * (1 - 0.5 ** len(packets)), _printable(packets[-1].hex(" ").encode()))


def _raw(heard: Heard) -> Iterator[Guess]:
    """A wrong rate makes runs of bits longer or shorter: few values, many of them all ones or all zeros."""
    data = heard.data
    same = sum(first == second for first, second in pairwise(data)) / len(data)
    variety = len(set(data)) / min(256, len(data))
    settings = _line_settings(heard.baud, heard.character) | {"framing": "raw"}
    yield Guess(settings, 0.3 * variety * (1 - same), _printable(data[:24].hex(" ").encode()))


_JUDGES: tuple[Callable[[Heard], Iterator[Guess]], ...] = (_nmea, _modbus, _text, _cobs, _slip, _raw)


def _printable(data: bytes) -> str:
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "·" for byte in data)
    return text if len(text) <= SAMPLE_CHARACTERS else text[: SAMPLE_CHARACTERS - 1] + "…"
