"""A file that is open: what it is read as, and how far. Each read is one piece, and says where the file stands after it."""

from __future__ import annotations

import os
from mimetypes import guess_type
from pathlib import PurePath

from drivers.file.config import FileConfig
from drivers.file.records import (
    BYTE_ORDER_MARK,
    MAX_RECORD_BYTES,
    Format,
    JsonLines,
    Lines,
    Piece,
    Records,
    read_piece,
)
from drivers.file.state import FileState, digest, fingerprint, look_of
from drivers.file.table import Dialect, UnreadableError, open_table
from storage.model import MAX_KEY_BYTES, Frame, Headers

FORMAT_OF = {
    ".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".log": "lines", ".txt": "lines",
}  # fmt: skip
"""By the ending; all else is whole."""
ANY_TYPE = "application/octet-stream"


class OpenFile:
    """A file under `state`, which says how far it has been read and is moved on with every piece.

    `whole`: it is one event; `refused`: one that is too large.
    """

    def __init__(self, descriptor: int, state: FileState, config: FileConfig, most_bytes: int) -> None:
        """`most_bytes`: of one event. Raises OSError; the descriptor is the caller's until then."""
        self.state = state
        self._descriptor = descriptor
        self._most_bytes = most_bytes
        self._format: Format | None = None
        self._config = config
        suffix = PurePath(state.path).suffix.lower()
        self.whole = is_whole(state.path, config)
        self.refused = False
        self.content_type = guess_type(state.path)[0] or ANY_TYPE
        if self.whole:
            return
        try:
            self._format = self._open_format(suffix)
        except UnreadableError as error:
            self._fail(str(error))
        else:
            self.content_type = self._format.content_type

    def _open_format(self, suffix: str) -> Format:
        form = FORMAT_OF.get(suffix, "whole") if self._config.format == "auto" else self._config.format
        head = os.pread(self._descriptor, len(BYTE_ORDER_MARK), 0)
        start = len(BYTE_ORDER_MARK) if head == BYTE_ORDER_MARK else 0
        made: Format
        if form == "csv":
            made, start = self._open_table(suffix)
        elif form == "jsonl":
            made = JsonLines(self._config.key_column, self._config.time_column)
        else:
            made = Lines()
        self.state.offset = max(self.state.offset, start)
        return made

    def _open_table(self, suffix: str) -> tuple[Format, int]:
        config = self._config
        delimiter = "\t" if suffix == ".tsv" else config.delimiter
        dialect = Dialect(delimiter, config.encoding, config.key_column, config.time_column)
        head = os.pread(self._descriptor, MAX_RECORD_BYTES, 0)
        whole = len(head) < MAX_RECORD_BYTES
        return open_table(head, dialect, config.columns, self._most_bytes, whole=whole)

    def _fail(self, reason: str) -> None:
        """Nothing more of it can be read."""
        self.state.reason = self.state.reason or reason
        self.state.done = True

    def read(self) -> Records | None:
        """The next piece; `state.done` when it was the last. None: it is being written to, and is no more what it was.

        Raises OSError.
        """
        if self.state.done:
            return Records((), 0)
        stat = os.fstat(self._descriptor)
        if stat.st_size < self.state.offset:
            return None
        if self._format is None:
            return self._read_whole(stat)
        return self._read_on(stat, self._format)

    def _read_on(self, stat: os.stat_result, form: Format) -> Records:
        state = self.state
        piece: Piece = read_piece(self._descriptor, state.offset, form, skipping=state.skipping, final=True)
        # Before the state moves on: if this fails, nothing was read.
        state.digest = fingerprint(self._descriptor, state.offset + piece.consumed)
        records = piece.records
        state.offset += piece.consumed
        state.skipping = piece.skipping
        state.stored += len(records.payloads)
        state.bad += records.bad
        state.reason = state.reason or records.reason
        # What is written from here on changes how the file looks, and it is read on from where this ended.
        state.seen(stat)
        state.done = state.offset >= stat.st_size
        return records

    def _read_whole(self, stat: os.stat_result) -> Records | None:
        state = self.state
        if stat.st_size > self._most_bytes:
            self._fail(f"{stat.st_size} bytes are more than an event of its stream may have: {self._most_bytes}")
            self.refused = True
            state.seen(stat)
            return Records((), 0)
        payload = _read_all(self._descriptor, stat.st_size)
        if look_of(os.fstat(self._descriptor)) != look_of(stat) or len(payload) != stat.st_size:
            return None
        state.seen(stat)
        state.offset = len(payload)
        state.digest = digest(payload)
        state.stored += 1
        state.done = True
        return Records([payload], len(payload))

    def headers(self) -> Headers:
        return (("file.name", os.fsencode(self.state.path)), ("file.mtime_ns", b"%d" % self.state.mtime_ns))

    def close(self) -> None:
        os.close(self._descriptor)


def is_whole(path: str, config: FileConfig) -> bool:
    if config.format == "auto":
        return PurePath(path).suffix.lower() not in FORMAT_OF
    return config.format == "whole"


def _read_all(descriptor: int, size: int) -> bytes:
    parts: list[bytes] = []
    offset = 0
    while offset < size and (read := os.pread(descriptor, size - offset, offset)):
        parts.append(read)
        offset += len(read)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def to_frames(
    records: Records, routing_key: str, content_type: str, headers: Headers, now_ns: int, shift_ns: int | None
) -> tuple[list[Frame], int]:
    """Frames of what was read, one for each routing key, and how many events bring no time of their own though they should.

    `now_ns` is the boot clock's, `shift_ns` the time since 1970 at which that began; None: nobody knows it.
    """
    if not records.payloads:
        return [], 0
    times_ns, untimed = _boot_times(records, now_ns, shift_ns)
    if records.keys is None:
        captured_ns = now_ns if times_ns is None else times_ns[0]
        return [Frame(records.payloads, _cut(routing_key), content_type, headers, captured_ns, times_ns)], untimed
    places: dict[str, list[int]] = {}
    for place, key in enumerate(records.keys):
        places.setdefault(_cut(key or routing_key), []).append(place)
    frames = []
    for key, of_key in places.items():
        times = None if times_ns is None else [times_ns[place] for place in of_key]
        payloads = [records.payloads[place] for place in of_key]
        frames.append(Frame(payloads, key, content_type, headers, now_ns if times is None else times[0], times))
    return frames, untimed


def _cut(key: str) -> str:
    """As much of it as a routing key may have."""
    return key if 4 * len(key) <= MAX_KEY_BYTES else key.encode()[:MAX_KEY_BYTES].decode(errors="ignore")


def _boot_times(records: Records, now_ns: int, shift_ns: int | None) -> tuple[list[int] | None, int]:
    if records.times_ns is None:
        return None, 0
    if shift_ns is None:
        return None, len(records.payloads)
    untimed = sum([time_ns is None for time_ns in records.times_ns])
    return [now_ns if time_ns is None else time_ns - shift_ns for time_ns in records.times_ns], untimed
