"""Both ends of mirroring: cutting the next unit out of the commit chain, and taking one into a commit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from storage import block, keys, pointer
from storage.behind import BehindScan, chain_or_segments
from storage.catalog import Catalog
from storage.chain import GAP, GAP_MAGIC, LAYOUT, POINTER, REPLACED, ChainEntry, CommitRecord, GapRecord
from storage.entry import head
from storage.errors import ConditionFailedError, DamagedBlockError, OriginRefusedError
from storage.fetch import carried, fetch
from storage.group import Group
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.mirror import Entry, Held, HeldSegment, Holdings, Part, Unit
from storage.mirrored_boots import boots_behind, take_boots
from storage.model import BULK, GapReason, Receipt, StreamConfig, is_internal
from storage.pointer import Inline, Pointer
from storage.reading import SegmentScan
from storage.records import (
    FIRST_SEGMENT,
    MirrorRecord,
    SegmentLayout,
    SegmentRecord,
    StreamRecord,
    decode_layout,
    encode_layout,
)
from storage.scaling import take_layout
from storage.ticket import Ticket

_COMMITS_AT_ONCE = 1000


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
        """
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
        chain = 0 if self._catalog.node is None else self._catalog.node.chain
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
                    continue
                if entry.start < self._start(entry):
                    continue
                raw = self._raw(entry, commit.number)
                if entry.start < self._start(entry):
                    # It was given up while this looked.
                    return self.next_unit(held, wanted, last_commit, max_bytes, boots)
                size += len(raw)
                entries.setdefault(entry.stream, []).append(
                    Entry(entry.segment, entry.epoch, entry.start, entry.length, entry.events, commit.number, raw)
                )
                last[entry.stream] = commit.number
        if not entries and (boots is None or not changed):
            return None
        parts = [
            Part(
                behind[number][0].name,
                behind[number][0].incarnation,
                behind[number][0].config.to_json(),
                behind[number][1],
                last[number],
                tuple(of_stream),
                _layout_at(behind[number][0], last[number]),
            )
            for number, of_stream in entries.items()
        ]
        opening = 0 if self._catalog.node is None else self._catalog.node.opening
        through = changed[-1].commit if changed else boots or 0
        return Unit(self._node, self._store, opening, tuple(changed), tuple(parts), boots or 0, through)

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
        commits = [layout.sealed for layout in stream.layout if layout.sealed is not None and layout.sealed > through]
        for layout in stream.layout:
            scan = SegmentScan(self._kv, self._catalog, stream.key(layout))
            record = scan.record
            offset = max(record.start, 0 if held is None else held.of(layout.segment, layout.epoch).length)
            found = scan.entry_at(offset) if offset < record.length else None
            if found is None:
                if offset < record.length:
                    return through + 1
                continue
            try:
                commits.append(head(found[1]).commit)
            except DamagedBlockError:
                return through + 1
        return max(min(commits, default=0), through + 1)

    def _commits(self, begin: int, last_commit: int) -> Iterator[CommitRecord]:
        while begin <= last_commit:
            family = self._catalog.chain_family_of(begin)
            if family is None:
                return
            items = self._kv.scan(family.name, keys.chain(begin), keys.chain(last_commit + 1), limit=_COMMITS_AT_ONCE)
            if not items:
                later = [f.first for f in self._catalog.families.values() if f.kind == "chain" and f.first > begin]
                if not later:
                    return
                begin = min(later)
                continue
            for _, raw in items:
                record = CommitRecord.decode(raw)
                yield record
                begin = record.number + 1

    def _raw(self, entry: ChainEntry, commit: int) -> bytes:
        """What is stored for a chain entry; a gap record where it is damaged."""
        key = keys.block(SegmentKey(entry.stream, entry.segment, entry.epoch), entry.start)
        why = "nothing is stored there"
        try:
            raw = self._kv.get(f"telemetry-{entry.generation:08d}", key)
            if raw is not None and raw[:4] == GAP_MAGIC:
                GapRecord.decode(raw)
                return raw
            if raw is not None and raw[:4] == pointer.MAGIC:
                raw = replace(Pointer.decode(raw), place=Inline(fetch(self._kv, raw))).encode()
            if raw is not None:
                carried(raw)
                return raw
        except DamagedBlockError as error:
            why = str(error)
        return GapRecord(GapReason.DAMAGED, entry.length, entry.events, commit, entry.checksum, why).encode()


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


def holdings(catalog: Catalog, node: str) -> Holdings:
    """What is held of a node, durable."""
    mirror = catalog.mirrors.get(node)
    streams: dict[str, Held] = {}
    for stream in list(catalog.streams.values()):
        if stream.origin is not None and stream.origin[0] == node:
            streams[stream.origin[1]] = _held(catalog, stream)
    if mirror is None:
        return Holdings(None, 0, streams)
    return Holdings(mirror.store, mirror.opening, streams, mirror.boots)


def _held(catalog: Catalog, stream: StreamRecord) -> Held:
    each = []
    for layout in stream.layout:
        record = catalog.segments.get(stream.key(layout), SegmentRecord())
        each.append(HeldSegment(layout.segment, layout.epoch, record.length, record.events))
    only_first = len(each) == 1 and (each[0].segment, each[0].epoch) == (0, 0)
    return Held(
        stream.incarnation, catalog.throughs.get(stream.number, 0), sum(segment.length for segment in each),
        sum(segment.events or 0 for segment in each), () if only_first else tuple(each),
    )  # fmt: skip


def _layout_at(stream: StreamRecord, commit: int) -> bytes:
    """The segments that a stream had at a commit; of one that is mirrored here all it has: its commits are others'."""
    layout = stream.layout
    if stream.origin is None:
        layout = tuple(
            replace(each, until=None, sealed=None) if each.sealed is not None and each.sealed > commit else each
            for each in layout
            if each.opened <= commit
        )
    return b"" if layout == (FIRST_SEGMENT,) else json.dumps(encode_layout(layout)).encode()


def _parse_layout(part: Part) -> tuple[SegmentLayout, ...]:
    """Raises ConditionFailedError."""
    try:
        return decode_layout(json.loads(part.layout)) if part.layout else (FIRST_SEGMENT,)
    except (ValueError, TypeError) as error:
        raise ConditionFailedError(f"the segments sent of {part.stream!r} do not parse: {error}") from error


def check_origin(known: MirrorRecord | None, node: str, store: UUID, opening: int, streams: int) -> None:
    """Raises OriginRefusedError unless this opening of this store may speak for the node."""
    if is_internal(f"{node}/"):
        raise OriginRefusedError(f"node {node!r}: its streams would be the store's own; give it another [node] name")
    if known is None:
        return
    if known.store != store:
        raise OriginRefusedError(
            f"node {node!r} is known here as store {known.store} ({streams} streams); this is store {store}. "
            "A store that was wiped or replaced is a new node: give this gateway another [node] name, "
            f"for example {node + '-2'!r}. What was mirrored from the old one stays"
        )
    if opening < known.opening:
        raise OriginRefusedError(
            f"node {node!r} was last heard as opening {known.opening} of store {store}; this is opening {opening}: an "
            "older copy of the store. Bring the newer one back, or give this gateway another [node] name"
        )


def take_unit(group: Group, ticket: Ticket, unit: Unit) -> None:
    """Put a unit into a commit. Raises OriginRefusedError, ConditionFailedError, DamagedBlockError with nothing taken."""
    catalog = group.catalog
    known = group.changes.mirrors.get(unit.node) or catalog.mirrors.get(unit.node)
    check_origin(known, unit.node, unit.store, unit.opening, len(unit.parts))
    taken = [part for part in unit.parts if _continues(group, unit, part)]
    duplicates = sum(entry.events for part in unit.parts if part not in taken for entry in part.entries)
    told = MirrorRecord(unit.store, unit.opening, take_boots(group, unit, 0 if known is None else known.boots))
    if told != known:
        group.changes.mirrors[unit.node] = told
    for part in taken:
        _take_part(group, unit, part)
    stored = sum(entry.events for part in taken for entry in part.entries)
    group.outcomes.append((ticket, Receipt(group.number, (), stored, duplicates)))


def _continues(group: Group, unit: Unit, part: Part) -> bool:
    """Whether a part is to be taken: False where it is held already. Raises where it does not continue what is held."""
    name = f"{unit.node}/{part.stream}"
    stream = group.stream(name)
    if stream is not None and (stream.origin != (unit.node, part.stream) or stream.incarnation != part.incarnation):
        raise OriginRefusedError(
            f"{name!r} here is another stream than the one sent: it was made anew at the gateway, or is written locally. "
            "Give the stream another name at the gateway"
        )
    through = 0
    if stream is not None:
        through = group.changes.throughs.get(stream.number, group.catalog.throughs.get(stream.number, 0))
    if part.through <= through:
        return False
    if part.after != through:
        raise ConditionFailedError(f"{name!r} is held up to commit {through}; what was sent continues {part.after}")
    lengths: dict[tuple[int, int], int] = {}
    checksums: dict[tuple[int, int], int] = {}
    known = {(layout.segment, layout.epoch): layout for layout in _parse_layout(part)}
    gone = [] if stream is None else [s for s in stream.layout if (s.segment, s.epoch) not in known]
    if gone:
        raise ConditionFailedError(f"{name!r} has segments here that it does not have where it comes from: {gone}")
    for entry in part.entries:
        at = (entry.segment, entry.epoch)
        if at not in known:
            raise ConditionFailedError(f"{name!r} has no segment {entry.segment}.{entry.epoch}")
        if at not in lengths and stream is not None:
            builder = group.builder(stream, known[at])
            lengths[at], checksums[at] = builder.length, builder.record.checksum
        if at in lengths and entry.start != lengths[at]:
            raise ConditionFailedError(
                f"{name!r} is {lengths[at]} bytes long here; what was sent begins at {entry.start}"
            )
        length, previous, checksum = _measure(entry)
        if length != entry.length:
            raise DamagedBlockError(f"an entry of {name!r} at {entry.start} is {length} bytes, not {entry.length}")
        if at in checksums and previous is not None and checksums[at] not in (0, previous):
            raise ConditionFailedError(f"{name!r} at {entry.start} does not follow the block that is held before it")
        lengths[at], checksums[at] = entry.start + entry.length, checksum
    return True


def _layout(stream: StreamRecord, segment: int, epoch: int) -> SegmentLayout:
    layout = stream.segment(segment, epoch)
    if layout is None:
        raise ConditionFailedError(f"{stream.name!r} has no segment {segment}.{epoch} here")
    return layout


def _measure(entry: Entry) -> tuple[int, int | None, int]:
    """`(length, checksum of the block before or None, checksum)` of an entry. Raises DamagedBlockError."""
    at = head(entry.raw)
    if at.kind != GAP:
        carried(entry.raw)
    return at.length, at.previous, at.checksum


def _take_part(group: Group, unit: Unit, part: Part) -> None:
    stream = group.stream(f"{unit.node}/{part.stream}")
    layout = _parse_layout(part)
    if stream is None:
        stream = group.create_stream(
            f"{unit.node}/{part.stream}",
            StreamConfig.from_json(part.config),
            incarnation=part.incarnation,
            origin=(unit.node, part.stream),
            layout=layout,
        )
        firsts = {(entry.segment, entry.epoch): entry.start for entry in reversed(part.entries)}
        for (segment, epoch), start in firsts.items():
            group.builder(stream, _layout(stream, segment, epoch)).begin_at(start)
    elif layout != stream.layout:
        stream = take_layout(group, stream, layout)
    for entry in part.entries:
        builder = group.builder(stream, _layout(stream, entry.segment, entry.epoch))
        _, _, checksum = _measure(entry)
        at = head(entry.raw)
        if at.kind == POINTER and stream.config.kind == BULK:
            builder.add_bulk(Pointer.decode(entry.raw), carried(entry.raw))
        else:
            builder.add_raw(at.kind, entry.raw, entry.length, entry.events, checksum)
        if at.kind != GAP:
            # What was given up before it was sent may be a gap of an unknown count, or not be there at all.
            builder.record = replace(builder.record, events=(at.first_event or 0) + (at.events or 0))
            for span in block.parse_header(carried(entry.raw)).writers:
                key = (stream.number, span.writer)
                known = group.changes.writers.get(
                    key, group.catalog.writers.get(stream.number, {}).get(span.writer, -1)
                )
                group.changes.writers[key] = max(known, span.last)
    group.changes.throughs[stream.number] = part.through
