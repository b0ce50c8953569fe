"""What the store knows of its streams, segments, writers and cursors: the durable tables, held in memory as well.

Records are immutable; a commit makes new ones and, once they are on disk, puts them in place of the old. So a reader
that looks at any moment sees what is durable, and nothing of what is not yet.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol
from uuid import UUID

from storage import keys
from storage.boots import Boot, Timeline, decode_boot, encode_boot
from storage.bulk.chunks import ChunkRecord
from storage.codec import unseal
from storage.errors import DamagedBlockError
from storage.keys import DEFAULT, SegmentKey
from storage.kv.contract import KeyValueStore
from storage.model import TransactionState
from storage.records import FamilyRecord, MirrorRecord, NodeRecord, SegmentRecord, StreamRecord
from storage.retention.drops import Drops
from storage.transactions.record import FIRST_SHADOW, Placed, TransactionRecord, is_shadow

_WRITER = struct.Struct(">Q")
_U64 = struct.Struct(">Q")


class _Record(Protocol):
    def encode(self) -> bytes: ...


@dataclass(slots=True)
class Changes:
    """New records, by what they replace. The overlay that a commit fills, and the catalog takes over once durable."""

    streams: dict[str, StreamRecord] = field(default_factory=dict)
    segments: dict[SegmentKey, SegmentRecord] = field(default_factory=dict)
    segment_starts: dict[tuple[SegmentKey, int], int] = field(default_factory=dict)
    writers: dict[tuple[int, str], int] = field(default_factory=dict)
    forgotten: list[tuple[int, str]] = field(default_factory=list)
    cursors: dict[str, bytes] = field(default_factory=dict)
    """An empty one is to be removed."""
    boots: dict[tuple[UUID, UUID], Boot] = field(default_factory=dict)
    gone_boots: list[tuple[UUID, UUID]] = field(default_factory=list)
    mirrors: dict[str, MirrorRecord] = field(default_factory=dict)
    throughs: dict[int, int] = field(default_factory=dict)
    families: dict[str, FamilyRecord] = field(default_factory=dict)
    drops: dict[int, Drops] = field(default_factory=dict)
    chunks: dict[int, ChunkRecord] = field(default_factory=dict)
    gone_chunks: list[int] = field(default_factory=list)
    gone_families: list[FamilyRecord] = field(default_factory=list)
    gone_starts: list[tuple[SegmentKey, int]] = field(default_factory=list)
    transactions: dict[UUID, TransactionRecord] = field(default_factory=dict)
    gone_transactions: list[UUID] = field(default_factory=list)
    placed: dict[SegmentKey, Placed] = field(default_factory=dict)
    gone_shadows: list[SegmentKey] = field(default_factory=list)
    node: NodeRecord | None = None

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and payload of every table entry that changes."""
        records: Iterable[tuple[bytes, _Record]] = (
            *((keys.stream(name), stream) for name, stream in self.streams.items()),
            *((keys.segment(segment), record) for segment, record in self.segments.items()),
            *((keys.mirror(node), mirror) for node, mirror in self.mirrors.items()),
            *((keys.family(name), family) for name, family in self.families.items()),
            *((keys.drops(number), drops) for number, drops in self.drops.items()),
            *((keys.chunk(number), chunk) for number, chunk in self.chunks.items()),
            *((keys.transaction(each), transaction) for each, transaction in self.transactions.items()),
            *((keys.placed(shadow), placed) for shadow, placed in self.placed.items()),
        )
        for key, record in records:
            yield key, record.encode()
        for (segment, generation), start in self.segment_starts.items():
            yield keys.segment_start(segment, generation), _U64.pack(start)
        for (stream_number, writer), last in self.writers.items():
            yield keys.writer(stream_number, writer), _WRITER.pack(last)
        for name, state in self.cursors.items():
            if state:
                yield keys.cursor(name), state
        for boot in self.boots.values():
            yield keys.boot(boot.store, boot.id), encode_boot(boot)
        for stream_number, commit in self.throughs.items():
            yield keys.through(stream_number), _U64.pack(commit)
        if self.node is not None:
            yield keys.NODE, self.node.encode()

    def gone(self) -> Iterator[bytes]:
        """Key of every table entry that goes. Nothing may rest on their absence."""
        for stream_number, writer in self.forgotten:
            yield keys.writer(stream_number, writer)
        for name, state in self.cursors.items():
            if not state:
                yield keys.cursor(name)
        for family in self.gone_families:
            yield keys.family(family.name)
        for segment, generation in self.gone_starts:
            yield keys.segment_start(segment, generation)
        for store, boot_id in self.gone_boots:
            yield keys.boot(store, boot_id)
        for number in self.gone_chunks:
            yield keys.chunk(number)
        for transaction in self.gone_transactions:
            yield keys.transaction(transaction)
        for shadow in self.gone_shadows:
            yield keys.segment(shadow)
            yield keys.placed(shadow)


class Catalog:
    """The durable tables. Loaded once; from then on it follows the commits."""

    def __init__(self) -> None:
        self.node: NodeRecord | None = None
        self.streams: dict[str, StreamRecord] = {}
        self.by_number: dict[int, StreamRecord] = {}
        self.mirrored: dict[str, dict[str, StreamRecord]] = {}
        """By node: its streams here, under the names that they have there."""
        self.segments: dict[SegmentKey, SegmentRecord] = {}
        self.writers: dict[int, dict[str, int]] = {}
        self.cursors: dict[str, bytes] = {}
        self.timelines: dict[UUID, Timeline] = {}
        self.mirrors: dict[str, MirrorRecord] = {}
        self.throughs: dict[int, int] = {}
        self.families: dict[str, FamilyRecord] = {}
        self.drops: dict[int, Drops] = {}
        self.chunks: dict[int, ChunkRecord] = {}
        self.newest_chunk = 0
        """The highest number of a chunk that there ever was."""
        self.open_transactions: dict[UUID, TransactionRecord] = {}
        self.ended_transactions: dict[UUID, TransactionRecord] = {}
        """The one that ended longest ago first."""
        self.newest_shadow = FIRST_SHADOW - 1
        self.placed: dict[SegmentKey, Placed] = {}
        self._placed_in: dict[SegmentKey, set[SegmentKey]] = {}
        self._chunks_of: dict[SegmentKey, dict[int, ChunkRecord]] = {}
        self.version = 0
        """Odd while a commit is being taken over: what was read of several records meanwhile may not belong together."""
        self._starts: dict[SegmentKey, list[tuple[int, int]]] = {}
        self.newest_commit = 0
        """The newest commit that wrote a table entry, as of loading."""
        self.damage: list[str] = []
        """Table entries that did not check, as of loading."""
        self._held: dict[int, set[SegmentKey]] = {}
        """The segments of each generation."""

    @staticmethod
    def load(kv: KeyValueStore) -> Catalog:
        """Read every table. An entry that does not check is left out and named in `damage`."""
        catalog = Catalog()
        changes = Changes()
        writers: list[tuple[int, int, str, int]] = []
        start = b""
        while items := kv.scan(DEFAULT, start, None, limit=10_000):
            for key, value in items:
                try:
                    commit, payload = unseal(key, value)
                except DamagedBlockError as error:
                    catalog.damage.append(str(error))
                    continue
                catalog.newest_commit = max(catalog.newest_commit, commit)
                if key[:1] == keys.WRITER:
                    stream_number, writer = keys.parse_writer(key)
                    writers.append((commit, stream_number, writer, _WRITER.unpack(payload)[0]))
                else:
                    parse_entry(key, payload, changes)
            start = items[-1][0] + b"\0"
        for _, stream_number, writer, last in sorted(writers):
            changes.writers[stream_number, writer] = last
        changes.transactions = dict(sorted(changes.transactions.items(), key=lambda item: item[1].ended))
        catalog.apply(changes)
        catalog._bury_shadows()
        return catalog

    def apply(self, changes: Changes) -> None:
        """Take over what a commit made durable."""
        self.version += 1
        try:
            self._apply(changes)
        finally:
            self.version += 1

    def _take_stream(self, stream: StreamRecord) -> None:
        self.streams[stream.name] = stream
        self.by_number[stream.number] = stream
        if stream.origin is not None:
            node, there = stream.origin
            self.mirrored.setdefault(node, {})[there] = stream

    def _apply(self, changes: Changes) -> None:
        for stream in changes.streams.values():
            self._take_stream(stream)
        self.segments.update(changes.segments)
        for (segment, generation), start in changes.segment_starts.items():
            starts = self._starts.get(segment, [])
            self._starts[segment] = sorted({*(s for s in starts if s[1] != generation), (start, generation)})
            self._held.setdefault(generation, set()).add(segment)
        for stream_number, writer in changes.forgotten:
            self.writers.get(stream_number, {}).pop(writer, None)
        for (stream_number, writer), last in changes.writers.items():
            of_stream = self.writers.setdefault(stream_number, {})
            of_stream.pop(writer, None)
            of_stream[writer] = last
        for name, state in changes.cursors.items():
            if state:
                self.cursors[name] = state
            else:
                self.cursors.pop(name, None)
        self._apply_boots(changes)
        self.mirrors.update(changes.mirrors)
        self.throughs.update(changes.throughs)
        self.families = {**self.families, **changes.families}
        for family in changes.gone_families:
            self.families.pop(family.name, None)
        for segment, generation in changes.gone_starts:
            self._starts[segment] = [s for s in self._starts.get(segment, ()) if s[1] != generation]
            self._held.get(generation, set()).discard(segment)
        self.drops.update(changes.drops)
        self._apply_transactions(changes)
        self._apply_chunks(changes)
        if changes.node is not None:
            self.node = changes.node
            self.newest_chunk = max(self.newest_chunk, changes.node.chunk)

    def _apply_boots(self, changes: Changes) -> None:
        gone = set(changes.gone_boots)
        for store in {*(boot.store for boot in changes.boots.values()), *(store for store, _ in gone)}:
            changed = [boot for at, boot in changes.boots.items() if boot.store == store and at not in gone]
            known = [boot for boot in self.timelines.get(store, Timeline()).boots if (store, boot.id) not in gone]
            self.timelines[store] = Timeline(known).with_boots(changed)

    def _apply_chunks(self, changes: Changes) -> None:
        for number, chunk in changes.chunks.items():
            before = self.chunks.get(number)
            if before is not None and before.segment != chunk.segment:
                del self._chunks_of[before.segment][number]
            self.chunks[number] = self._chunks_of.setdefault(chunk.segment, {})[number] = chunk
            self.newest_chunk = max(self.newest_chunk, number)
        for number in changes.gone_chunks:
            if (gone := self.chunks.pop(number, None)) is not None:
                del self._chunks_of[gone.segment][number]

    def _apply_transactions(self, changes: Changes) -> None:
        for transaction, record in changes.transactions.items():
            self.open_transactions.pop(transaction, None)
            self.ended_transactions.pop(transaction, None)
            still_open = record.state is TransactionState.OPEN
            (self.open_transactions if still_open else self.ended_transactions)[transaction] = record
            self.newest_shadow = max(self.newest_shadow, *(shadow.number for shadow in record.shadows))
        for transaction in changes.gone_transactions:
            self.ended_transactions.pop(transaction, None)
        for shadow, placed in changes.placed.items():
            self.placed[shadow] = placed
            self._placed_in.setdefault(placed.segment, set()).add(shadow)
        for shadow in changes.gone_shadows:
            self.segments.pop(shadow, None)
            for _, generation in self._starts.pop(shadow, ()):
                self._held[generation].discard(shadow)
            self.writers.pop(shadow.stream, None)
            if (gone := self.placed.pop(shadow, None)) is not None:
                self._placed_in[gone.segment].discard(shadow)

    def _bury_shadows(self) -> None:
        """Leave out shadows that no open transaction fills and no pointer that can be read leads to."""
        filled = {shadow.number for record in self.open_transactions.values() for shadow in record.shadows}
        shadows = [key for key in self.segments if is_shadow(key.stream) and key.stream not in filled]
        self.apply(Changes(gone_shadows=[key for key in shadows if not self._led(key)]))
        for key in [key for key in self._starts if is_shadow(key.stream) and key not in self.segments]:
            for _, generation in self._starts.pop(key):
                self._held[generation].discard(key)
        for number in [number for number in self.writers if is_shadow(number) and number not in filled]:
            del self.writers[number]

    def _led(self, shadow: SegmentKey) -> bool:
        placed = self.placed.get(shadow)
        return placed is not None and self.segments.get(placed.segment, SegmentRecord()).start < placed.end

    def owner(self, stream_number: int) -> StreamRecord | None:
        """The stream of that number, or the one that the shadows of that number are for."""
        if not is_shadow(stream_number):
            return self.by_number.get(stream_number)
        led = (placed.segment.stream for shadow, placed in self.placed.items() if shadow.stream == stream_number)
        of = (
            each.stream for r in self.open_transactions.values() for each in r.shadows if each.number == stream_number
        )
        return self.by_number.get(next(chain(of, led), -1))

    def placed_in(self, segment: SegmentKey) -> list[tuple[SegmentKey, Placed]]:
        """The shadows that pointers of a segment lead to."""
        return [(shadow, self.placed[shadow]) for shadow in self._placed_in.get(segment, ())]

    def transaction(self, of: UUID) -> TransactionRecord | None:
        return self.open_transactions.get(of) or self.ended_transactions.get(of)

    def generation_of(self, segment: SegmentKey, offset: int) -> int | None:
        """The telemetry generation that holds the segment's byte at `offset`, None before the first."""
        starts = self._starts.get(segment)
        if not starts:
            return None
        at = bisect_right(starts, (offset, 1 << 62)) - 1
        return starts[at][1] if at >= 0 else starts[0][1]

    def generations_of(self, segment: SegmentKey) -> list[tuple[int, int]]:
        """`(first offset, generation)` of every generation that holds some of the segment, in order."""
        return list(self._starts.get(segment, ()))

    def chunks_of(self, segment: SegmentKey) -> list[ChunkRecord]:
        """A segment's chunks, the oldest first."""
        return sorted(self._chunks_of.get(segment, {}).values(), key=lambda chunk: (chunk.first, chunk.number))

    def segments_in(self, generation: int) -> list[tuple[SegmentKey, int, int]]:
        """`(segment, first offset, offset behind the last)` of everything that a generation holds."""
        found = []
        for segment in sorted(self._held.get(generation, ())):
            starts = self._starts[segment]
            for index, (first, number) in enumerate(starts):
                if number == generation:
                    record = self.segments.get(segment, SegmentRecord())
                    end = starts[index + 1][0] if index + 1 < len(starts) else record.length
                    found.append((segment, first, end))
        return found

    def newest_family(self, kind: str, group: str | None = None) -> FamilyRecord | None:
        of_kind = [family for family in self.families.values() if family.kind == kind and group in (None, family.group)]
        return max(of_kind, key=lambda family: family.number, default=None)

    def chain_family_of(self, commit: int) -> FamilyRecord | None:
        """The generation of the chain that holds the record of `commit`."""
        holding = [f for f in self.families.values() if f.kind == "chain" and f.first <= commit]
        return max(holding, key=lambda family: family.number, default=None)

    def store_of(self, stream: StreamRecord) -> UUID | None:
        """The store whose boots the stream was written in: ours, or that of the node it is mirrored from."""
        if stream.origin is None:
            return None if self.node is None else self.node.store
        mirror = self.mirrors.get(stream.origin[0])
        return None if mirror is None else mirror.store

    def timeline_of(self, stream: StreamRecord) -> Timeline:
        """Where the boots in which the stream was written stand in wall time."""
        store = self.store_of(stream)
        return Timeline() if store is None else self.timelines.get(store, Timeline())


def parse_entry(key: bytes, payload: bytes, changes: Changes) -> None:
    """Put one table entry of `default` into `changes`, whatever table it belongs to."""
    table, rest = key[:1], key[1:]
    if table == keys.STREAM:
        name = rest.decode()
        changes.streams[name] = StreamRecord.decode(name, payload)
    elif table == keys.SEGMENT:
        changes.segments[keys.parse_segment(key)] = SegmentRecord.decode(payload)
    elif table == keys.SEGMENT_START:
        changes.segment_starts[keys.parse_segment_start(key)] = _U64.unpack(payload)[0]
    elif table == keys.WRITER:
        changes.writers[keys.parse_writer(key)] = _WRITER.unpack(payload)[0]
    elif table == keys.CURSOR:
        changes.cursors[rest.decode()] = payload
    elif table == keys.BOOT:
        store, boot_id = keys.parse_boot(key)
        changes.boots[store, boot_id] = decode_boot(store, boot_id, payload)
    elif table == keys.MIRROR:
        changes.mirrors[rest.decode()] = MirrorRecord.decode(payload)
    elif table == keys.THROUGH:
        changes.throughs[int.from_bytes(rest, "big")] = _U64.unpack(payload)[0]
    elif table == keys.FAMILY:
        changes.families[rest.decode()] = FamilyRecord.decode(payload)
    elif table == keys.DROPS:
        changes.drops[int.from_bytes(rest, "big")] = Drops.decode(payload)
    elif table == keys.NODE:
        changes.node = NodeRecord.decode(payload)
    else:
        _parse_elsewhere(key, payload, changes)


def _parse_elsewhere(key: bytes, payload: bytes, changes: Changes) -> None:
    """The tables of what lies elsewhere than under a stream's own keys: chunks, and shadows."""
    table, rest = key[:1], key[1:]
    if table == keys.CHUNK:
        changes.chunks[keys.number(rest)] = ChunkRecord.decode(keys.number(rest), payload)
    elif table == keys.TRANSACTION:
        changes.transactions[UUID(bytes=rest)] = TransactionRecord.decode(UUID(bytes=rest), payload)
    elif table == keys.PLACED:
        changes.placed[keys.parse_segment(key)] = Placed.decode(payload)
