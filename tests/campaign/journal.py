"""The journal: what the worker is about to do and what it was told, in a file beside the store.

Each record is written with one plain `write` before the next step is taken. A SIGKILL takes the process and not the
machine, so all that was written is there. Only a last record that is not whole is left out.
"""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from storage import Position

_LENGTH = struct.Struct("<I")


class Part(NamedTuple):
    """Events of one source for one stream, numbered from `first`. `expected`: the length that it is conditional on."""

    stream: str
    source: str
    first: int
    events: int
    expected: int | None = None


class Submitted(NamedTuple):
    """About to be submitted, all or nothing. `cursors` and the table's `change` (key, value, expected version) with it."""

    id: int
    operation: str
    parts: tuple[Part, ...]
    cursors: Mapping[str, bytes]
    change: tuple[str, bytes, int] | None = None


class Acknowledged(NamedTuple):
    """Its ticket said so."""

    id: int
    commit: int
    positions: tuple[Position | None, ...]
    stored: int
    duplicates: int


class Refused(NamedTuple):
    """It raised at once, or its ticket did: nothing of it may ever be there."""

    id: int
    why: str


class Truncating(NamedTuple):
    """About to give up what lies before the positions."""

    stream: str
    positions: tuple[Position, ...]


class Retaining(NamedTuple):
    """About to take a step of retention, with this confirmed and read."""

    confirmed: Mapping[str, int]
    consumed: Mapping[str, tuple[Position, ...]]


class Sealing(NamedTuple):
    """About to end a stream."""

    stream: str


class Sealed(NamedTuple):
    """It was said to be ended, with these lengths."""

    stream: str
    lengths: tuple[Position, ...]


class Ticked(NamedTuple):
    """About to set the clock so."""

    boot: int
    boot_ns: int
    wall_ns: int
    trusted: bool


class Handed(NamedTuple):
    """A reader of a group handed these out, and stands there now."""

    group: str
    reader: str
    items: tuple[tuple[str, Position], ...]
    position: str


class Began(NamedTuple):
    """About to begin a transaction."""

    id: int
    streams: tuple[str, ...]
    lease_s: float


class Putting(NamedTuple):
    """About to put something into a transaction."""

    transaction: int
    id: int
    part: Part


class Put(NamedTuple):
    """It was acknowledged: it is in it."""

    transaction: int
    id: int


class PutRefused(NamedTuple):
    """It was refused: it is not in it."""

    transaction: int
    id: int


class Committing(NamedTuple):
    """The submission `id` is this transaction's commit; 0: it was refused, and there is none."""

    transaction: int
    id: int


class Aborting(NamedTuple):
    """About to abort it."""

    transaction: int


class Aborted(NamedTuple):
    """It was said to be aborted."""

    transaction: int


class Expiring(NamedTuple):
    """About to abort those whose lease is over."""


class Measured(NamedTuple):
    """So much was on disk."""

    size_bytes: int


class Did(NamedTuple):
    """Something else was done, so often: for the table of operations."""

    operation: str
    times: int = 1


Transacted = Began | Putting | Put | PutRefused | Committing | Aborting | Aborted | Expiring
Record = (
    Submitted
    | Acknowledged
    | Refused
    | Truncating
    | Retaining
    | Sealing
    | Sealed
    | Ticked
    | Handed
    | Transacted
    | Measured
    | Did
)


class Journal:
    """Appends to the file at `path`. Any thread may."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)

    def say(self, record: Record) -> None:
        raw = pickle.dumps(record)
        os.write(self._handle, _LENGTH.pack(len(raw)) + raw)

    def close(self) -> None:
        os.close(self._handle)


def records_of(path: Path) -> Iterator[Record]:
    """Every whole record of the journal at `path`; none where it is missing."""
    data = path.read_bytes() if path.exists() else b""
    at = 0
    while at + _LENGTH.size <= len(data):
        end = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
        if end > len(data):
            return
        record: Record = pickle.loads(data[at + _LENGTH.size : end])
        yield record
        at = end
