"""Cutting the next unit for an upstream: out of the commit chain, or of the segments where the chain is gone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from storage import block, keys, pointer
from storage.catalog import Catalog
from storage.chain import GAP_MAGIC, LAYOUT, REPLACED, UNKNOWN_EVENTS, ChainEntry, CommitRecord, GapRecord
from storage.entry import head
from storage.errors import DamagedBlockError, OriginRefusedError
from storage.fetch import carried, fetch
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.mirror.behind import BehindScan, chain_or_segments
from storage.mirror.boots import boots_behind
from storage.mirror.unit import Entry, Held, Part, Unit
from storage.model import GapReason
from storage.pointer import Inline, Pointer
from storage.reading import SegmentScan
from storage.records import (
    FIRST_SEGMENT,
    SegmentLayout,
    SegmentRecord,
    StreamRecord,
    encode_layout,
)

_COMMITS_AT_ONCE = 1000


class _HoleInChainError(Exception):
    """Records are missing from the chain. It goes on at `begins`."""

    def __init__(self, begins: int) -> None:
        self.begins = begins


class UnitCutter:
    """Cuts units for one upstream out of what is durable here."""

    def __init__(self, kv: KeyValueStore, catalog: Catalog, store: UUID, node: str) -> None:
        self._kv = kv
        self._catalog = catalog
        self._store = store
        self._node = node

    def next_unit(
        self,
        held: Mapping[str, Held],
        wanted: Callable[[str], bool],
        last_commit: int,
        max_bytes: int,
        boots: int | None = None,
    ) -> Unit | None:
        """The oldest whole commits that `held` is behind with, of the streams that are wanted. None: nothing is.

        `boots` is the commit up to which upstream holds what boots there were; None: all of them go with the events.
        What the chain has lost is put together out of the segments, as what it has given up is.
        """
        chain = 0 if self._catalog.node is None else self._catalog.node.chain
        while True:
            try:
                return self._next_unit(held, wanted, last_commit, max_bytes, boots, chain)
            except _HoleInChainError as hole:
                chain = hole.begins

    def _next_unit(
        self,
        held: Mapping[str, Held],
        wanted: Callable[[str], bool],
        last_commit: int,
        max_bytes: int,
        boots: int | None,
        chain: int,
    ) -> Unit | None:
        changed = boots_behind(self._catalog, boots or 0, last_commit)
        behind: dict[int, tuple[StreamRecord, int]] = {}
        begin = last_commit + 1
        for stream in list(self._catalog.streams.values()):
            if not wanted(stream.name):
                continue
            through = self._held_through(stream, held.get(stream.name), last_commit)
            newest = max((self._record(stream, layout).last_commit for layout in stream.layout), default=0)
            if newest > through:
                behind[stream.number] = (stream, through)
                begin = min(begin, self._next_commit(stream, held.get(stream.name), through))
        for stream, through in behind.values():
            if stream.origin is not None and through + 1 < chain:
                # Which of our commits wrote a mirrored entry, only the chain knew: this stream goes by itself.
                behind, begin = {stream.number: (stream, through)}, last_commit + 1
                break
        scans = [
            BehindScan(self._kv, self._catalog, stream, layout, held.get(stream.name), through)
            for stream, through in behind.values()
            for layout in stream.layout
        ]
        entries, last = _given_up(scans)
        size = 0
        reached: set[int] = set()
        for commit in chain_or_segments(scans, chain, begin, lambda first: self._commits(first, last_commit)):
            mine = [
                e
                for e in commit.entries
                if e.stream in behind and commit.number > behind[e.stream][1] and e.kind != REPLACED
            ]
            if mine and size >= max_bytes:
                break
            for entry in mine:
                if entry.kind == LAYOUT:
                    entries.setdefault(entry.stream, [])
                    last[entry.stream] = commit.number
                    reached.add(entry.stream)
                    continue
                if entry.start < self._start(entry):
                    continue
                raw = self._raw(entry, commit.number)
                if entry.start < self._start(entry):
                    # It was given up while this looked.
                    return self.next_unit(held, wanted, last_commit, max_bytes, boots)
                size += len(raw)
                sent = Entry(entry.segment, entry.epoch, entry.start, entry.length, entry.events, commit.number, raw)
                entries.setdefault(entry.stream, []).extend(_behind_held(sent, held.get(behind[entry.stream][0].name)))
                last[entry.stream] = commit.number
                reached.add(entry.stream)
        self._stop_before_unsent([behind[number] for number in entries.keys() - reached], held, entries, last)
        if not entries and (boots is None or not changed):
            return None
        parts = [_part(*behind[number], last[number], of_stream) for number, of_stream in entries.items()]
        opening = 0 if self._catalog.node is None else self._catalog.node.opening
        through = changed[-1].commit if changed else boots or 0
        return Unit(self._node, self._store, opening, tuple(changed), tuple(parts), boots or 0, through)

    def _stop_before_unsent(
        self, streams: Sequence[tuple[StreamRecord, int]], held: Mapping[str, Held], entries: dict[int, list[Entry]],
        last: dict[int, int],
    ) -> None:  # fmt: skip
        """Where others filled the unit before a stream's first entry: its gaps do not go past what is yet to be sent."""
        for stream, through in streams:
            if stream.origin is not None:
                continue
            unsent = self._unsent(stream, held.get(stream.name), through)
            last[stream.number] = min([last[stream.number], *(commit - 1 for commit in unsent)])
            if last[stream.number] <= through:
                del entries[stream.number]

    def _held_through(self, stream: StreamRecord, held: Held | None, last_commit: int) -> int:
        if held is None:
            return 0
        if held.incarnation != stream.incarnation:
            raise OriginRefusedError(
                f"upstream holds another stream under the name {stream.name!r}: it was made anew here. "
                "Give the stream another name"
            )
        if held.through > last_commit:
            raise OriginRefusedError(
                f"upstream holds {stream.name!r} up to commit {held.through}, this store ends at {last_commit}: it is "
                "an older copy of itself, or has lost its newest commits. Give this gateway another [node] name"
            )
        for layout in stream.layout:
            ours, theirs = self._record(stream, layout).length, held.of(layout.segment, layout.epoch).length
            if theirs > ours:
                raise OriginRefusedError(
                    f"upstream holds {theirs} bytes of {stream.name!r}/{layout.segment}.{layout.epoch}, this store has "
                    f"{ours}: it has lost its newest commits. Give this gateway another [node] name"
                )
        return held.through

    def _start(self, entry: ChainEntry) -> int:
        key = SegmentKey(entry.stream, entry.segment, entry.epoch)
        return self._catalog.segments.get(key, SegmentRecord()).start

    def _record(self, stream: StreamRecord, layout: SegmentLayout) -> SegmentRecord:
        return self._catalog.segments.get(stream.key(layout), SegmentRecord())

    def _next_commit(self, stream: StreamRecord, held: Held | None, through: int) -> int:
        """The commit that wrote what comes next: asked of the entry there, so that the chain need not be searched."""
        if stream.origin is not None:
            return through + 1
        return max(min(self._unsent(stream, held, through), default=0), through + 1)

    def _unsent(self, stream: StreamRecord, held: Held | None, through: int) -> list[int]:
        """Of each segment the commit that wrote what comes next, and those that sealed some since."""
        commits = [layout.sealed for layout in stream.layout if layout.sealed is not None and layout.sealed > through]
        for layout in stream.layout:
            scan = SegmentScan(self._kv, self._catalog, stream.key(layout))
            record = scan.record
            offset = max(record.start, 0 if held is None else held.of(layout.segment, layout.epoch).length)
            found = scan.entry_at(offset) if offset < record.length else None
            if found is None:
                if offset < record.length:
                    commits.append(through + 1)
                continue
            try:
                commits.append(head(found[1]).commit)
            except DamagedBlockError:
                commits.append(through + 1)
        return commits

    def _commits(self, begin: int, last_commit: int) -> Iterator[CommitRecord]:
        while begin <= last_commit:
            family = self._catalog.chain_family_of(begin)
            if family is None:
                raise _HoleInChainError(self._chain_from(begin, last_commit))
            items = self._kv.scan(family.name, keys.chain(begin), keys.chain(last_commit + 1), limit=_COMMITS_AT_ONCE)
            if not items:
                raise _HoleInChainError(self._chain_from(begin, last_commit))
            for key, raw in items:
                try:
                    record = CommitRecord.decode(raw)
                except DamagedBlockError:
                    raise _HoleInChainError(int.from_bytes(key, "big") + 1) from None
                if record.number != begin:
                    raise _HoleInChainError(record.number)
                yield record
                begin = record.number + 1

    def _chain_from(self, missing: int, last_commit: int) -> int:
        """Where the chain may go on behind a record that is missing, with everything behind it in its generation."""
        later = [f.first for f in self._catalog.families.values() if f.kind == "chain" and f.first > missing]
        return min([*later, last_commit + 1])

    def _raw(self, entry: ChainEntry, commit: int) -> bytes:
        """What is stored for a chain entry; a gap record where it is damaged."""
        key = keys.block(SegmentKey(entry.stream, entry.segment, entry.epoch), entry.start)
        why = "nothing is stored there"
        try:
            raw = self._kv.get(f"telemetry-{entry.generation:08d}", key)
            if raw is not None and raw[:4] == GAP_MAGIC:
                gap = GapRecord.decode(raw)
                # One that was put in the place of what was damaged may cover several entries.
                return raw if gap.length == entry.length else replace(gap, length=entry.length, events=None).encode()
            if raw is not None and raw[:4] == pointer.MAGIC:
                raw = replace(Pointer.decode(raw), place=Inline(fetch(self._kv, raw))).encode()
            if raw is not None:
                carried(raw)
                return raw
        except DamagedBlockError as error:
            why = str(error)
        return GapRecord(GapReason.DAMAGED, entry.length, entry.events, commit, entry.checksum, why).encode()


def _behind_held(entry: Entry, held: Held | None) -> list[Entry]:
    """What is to be sent of an entry. Upstream may hold more than was left here: then a gap begins before its end, and so
    may bulk whose pointers were led back."""
    length = 0 if held is None else held.of(entry.segment, entry.epoch).length
    if held is None or entry.start >= length:
        return [entry]
    is_gap = entry.raw[:4] == GAP_MAGIC
    if entry.start + entry.length <= length and (is_gap or _block_commit(entry.raw) <= held.through):
        return []
    if not is_gap:
        return [entry]
    rest = entry.start + entry.length - length
    gap = replace(GapRecord.decode(entry.raw), length=rest, events=None, replaces=0)
    return [replace(entry, start=length, length=rest, events=UNKNOWN_EVENTS, raw=gap.encode())]


def _block_commit(raw: bytes) -> int:
    """The commit that wrote the block which an entry is, or carries along."""
    return block.parse_header(carried(raw)).commit


def _given_up(scans: Sequence[BehindScan]) -> tuple[dict[int, list[Entry]], dict[int, int]]:
    """By stream, gap records for what was given up before it was sent, and the commit up to which they go."""
    gaps: dict[int, list[Entry]] = {}
    through: dict[int, int] = {}
    for scan in scans:
        number = scan.stream.number
        if found := scan.given_up():
            gaps.setdefault(number, []).extend(found)
        through[number] = max(through.get(number, 0), scan.gap_through)
    return gaps, through


def _part(stream: StreamRecord, after: int, through: int, entries: Sequence[Entry]) -> Part:
    layout = _layout_at(stream, through)
    # What was given up of segments that upstream does not know by then goes with the commits that opened them.
    there = {(each.segment, each.epoch) for each in layout}
    sent = tuple(entry for entry in entries if (entry.segment, entry.epoch) in there)
    encoded = b"" if layout == (FIRST_SEGMENT,) else json.dumps(encode_layout(layout)).encode()
    return Part(stream.name, stream.incarnation, stream.config.to_json(), after, through, sent, encoded)


def _layout_at(stream: StreamRecord, commit: int) -> tuple[SegmentLayout, ...]:
    """The segments that a stream had at a commit; of one that is mirrored here all it has: its commits are others'."""
    if stream.origin is not None:
        return stream.layout
    return tuple(
        replace(each, until=None, sealed=None) if each.sealed is not None and each.sealed > commit else each
        for each in stream.layout
        if each.opened <= commit
    )
