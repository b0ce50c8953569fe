"""What is submitted to a store, said of events and their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from storage.model import KeyRange


class Said(NamedTuple):
    """An event as it was appended. `time_ns` is when, since 1970."""

    key: str
    payload: bytes
    time_ns: int
    writer: str | None = None
    number: int | None = None


class Place(NamedTuple):
    """An event's place: the segment's number, and which event of that segment it is. The same for ever."""

    segment: int
    ordinal: int


Places = Mapping[int, int]
"""Where a reader stands: of each segment the index of the event that it is handed next; not named: of the first."""


class Append(NamedTuple):
    """Events for one stream, under one writer or none, and the length that the segment of the first is to have."""

    stream: str
    said: Sequence[Said]
    expected: int | None = None


class Appends(NamedTuple):
    """Appends to one stream or several, and cursors that move with them."""

    appends: Sequence[Append]
    cursors: Mapping[str, bytes] = {}


class Create(NamedTuple):
    stream: str


class Scale(NamedTuple):
    stream: str
    sealed: Sequence[int]
    ranges: Sequence[KeyRange]


class Seal(NamedTuple):
    stream: str


class Truncate(NamedTuple):
    stream: str
    places: Places


class Begin(NamedTuple):
    transaction: UUID
    streams: Sequence[str]


class Put(NamedTuple):
    """Appends into a transaction."""

    transaction: UUID
    appends: Sequence[Append]


class Commit(NamedTuple):
    transaction: UUID
    cursors: Mapping[str, bytes] = {}


class Abort(NamedTuple):
    transaction: UUID


Submission = Appends | Create | Scale | Seal | Truncate | Begin | Put | Commit | Abort
