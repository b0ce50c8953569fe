"""The witness: up to where the store was durable, told by a file beside the logs, so that a log that goes missing is missed.

No mode of the engine notices that its newest log is gone, or ends early: what is left is a store of some commits before. So
after every commit, once it is durable, its number and the new lengths of its segments are written to `WITNESS`, without a
sync: that is what a killed process leaves. A power cut may leave an older page, never one that is ahead of the log. Where
the witness knows of more commits than the store has, they are lost: exactly those, where the machine ran on or the store
was closed; at least those, after a power cut.

A page, big endian: magic `EWIT`, format u8, flags u8 (1: closed, 2: more segments than pages hold), page u16, store 16,
opening u64, commit u64, boot 16, entries u16; each entry: stream u32, segment u32, epoch u32, length u64, events u64 ·
CRC-32C u32.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from storage.codec import crc32c
from storage.keys import SegmentKey
from storage.kv.witness_file import MOST_PAGES, PAGE_BYTES, WitnessPages
from storage.records import SegmentRecord
from storage.transactions.record import is_shadow

MAGIC = b"EWIT"
FORMAT = 1
_CLOSED = 1
_MORE = 2
_HEAD = struct.Struct(">4sBBH16sQQ16sH")
_ENTRY = struct.Struct(">IIIQQ")
_U32 = struct.Struct(">I")
_PER_PAGE = (PAGE_BYTES - _HEAD.size - _U32.size) // _ENTRY.size


class Told(NamedTuple):
    """How long a segment was, in bytes and in events."""

    length: int
    events: int


@dataclass(frozen=True, slots=True)
class Testimony:
    """What a witness says: `commit` was durable in `opening` and `boot`. `exact`: nothing was after it.

    `segments` are the lengths of all that grew since the store was opened; `all_told`: no segment that did is left out.
    """

    opening: int
    commit: int
    boot: UUID
    closed: bool
    all_told: bool
    segments: Mapping[SegmentKey, Told]

    def exact(self, boot: UUID) -> bool:
        """Whether it is the last that was written. `boot` is the boot that runs now."""
        return self.closed or self.boot == boot


def recall(pages: WitnessPages, store: UUID) -> Testimony | None:
    """What is left of what the witness of a store wrote. None: nothing."""
    segments: dict[SegmentKey, Told] = {}
    first: Testimony | None = None
    for number, raw in enumerate(pages.read()):
        try:
            magic, form, flags, page, of, opening, commit, boot, count = _HEAD.unpack_from(raw)
            end = _HEAD.size + count * _ENTRY.size
            sound = (magic, form, page, of) == (MAGIC, FORMAT, number, store.bytes)
            if not sound or crc32c(raw[:end]) != _U32.unpack_from(raw, end)[0]:
                continue
        except struct.error:
            continue
        if page == 0:
            first = Testimony(opening, commit, UUID(bytes=boot), bool(flags & _CLOSED), not flags & _MORE, segments)
        if first is not None and opening == first.opening:
            for stream, segment, epoch, length, events in _ENTRY.iter_unpack(raw[_HEAD.size : end]):
                segments[SegmentKey(stream, segment, epoch)] = Told(length, events)
    return first


class Witness:
    """Writes down what becomes durable. Of one opening; the first thing that it writes replaces what others wrote."""

    def __init__(self, pages: WitnessPages, store: UUID, boot: UUID) -> None:
        self._pages = pages
        self._store = store
        self._boot = boot
        self._places: dict[SegmentKey, int] = {}
        self._entries: list[list[bytes]] = [[]]
        self._flags = 0
        self._last = (0, 0)

    def note(self, opening: int, commit: int, segments: Mapping[SegmentKey, SegmentRecord]) -> None:
        """A commit is durable, and left these segments as they are."""
        pages = {0}
        for key, record in segments.items():
            if is_shadow(key.stream):
                continue
            place = self._places.get(key)
            if place is None:
                place = len(self._places)
                if place >= _PER_PAGE * MOST_PAGES:
                    self._flags |= _MORE
                    continue
                self._places[key] = place
                if place // _PER_PAGE == len(self._entries):
                    self._entries.append([])
                self._entries[place // _PER_PAGE].append(b"")
            self._entries[place // _PER_PAGE][place % _PER_PAGE] = _ENTRY.pack(*key, record.length, record.events)
            pages.add(place // _PER_PAGE)
        self._last = (opening, commit)
        for page in sorted(pages, reverse=True):
            self._write(page)

    def close(self) -> None:
        """Nothing comes after what was noted last."""
        if self._last[1]:
            self._flags |= _CLOSED
            self._write(0)
            self._pages.sync()

    def _write(self, page: int) -> None:
        entries = self._entries[page]
        raw = _HEAD.pack(
            MAGIC, FORMAT, self._flags, page, self._store.bytes, *self._last, self._boot.bytes, len(entries)
        ) + b"".join(entries)
        self._pages.write(page, raw + _U32.pack(crc32c(raw)))
