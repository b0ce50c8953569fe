"""CSV as JSON: each row an object by the names of the header (RFC 4180, and what Python's csv module forgives).

A million rows should take seconds, so rows are worked on by the thousand and columns at a time: whether a column is all
numbers, or needs no escaping, is one look at all of it. What a cell comes to depends on nothing but the cell.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from itertools import chain, compress
from json.encoder import encode_basestring
from typing import NamedTuple

from drivers.file.records import (
    BYTE_ORDER_MARK,
    Records,
    shown,
    time_of,
)

MAX_COLUMNS = 1_000
CHUNK_BYTES = 128 << 10
"""What a processor has near at hand; as JSON about a frame of the store."""
_MOST_OUT_BYTES = 12 << 20
_ESCAPED = 6
"""A byte that has to be escaped comes to so many: \\u0000."""
_NUMBER = r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][-+]?[0-9]++)?+"
"""Of JSON (RFC 8259, 6). Possessive: what looks like a number at first, such as a date, is given up at once."""
_ALL_NUMBERS = re.compile(rf"(?:{_NUMBER}\n)*+").fullmatch
_SOME_OTHER = re.compile(rf"\n(?:{_NUMBER})?+\n").search
"""A cell that is a number, or empty, among texts."""
_IS_NUMBER = re.compile(_NUMBER).fullmatch
_END = "\x00"
"""A row behind the last, to see whether that one has ended."""
Columns = Sequence[Sequence[str]]


class UnreadableError(Exception):
    """There is nothing to be read in a file. `str()` says why."""


class Dialect(NamedTuple):
    """How a table is written, and which of its columns are a routing key and a time."""

    delimiter: str = ","
    encoding: str = "utf-8"
    key_column: str = ""
    time_column: str = ""


class Table:
    """Rows of a file whose columns have `names`."""

    content_type = "application/json"

    def __init__(self, names: Sequence[str], dialect: Dialect, most_bytes: int) -> None:
        """`most_bytes`: of one event. Raises UnreadableError where a column that is asked for is not there."""
        self._names = names
        self._dialect = dialect
        self._most_bytes = most_bytes
        self._key_place = _place(names, dialect.key_column)
        self._time_place = _place(names, dialect.time_column)
        self._members = [encode_basestring(name) + ":" for name in names]
        # A row is at least as long as it has columns, so this bounds what a chunk of rows can come to.
        widest = _ESCAPED + 4 + sum(len(member.encode()) for member in self._members) // len(names)
        self.chunk_bytes = min(CHUNK_BYTES, _MOST_OUT_BYTES // widest)

    def parse(self, chunk: bytes, *, final: bool, most: int) -> Records:
        columns, used, bad, reason = self._columns(chunk, final=final, most=most)
        try:
            payloads = self._payloads(columns)
        except UnicodeEncodeError:
            # What was no text had a place kept for it, so that rows around it could be told apart.
            columns, left_out = _without(columns, [not _is_text(row) for row in zip(*columns, strict=True)])
            bad, reason = bad + left_out, reason or f"a row that is no {self._dialect.encoding}"
            payloads = self._payloads(columns)
        if max(map(len, payloads), default=0) > self._most_bytes:
            columns, left_out = _without(columns, [len(payload) > self._most_bytes for payload in payloads])
            bad, reason = bad + left_out, reason or f"a row that comes to more than {self._most_bytes} bytes"
            payloads = self._payloads(columns)
        keys = None if self._key_place is None else [cell or None for cell in columns[self._key_place]]
        times_ns = None if self._time_place is None else list(map(time_of, columns[self._time_place]))
        return Records(payloads, used, bad, reason, keys, times_ns)

    def _columns(self, chunk: bytes, *, final: bool, most: int) -> tuple[Columns, int, int, str]:
        """Cells of the complete rows by column, how many bytes these rows are, and how many of them were bad and why."""
        width = len(self._names)
        used = _end_of_lines(chunk, final=final, most=most)
        if chunk.find(b'"', 0, used) < 0:
            columns = _even_columns(_text(chunk[:used], self._dialect), self._dialect.delimiter, width)
            if columns is not None:
                return columns, used, 0, ""
        rows, used, bad, reason = _rows(chunk, self._dialect, final=final, most=most)
        wrong = [row for row in rows if len(row) != width]
        if wrong:
            rows = [row for row in rows if len(row) == width]
            written = shown(self._dialect.delimiter.join(wrong[0]).encode(errors="replace"))
            # What else is wrong with a chunk ends it, and comes behind these.
            bad, reason = bad + len(wrong), f"{len(wrong[0])} cells where the header has {width}: {written}"
        return list(zip(*rows, strict=True)) if rows else [()] * width, used, bad, reason

    def _payloads(self, columns: Columns) -> list[bytes]:
        """Raises UnicodeEncodeError where a row is no text."""
        count = len(columns[0])
        if not count:
            return []
        quotes, written = zip(*map(_column, columns), strict=True)
        ends = [f"{quotes[-1]}}}\n{{", *[f"{quote}," for quote in quotes[:-1]]]
        # All cells, and before each what ends the one before it, in one list: of a column it is every so manieth.
        period = 2 * len(columns)
        pieces = [""] * (count * period)
        for place, (end, member, quote) in enumerate(zip(ends, self._members, quotes, strict=True)):
            pieces[2 * place :: period] = [f"{end}{member}{quote}"] * count
            pieces[2 * place + 1 :: period] = written[place]
        pieces.append(ends[0][:-2])
        # No row ends before the first. No payload has a newline in it: JSON escapes them.
        return "".join(pieces)[len(ends[0]) - 1 :].encode().split(b"\n")


def _even_columns(text: str, delimiter: str, width: int) -> Columns | None:
    """Cells by column of lines without a quote; None where a line has more or fewer than `width`, or none."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").removesuffix("\r")
    text = text.removesuffix("\n")
    # A mark in place of each end of a line: where they come at every so manieth place, all lines are alike.
    cells = text.replace("\n", f"{delimiter}\n{delimiter}").split(delimiter)
    marks = text.count("\n")
    if len(cells) != marks + (marks + 1) * width or cells[width :: width + 1] != ["\n"] * marks:
        return None
    columns = [cells[place :: width + 1] for place in range(width)]
    return columns if width > 1 or all(columns[0]) else None


def _without(columns: Columns, left_out: Sequence[bool]) -> tuple[Columns, int]:
    kept = [not each for each in left_out]
    return [list(compress(column, kept)) for column in columns], len(left_out) - sum(kept)


def open_table(
    head: bytes, dialect: Dialect, columns: Sequence[str], most_bytes: int, *, whole: bool
) -> tuple[Table, int]:
    """The table whose file begins with `head`, and where its rows begin. `whole`: that is all of it.

    `columns`, where given, are its names, and it has no header. Raises UnreadableError.
    """
    start = len(BYTE_ORDER_MARK) if head.startswith(BYTE_ORDER_MARK) else 0
    if columns:
        return Table(columns, dialect, most_bytes), start
    while True:
        rows, used, bad, reason = _rows(head[start:], dialect, final=whole, most=1)
        start += used
        if rows or bad or not used:
            break
    if bad or not rows:
        if not bad and whole and start == len(head):
            return Table(("nothing",), dialect._replace(key_column="", time_column=""), most_bytes), start
        raise UnreadableError(f"no header: {reason or f'the first row does not end within {len(head)} bytes'}")
    if not _is_text(rows[0]):
        raise UnreadableError(f"no header: the first row is no {dialect.encoding}: set `encoding`")
    if len(rows[0]) > MAX_COLUMNS:
        raise UnreadableError(f"a header of {len(rows[0])} columns: at most {MAX_COLUMNS}")
    return Table(_names(rows[0]), dialect, most_bytes), start


def _names(header: Iterable[str]) -> list[str]:
    """Of columns, each once: one without a name is called by its number, one of the same name gets a number."""
    names: list[str] = []
    for number, cell in enumerate(header, start=1):
        name = cell.strip() or f"column_{number}"
        names.append(name if name not in names else f"{name}_{number}")
    return names


def _place(names: Sequence[str], wanted: str) -> int | None:
    if not wanted:
        return None
    if wanted not in names:
        raise UnreadableError(f"no column {wanted!r}: there are {', '.join(names)[:200]}")
    return names.index(wanted)


def _rows(chunk: bytes, dialect: Dialect, *, final: bool, most: int) -> tuple[list[list[str]], int, int, str]:
    """Complete rows, how many bytes they are, and how many after them were bad (at most one) and why."""
    used = _end_of_lines(chunk, final=final, most=most)
    if chunk.find(b'"', 0, used) < 0:
        text = _text(chunk[:used], dialect)
        if "\r" in text:
            text = text.replace("\r\n", "\n").removesuffix("\r")
        return [line.split(dialect.delimiter) for line in text.split("\n") if line], used, 0, ""
    if most == 1:
        # One row may be many lines.
        used = _end_of_lines(chunk, final=final, most=len(chunk))
    body = chunk[:used]
    reader = csv.reader(chain(StringIO(_text(body, dialect), newline="\n"), [_END]), delimiter=dialect.delimiter)
    rows, ends, reason = _read(reader, most)
    if rows and ends[-1] > body.count(b"\n") + (not body.endswith(b"\n")):
        # It is the row behind the end, or one that goes on there and has swallowed it.
        ends.pop()
        if rows.pop() == [_END]:
            return [row for row in rows if row], used, 0, ""
    good = ends[-1] if ends else 0
    bad = 1 if reason else 0
    return [row for row in rows if row], _bytes_of(body, good + bad), bad, reason


def _read(reader: Iterator[list[str]], most: int) -> tuple[list[list[str]], list[int], str]:
    """Rows, at most one more than `most`; after how many lines each ends; and what was wrong with the next."""
    rows: list[list[str]] = []
    ends: list[int] = []
    try:
        for row in reader:
            rows.append(row)
            ends.append(reader.line_num)  # type: ignore[attr-defined]
            if len(rows) == most and row != [_END]:
                break
    except csv.Error as error:
        return rows, ends, f"no CSV ({error})"
    return rows, ends, ""


def _end_of_lines(chunk: bytes, *, final: bool, most: int) -> int:
    """How many bytes the complete lines are, at most `most` of them."""
    if chunk.count(b"\n") < most:
        return len(chunk) if final else chunk.rfind(b"\n") + 1
    return _bytes_of(chunk, most)


def _bytes_of(body: bytes, lines: int) -> int:
    """How long the first `lines` lines are."""
    if not lines:
        return 0
    parts = body.split(b"\n", lines)
    return len(body) if len(parts) <= lines else len(body) - len(parts[-1])


def _text(body: bytes, dialect: Dialect) -> str:
    return body.decode(dialect.encoding, "surrogateescape")


def _is_text(row: Iterable[str]) -> bool:
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return False
    return True


def _column(cells: Sequence[str]) -> tuple[str, Sequence[str]]:
    """What stands on both sides of each cell, and the cells as they stand there."""
    joined = "\n".join(cells) + "\n"
    if joined.count("\n") == len(cells):
        if _ALL_NUMBERS(joined):
            return "", cells
        plain = len(encode_basestring(joined)) == len(joined) + 2 + len(cells)
        if plain and not _SOME_OTHER("\n" + joined):
            return '"', cells
    made = {cell: _cell(cell) for cell in set(cells)}
    return "", [made[cell] for cell in cells]


def _cell(cell: str) -> str:
    if not cell:
        return "null"
    return cell if _IS_NUMBER(cell) else encode_basestring(cell)
