"""Records of a file: pieces of bytes cut into lines, and what an event is made of."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

MAX_RECORD_BYTES = 4 << 20
"""A line, or a row with all the lines that it has."""
MAX_RECORDS = 50_000
"""In one piece."""
LINE_CHUNK_BYTES = 512 << 10
"""About a frame of the store."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Records(NamedTuple):
    """What a chunk of bytes came to, of which the first `used` are dealt with.

    `bad` records were left out, `reason` says what was wrong with the first. `keys` and `times_ns` (since 1970), where a
    format has them, are of each payload; None: it says none.
    """

    payloads: Sequence[bytes]
    used: int
    bad: int = 0
    reason: str = ""
    keys: Sequence[str | None] | None = None
    times_ns: Sequence[int | None] | None = None


class Format(Protocol):
    """How records lie in a file."""

    @property
    def content_type(self) -> str: ...

    @property
    def chunk_bytes(self) -> int:
        """How much to give it at a time, so that what comes out is at most 12 MiB."""

    def parse(self, chunk: bytes, *, final: bool, most: int) -> Records:
        """The first `most` complete records. `final`: behind `chunk` is the end, which ends the last one too.

        Nothing used: the first one is not complete in it.
        """


class Piece(NamedTuple):
    """What was read at an offset: `consumed` bytes. `skipping`: the end of a record that is too long is still to come."""

    records: Records
    consumed: int
    skipping: bool


def read_piece(descriptor: int, offset: int, form: Format, *, skipping: bool, final: bool) -> Piece:
    """Some records from `offset` on. Consumes nothing where there is no more, or no more that is complete.

    `final`: nobody writes to the file any more, so that its end ends a record. Raises OSError.
    """
    size, most = form.chunk_bytes, MAX_RECORDS
    while True:
        chunk = os.pread(descriptor, size, offset)
        at_end = len(chunk) < size
        if skipping:
            return _skip(chunk, Records((), 0), over=at_end and final)
        records = form.parse(chunk, final=final and at_end, most=most)
        if records.used or not chunk or (at_end and not final and len(chunk) < MAX_RECORD_BYTES):
            return Piece(records, records.used, False)
        if at_end or size >= MAX_RECORD_BYTES:
            why = "ends in the middle of a quoted cell" if at_end else f"is longer than {MAX_RECORD_BYTES} bytes"
            return _skip(chunk, Records((), 0, 1, f"a record {why}: {shown(chunk)}"), over=at_end and final)
        # The first record is longer than a chunk usually is. More of them than that one might come to too much.
        size, most = min(4 * size, MAX_RECORD_BYTES), 1


def _skip(chunk: bytes, records: Records, *, over: bool) -> Piece:
    """Leave out the rest of a line, as far as it is in `chunk`."""
    end = chunk.find(b"\n") + 1
    consumed = end or len(chunk)
    return Piece(records._replace(used=consumed), consumed, not end and not over)


def complete_lines(chunk: bytes, *, final: bool, most: int) -> tuple[list[bytes], int]:
    """Lines without their ends, at most `most`, and how many bytes of `chunk` they are."""
    lines = chunk.split(b"\n", most)
    rest = lines.pop()
    if final and rest and len(lines) < most:
        lines.append(rest)
        rest = b""
    return lines, len(chunk) - len(rest)


class Lines:
    """Each line that is not empty is an event."""

    content_type = "text/plain"
    chunk_bytes = LINE_CHUNK_BYTES

    def parse(self, chunk: bytes, *, final: bool, most: int) -> Records:
        lines, used = complete_lines(chunk, final=final, most=most)
        if b"\r" in chunk:
            lines = [line.removesuffix(b"\r") for line in lines]
        return Records([line for line in lines if line], used)


class JsonLines:
    """Each line that is JSON is an event, as it stands there."""

    content_type = "application/json"
    chunk_bytes = LINE_CHUNK_BYTES

    def __init__(self, key_column: str = "", time_column: str = "") -> None:
        self._key_column = key_column
        self._time_column = time_column

    def parse(self, chunk: bytes, *, final: bool, most: int) -> Records:
        lines, used = complete_lines(chunk, final=final, most=most)
        payloads: list[bytes] = []
        values: list[object] = []
        bad, reason = 0, ""
        for line in map(bytes.strip, lines):
            if not line:
                continue
            try:
                values.append(_decode(line.decode()))
            except (ValueError, RecursionError) as error:
                bad, reason = bad + 1, reason or f"no JSON ({error}): {shown(line)}"
            else:
                payloads.append(line)
        keys = [key_of(_member(value, self._key_column)) for value in values] if self._key_column else None
        times_ns = [time_of(_member(value, self._time_column)) for value in values] if self._time_column else None
        return Records(payloads, used, bad, reason, keys, times_ns)


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")


_decode = json.JSONDecoder(parse_constant=_no_number).decode


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def key_of(value: object) -> str | None:
    """A routing key, None where `value` is nothing to make one of."""
    if isinstance(value, str):
        return value or None
    return None if value is None or isinstance(value, (dict, list)) else json.dumps(value)


def time_of(value: object) -> int | None:
    """Nanoseconds since 1970 of what is written as ISO 8601 or Unix time, in s, ms, µs or ns by its size. None: neither."""
    if isinstance(value, str):
        return _time_of_text(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _unix_ns(value)
    return None


def _time_of_text(text: str) -> int | None:
    try:
        if text.isascii() and text.isdigit():
            return _unix_ns(int(text))
        if text[4:5] == "-":
            moment = datetime.fromisoformat(text)
            return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1e6) * 1000
        return _unix_ns(float(text))
    except (ValueError, OverflowError):
        return None


def _unix_ns(number: int | float) -> int | None:
    for limit, unit_ns in ((1e11, 1_000_000_000), (1e14, 1_000_000), (1e17, 1_000), (1e19, 1)):
        if abs(number) < limit:
            return number * unit_ns if isinstance(number, int) else round(number * unit_ns / 1000) * 1000
    return None


def shown(raw: bytes, most: int = 60) -> str:
    """The beginning of a bad record, for a person."""
    line = raw[: 4 * most].split(b"\n", 1)[0].decode(errors="replace")
    return repr(line[:most]) + ("…" if len(line) > most else "")
