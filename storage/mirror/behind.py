"""What an upstream is behind with, where the commit chain does not tell any more: asked of the segments themselves.

Two things may have been given up below what an upstream holds: data, which then goes up as one gap record for the whole
range, and the chain's oldest generations. Entries say which commit made them visible, so the commits that the chain no
longer holds are put together again out of the segments, whole and in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from itertools import chain, groupby
from typing import NamedTuple
from uuid import UUID

from storage import entry
from storage.catalog import Catalog
from storage.chain import BLOCK, GAP, LAYOUT, UNKNOWN_EVENTS, ChainEntry, CommitRecord, GapRecord
from storage.errors import DamagedBlockError
from storage.kv.contract import KeyValueStore
from storage.mirror.unit import Entry, Held
from storage.model import GapReason
from storage.reading import SegmentScan
from storage.records import SegmentLayout, StreamRecord

SCAN_BYTES = 4 << 20
"""A mirrored stream whose commits the chain does not know goes on in units of about this."""


class _Found(NamedTuple):
    commit: int
    entry: ChainEntry


class BehindScan:
    """One segment of a stream that an upstream is behind with: it holds the stream up to commit `through`."""

    def __init__(
        self, kv: KeyValueStore, catalog: Catalog, stream: StreamRecord, layout: SegmentLayout, held: Held | None,
        through: int,
    ) -> None:  # fmt: skip
        self.stream = stream
        self.through = through
        self._catalog = catalog
        self._layout = layout
        self._held = None if held is None else held.of(layout.segment, layout.epoch)
        self._key = stream.key(layout)
        self._scan = SegmentScan(kv, catalog, self._key)
        self.gap_through = through

    def given_up(self) -> list[Entry]:
        """A gap record for what was given up before it was sent. `gap_through` is then the commit up to which it goes."""
        record, held = self._scan.record, self._held
        if held is None or held.length >= record.start:
            return []
        head = self._head_at(record.start)
        if record.start == record.length:
            self.gap_through = record.last_commit
        elif self.stream.origin is None and head is not None and head.commit > self.through + 1:
            self.gap_through = head.commit - 1
        else:
            self.gap_through = self.through + 1
        ordinal = record.events if record.start == record.length else None if head is None else head.first_event
        events = None if held.events is None or ordinal is None else max(0, ordinal - held.events)
        length = record.start - held.length
        gap = GapRecord(GapReason.DROPPED, length, events, self.gap_through, 0, "given up before it was sent")
        count = UNKNOWN_EVENTS if events is None else events
        return [Entry(self._key.segment, self._key.epoch, held.length, length, count, self.gap_through, gap.encode())]

    def _head_at(self, offset: int) -> entry.EntryHead | None:
        items = self._scan.entries_from(offset, limit=1)
        try:
            return entry.head(items[0][1]) if items and items[0][0] == offset else None
        except DamagedBlockError:
            return None

    def before(self, commit: int) -> Iterator[_Found]:
        """What is there of the commits behind `through` and before `commit`, in order."""
        if self.stream.origin is not None:
            yield from self._mirrored()
            return
        sealed = self._layout.sealed
        if sealed is not None and self.through < sealed < commit:
            note = ChainEntry(self.stream.number, 0, self._layout.epoch, LAYOUT, 0, 0, 0, 0, 0)
            yield from merge(self._before(commit), [_Found(sealed, note)], key=lambda each: each.commit)
        else:
            yield from self._before(commit)

    def _before(self, commit: int) -> Iterator[_Found]:
        for found in self._entries():
            if found.commit >= commit:
                return
            yield found

    def _entries(self) -> Iterator[_Found]:
        """Every entry that is not held, and what is missing between them, with the commit that made it visible."""
        offset = max(self._scan.record.start, 0 if self._held is None else self._held.length)
        commit = self.through + 1
        while True:
            record = self._scan.record
            items = self._scan.entries_from(offset)
            if not items:
                break
            for start, raw in items:
                if start > offset:
                    yield _Found(commit, self._named(GAP, offset, start - offset, None, 0))
                try:
                    head = entry.head(raw)
                except DamagedBlockError:
                    following = self._scan.entries_from(start + 1, limit=1)
                    end = following[0][0] if following else self._scan.record.length
                    yield _Found(commit, self._named(BLOCK, start, end - start, None, 0))
                    offset = end
                    continue
                commit = max(commit, head.commit) if self.stream.origin is None else head.commit
                yield _Found(commit, self._named(head.kind, start, head.length, head.events, head.checksum))
                offset = start + head.length
        if offset < record.length:
            last = max(commit, record.last_commit) if self.stream.origin is None else commit
            yield _Found(last, self._named(GAP, offset, record.length - offset, None, 0))

    def _mirrored(self) -> Iterator[_Found]:
        """The same for a stream that is mirrored here: as one commit of ours, up to a bound or to its end."""
        record = self._scan.record
        number, size, last = self.through + 1, 0, None
        taken: list[ChainEntry] = []
        for origin_commit, found in self._entries():
            if size >= SCAN_BYTES and origin_commit != last and number + 1 < record.last_commit:
                break
            taken.append(found)
            size += found.length
            last = origin_commit
        else:
            number = record.last_commit
        yield from (_Found(number, found) for found in taken)

    def _named(self, kind: int, start: int, length: int, events: int | None, checksum: int) -> ChainEntry:
        generation = self._catalog.generation_of(self._key, start) or 0
        count = UNKNOWN_EVENTS if events is None else events
        return ChainEntry(*self._key, kind, generation, start, length, count, checksum)


def chain_or_segments(
    scans: Iterable[BehindScan], chain_begins: int, begin: int, commits: Callable[[int], Iterable[CommitRecord]]
) -> Iterator[CommitRecord]:
    """The commits from `begin` on: from the chain where it holds them, put together out of the segments where not."""
    known = list(scans)
    mirrored = [scan for scan in known if scan.stream.origin is not None and scan.through + 1 < chain_begins]
    if begin >= chain_begins and not mirrored:
        return iter(commits(begin))
    found = merge(*(scan.before(chain_begins) for scan in mirrored or known), key=lambda each: each.commit)
    rebuilt = (
        CommitRecord(number, 0, 0, UUID(int=0), 0, 0, tuple(each.entry for each in group))
        for number, group in groupby(found, key=lambda each: each.commit)
    )
    return rebuilt if mirrored else chain(rebuilt, commits(max(begin, chain_begins)))
