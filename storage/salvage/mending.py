"""One mending of a store: the batch that it writes, and the catalog as it will be once that is durable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

from storage import block, keys, pointer
from storage.block import BlockHeader
from storage.catalog import Catalog, Changes, parse_entry
from storage.chain import GAP, GAP_MAGIC, REPLACED, UNKNOWN_EVENTS, ChainEntry, CommitRecord
from storage.codec import seal, unseal
from storage.entry import length as entry_length
from storage.errors import DamagedBlockError
from storage.fetch import fetch
from storage.keys import DEFAULT, SegmentKey
from storage.kv.contract import Batch, KeyValueStore
from storage.model import BULK, KeyRange, StreamConfig
from storage.pointer import InChunk, Pointer
from storage.records import SegmentLayout, SegmentRecord, StreamRecord
from storage.transactions.record import is_shadow


class Mending:
    """What is put back into its place, and what follows from it for the tables."""

    def __init__(self, kv: KeyValueStore, catalog: Catalog, store: UUID) -> None:
        self._kv = kv
        self._catalog = catalog
        self._store = store
        self._batch = Batch()
        self._changes = Changes()
        self._put_back: dict[SegmentKey, list[tuple[int, int]]] = {}
        self.put_back_entries = 0
        self.put_back_bytes = 0
        """As they are stored. Gap records that take the place of something do not count."""

    def put_record(self, record: CommitRecord) -> None:
        """A commit record in its place."""
        self._batch.put(self._chain_family(record.number), keys.chain(record.number), record.encode())

    def has(self, family: str, key: bytes) -> bool:
        """Whether an entry can be read at its place, or was put back there just now."""
        if any(at == keys.block_offset(key) for at, _ in self._put_back.get(keys.block_segment(key), ())):
            return True
        try:
            return self._kv.get(family, key) is not None
        except DamagedBlockError:
            return False

    def start_of(self, entry: ChainEntry) -> int:
        """Below it all was given up. Of a shadow that nothing leads to any more that is everything."""
        key = SegmentKey(entry.stream, entry.segment, entry.epoch)
        record = self._catalog.segments.get(key)
        if record is None and self._catalog.owner(entry.stream) is None and is_shadow(entry.stream):
            return keys.LAST_OFFSET
        return 0 if record is None else record.start

    def end_before(self, key: SegmentKey, offset: int) -> int:
        """Where the last entry of a segment before `offset` ends: in the engine, or put back just now."""
        end = 0
        for _, generation in self._catalog.generations_of(key):
            family = f"telemetry-{generation:08d}"
            item = self._kv.last_before(family, keys.block(key, 0), keys.block(key, offset))
            if item is not None:
                end = max(end, keys.block_offset(item[0]) + entry_length(item[1]))
        for at, length in self._put_back.get(key, ()):
            if at < offset:
                end = max(end, at + length)
        return end

    def apply_tables(self, tables: Mapping[bytes, tuple[int, bytes]]) -> None:
        """Take over table entries from the evidence where they are newer than what the engine found."""
        for key, (commit, value) in sorted(tables.items(), key=lambda item: item[1][0]):
            current = self._kv.get(DEFAULT, key)
            if current is not None and unseal(key, current)[0] >= commit:
                continue
            self._batch.put(DEFAULT, key, value)
            parse_entry(key, unseal(key, value)[1], self._changes)
        self._catalog.apply(self._changes)
        for name in self._changes.families:
            self._kv.create_family(name)

    def settle_segments(self, record: CommitRecord) -> None:
        """Bring segment records up to what a mended commit wrote, where their own was lost with it."""
        changes = Changes()
        for entry in record.stored:
            key = SegmentKey(entry.stream, entry.segment, entry.epoch)
            current = self._catalog.segments.get(key, SegmentRecord())
            if entry.start < current.start or entry.kind == REPLACED:
                continue
            gaps = current.gaps + (entry.kind == GAP and record.stands_in)
            current = replace(current, gaps=gaps)
            if current.length < entry.start + entry.length:
                events = 0 if entry.events == UNKNOWN_EVENTS else entry.events
                current = replace(
                    current,
                    length=entry.start + entry.length,
                    events=current.events + events,
                    checksum=entry.checksum,
                    last_commit=record.number,
                )
            changes.segments[key] = current
            starts = self._catalog.generations_of(key)
            if all(generation != entry.generation for _, generation in starts):
                changes.segment_starts[key, entry.generation] = entry.start
        self.merge(changes)

    def know(self, entry: ChainEntry, raw: bytes) -> None:
        """What an entry that was put back says of its stream and writers, where the tables have lost it."""
        kind = StreamConfig().kind
        try:
            if raw[:4] == block.MAGIC:
                header = block.parse_header(raw)
            elif raw[:4] == pointer.MAGIC:
                header = block.parse_header(fetch(self._kv, raw))
                kind = BULK if isinstance(Pointer.decode(raw).place, InChunk) else kind
            else:
                return
        except DamagedBlockError:
            return
        self.know_header(entry, header, kind)

    def know_header(self, entry: ChainEntry, header: BlockHeader, kind: str = StreamConfig().kind) -> None:
        """The same of a block's header."""
        changes = Changes()
        origin = next((n for n, mirror in self._catalog.mirrors.items() if mirror.store == header.store), None)
        if entry.stream not in self._catalog.by_number and not is_shadow(entry.stream):
            name = header.stream if header.store == self._store else f"{origin or header.store}/{header.stream}"
            mirrored = None if header.store == self._store else (origin or str(header.store), header.stream)
            layout = (SegmentLayout(entry.segment, entry.epoch, KeyRange()),)
            changes.streams[name] = StreamRecord(
                entry.stream, name, header.incarnation, StreamConfig(kind=kind), mirrored, layout
            )
        if origin is not None and header.commit > self._catalog.throughs.get(entry.stream, 0):
            changes.throughs[entry.stream] = header.commit
        known = self._catalog.writers.get(entry.stream, {})
        for span in header.writers:
            if known.get(span.writer, -1) < span.last:
                changes.writers[entry.stream, span.writer] = span.last
        self.merge(changes)

    def merge(self, changes: Changes) -> None:
        self._catalog.apply(changes)
        self._changes.streams.update(changes.streams)
        self._changes.segments.update(changes.segments)
        self._changes.segment_starts.update(changes.segment_starts)
        self._changes.writers.update(changes.writers)
        self._changes.throughs.update(changes.throughs)
        if changes.node is not None:
            self._changes.node = changes.node

    def write(self, newest: int) -> None:
        for key, payload in self._changes.entries():
            self._batch.put(DEFAULT, key, seal(key, newest, payload))
        self._kv.write(self._batch)
        self._kv.sync()

    def put(self, family: str, key: bytes, raw: bytes) -> None:
        self._kv.create_family(family)
        self._batch.put(family, key, raw)
        if raw[:4] != GAP_MAGIC:
            self.put_back_entries += 1
            self.put_back_bytes += len(raw)
        self._put_back.setdefault(keys.block_segment(key), []).append((keys.block_offset(key), entry_length(raw)))

    def _chain_family(self, number: int) -> str:
        family = self._catalog.chain_family_of(number)
        name = family.name if family is not None else "chain-00000001"
        self._kv.create_family(name)
        return name

    def generation_for(self, segment: SegmentKey, offset: int) -> int:
        """Where readers will look for an entry at `offset`."""
        holding = self._catalog.generation_of(segment, offset)
        newest = self._catalog.newest_family("telemetry")
        return holding if holding is not None else newest.number if newest is not None else 1

    def name_of(self, stream: int) -> str:
        known = self._catalog.owner(stream)
        return known.name if known is not None else f"stream number {stream}"
