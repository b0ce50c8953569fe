"""CSV as JSON: each row an object by the names of the header (RFC 4180, and what Python's csv module forgives).

A million rows should take seconds, so rows are worked on by the thousand and columns at a time: whether a column is all
numbers, or needs no escaping, is one look at all of it. What a cell comes to depends on nothing but the cell.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from itertools import chain
from json.encoder import encode_basestring
from typing import NamedTuple

from drivers.file.records import (
    BYTE_ORDER_MARK,
    LINE_CHUNK_BYTES,
    Records,
    complete_lines,
    shown,
    time_of,
)

MAX_COLUMNS = 1_000
_MOST_OUT_BYTES = 12 << 20
_ESCAPED = 6
"""A byte that has to be escaped comes to so many: \\u0000."""
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"
_ALL_NUMBERS = re.compile(rf"(?:{_NUMBER}\n)*+").fullmatch
_SOME_NUMBER = re.compile(rf"\n{_NUMBER}\n").search
_IS_NUMBER = re.compile(_NUMBER).fullmatch
_END = "\x00"
"""A row behind the last, to see whether that one has ended."""
_IN_PERCENT = str.maketrans({"%": "%%"})


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
        self._members = [encode_basestring(name).translate(_IN_PERCENT) + ":" for name in names]
        # A row is at least as long as it has columns, so this bounds what a chunk of rows can come to.
        widest = _ESCAPED + 4 + sum(len(member.encode()) for member in self._members) // len(names)
        self.chunk_bytes = min(LINE_CHUNK_BYTES, _MOST_OUT_BYTES // widest)

    def parse(self, chunk: bytes, *, final: bool, most: int) -> Records:
        rows, used, bad, reason = _rows(chunk, self._dialect, final=final, most=most)
        columns = len(self._names)
        if set(map(len, rows)) - {columns}:
            wrong = [row for row in rows if len(row) != columns]
            rows = [row for row in rows if len(row) == columns]
            written = self._dialect.delimiter.join(wrong[0])
            # What else is wrong with a chunk ends it, and comes behind these.
            reason = f"{len(wrong[0])} cells where the header has {columns}: {shown(written.encode(errors='replace'))}"
            bad += len(wrong)
        if not rows:
            return Records((), used, bad, reason)
        try:
            payloads = self._payloads(rows)
        except UnicodeEncodeError:
            # What was no text had a place kept for it, so that rows around it could be told apart.
            kept = [row for row in rows if _is_text(row)]
            bad, reason = bad + len(rows) - len(kept), reason or f"a row that is no {self._dialect.encoding}"
            rows = kept
            payloads = self._payloads(rows)
        if max(map(len, payloads), default=0) > self._most_bytes:
            fits = [len(payload) <= self._most_bytes for payload in payloads]
            bad, reason = bad + fits.count(False), reason or f"a row that comes to more than {self._most_bytes} bytes"
            rows = [row for row, fit in zip(rows, fits, strict=True) if fit]
            payloads = [payload for payload, fit in zip(payloads, fits, strict=True) if fit]
        keys = None if self._key_place is None else [row[self._key_place] or None for row in rows]
        times_ns = None if self._time_place is None else [time_of(row[self._time_place]) for row in rows]
        return Records(payloads, used, bad, reason, keys, times_ns)

    def _payloads(self, rows: Sequence[Sequence[str]]) -> list[bytes]:
        """Raises UnicodeEncodeError where a row is no text."""
        if not rows:
            return []
        places, columns = zip(*map(_column, zip(*rows, strict=True)), strict=True)
        members = [member + place for member, place in zip(self._members, places, strict=True)]
        template = "{" + ",".join(members) + "}"
        # No payload has a newline in it: JSON escapes them.
        made = "\n".join([template % row for row in zip(*columns, strict=True)])
        return made.encode().split(b"\n")


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
    _, used = complete_lines(chunk, final=final, most=most)
    body = chunk[:used]
    if b'"' not in body:
        text = _text(body, dialect)
        if "\r" in text:
            text = text.replace("\r\n", "\n").removesuffix("\r")
        return [line.split(dialect.delimiter) for line in text.split("\n") if line], used, 0, ""
    if most == 1:
        # One row may be many lines.
        _, used = complete_lines(chunk, final=final, most=len(chunk))
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
    """What stands for each of these in a template, and what it is filled with."""
    joined = "\n".join(cells) + "\n"
    if joined.count("\n") == len(cells):
        if _ALL_NUMBERS(joined):
            return "%s", cells
        plain = len(encode_basestring(joined)) == len(joined) + 2 + len(cells)
        if plain and "\n\n" not in joined and joined[0] != "\n" and not _SOME_NUMBER("\n" + joined):
            return '"%s"', cells
    made = {cell: _cell(cell) for cell in set(cells)}
    return "%s", [made[cell] for cell in cells]


def _cell(cell: str) -> str:
    if not cell:
        return "null"
    return cell if _IS_NUMBER(cell) else encode_basestring(cell)
