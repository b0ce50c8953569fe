"""Framers: bytes in as they come off the line, readings out. No input or output here."""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

from storage.model import Headers


class Reading(NamedTuple):
    """One line, and what is known of it besides."""

    payload: bytes
    headers: Headers = ()


class Framer(Protocol):
    """Cuts a byte stream into readings. However the bytes are cut into chunks, the readings are the same."""

    @property
    def bad(self) -> int:
        """Pieces that were no reading: too long, a wrong checksum, no match."""

    def feed(self, data: bytes) -> list[Reading]:
        """The readings that `data` completes."""


class LineCutter:
    """Cuts at a terminator. A line above `max_line_bytes` is left out up to the next terminator and counted as bad.

    Keeps at most `max_line_bytes` and a terminator. Before a bare newline one carriage return is taken off. Empty
    lines are no lines.
    """

    def __init__(self, terminator: bytes = b"\n", max_line_bytes: int = 4096) -> None:
        assert terminator
        self._terminator = terminator
        self._return = b"\r" if terminator == b"\n" else b""
        self._max_line_bytes = max_line_bytes
        self._buffer = bytearray()
        self._skipping = False
        self.bad = 0

    def feed(self, data: bytes) -> list[bytes]:
        self._buffer += data
        *pieces, rest = bytes(self._buffer).split(self._terminator)
        lines = [line for piece in pieces if (line := self._line(piece)) is not None]
        if len(rest) >= self._max_line_bytes + len(self._return + self._terminator):
            self._skip()
        if self._skipping:
            keep = len(self._terminator) - 1
            rest = rest[len(rest) - min(keep, len(rest)) :]
        self._buffer = bytearray(rest)
        return lines

    def _line(self, piece: bytes) -> bytes | None:
        if self._skipping:
            self._skipping = False
            return None
        line = piece.removesuffix(self._return)
        if len(line) > self._max_line_bytes:
            self.bad += 1
            return None
        return line or None

    def _skip(self) -> None:
        if not self._skipping:
            self._skipping = True
            self.bad += 1


class LineFramer:
    """Lines as they are. With a `pattern`, lines that it does not match as a whole are counted as bad."""

    def __init__(self, terminator: bytes = b"\n", max_line_bytes: int = 4096, pattern: str = "") -> None:
        self._cutter = LineCutter(terminator, max_line_bytes)
        self._pattern = re.compile(pattern.encode()) if pattern else None
        self._mismatched = 0

    @property
    def bad(self) -> int:
        return self._cutter.bad + self._mismatched

    def feed(self, data: bytes) -> list[Reading]:
        lines = self._cutter.feed(data)
        if self._pattern is None:
            return [Reading(line) for line in lines]
        matching = [Reading(line) for line in lines if self._pattern.fullmatch(line)]
        self._mismatched += len(lines) - len(matching)
        return matching


def nmea_checksum(body: bytes) -> int:
    """The exclusive or of all characters between the start delimiter and `*` (IEC 61162-1, 7.2.5)."""
    checksum = 0
    for byte in body:
        checksum ^= byte
    return checksum


_SENTENCE = re.compile(rb"[$!]((?:([A-Z0-9]+),?)[^$!*]*)\*([0-9A-Fa-f]{2})\Z", re.DOTALL)


class NmeaFramer:
    """Sentences of NMEA 0183 (IEC 61162-1) with the right checksum, each with its address field as `nmea.type`.

    `$` and `!` are reserved (IEC 61162-1, table 1), so what comes before the last of them in a line is the rest of a
    sentence that was cut off: it is counted as bad, and the one behind it still counts. A sentence without a checksum
    is bad. The standard's 82 characters are no limit here: instruments exceed them.
    """

    def __init__(self, terminator: bytes = b"\n", max_line_bytes: int = 4096) -> None:
        self._cutter = LineCutter(terminator, max_line_bytes)
        self._refused = 0

    @property
    def bad(self) -> int:
        return self._cutter.bad + self._refused

    def feed(self, data: bytes) -> list[Reading]:
        return [reading for line in self._cutter.feed(data) if (reading := self._sentence(line)) is not None]

    def _sentence(self, line: bytes) -> Reading | None:
        start = max(line.rfind(b"$"), line.rfind(b"!"), 0)
        if start:
            self._refused += 1
        sentence = line[start:]
        match = _SENTENCE.match(sentence)
        if match is None or nmea_checksum(match[1]) != int(match[3], 16):
            self._refused += 1
            return None
        return Reading(sentence, (("nmea.type", match[2]),))
