"""Closes holes in the commit chain, with what a damaged log still holds.

RocksDB skips up to 32 KiB of log for one flipped bit. Our own reader has collected what lies in the logs (`LogEvidence`);
every value there carries its own checksum, so each is judged alone. Commits found whole are written again as they were.
Of a commit that was hit, what checks is kept; a block that does not check becomes a gap record. The commit's own record
says which blocks there were; where that record is what was hit, the blocks say it themselves, and where neither can, the
neighbours in the segment do.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from uuid import UUID

from storage import block, keys, pointer
from storage.block import BlockHeader
from storage.bulk.orphans import led_back
from storage.catalog import Catalog, Changes, parse_entry
from storage.chain import (
    BLOCK,
    COMMIT_MAGIC,
    GAP,
    GAP_MAGIC,
    LAYOUT,
    POINTER,
    REPLACED,
    STAND_IN,
    UNKNOWN_EVENTS,
    ChainEntry,
    CommitRecord,
    GapRecord,
)
from storage.codec import seal, unseal
from storage.entry import length as entry_length
from storage.errors import DamagedBlockError
from storage.fetch import carried, fetch
from storage.keys import DEFAULT, SegmentKey
from storage.kv.contract import Batch, Item, KeyValueStore, LogEvidence
from storage.model import BULK, GapReason, KeyRange, StreamConfig
from storage.pointer import InChunk, Inline, Pointer
from storage.records import SegmentLayout, SegmentRecord, StreamRecord
from storage.transactions.record import is_shadow

_DETAIL = "hit in the write-ahead log"


@dataclass(slots=True)
class _Found:
    """What the logs hold, sorted by kind, all of it checked."""

    records: dict[int, CommitRecord] = field(default_factory=dict)
    blocks: dict[int, tuple[bytes, bytes, BlockHeader]] = field(default_factory=dict)
    """Whole blocks by checksum: key, bytes, header."""
    hit: dict[bytes, BlockHeader] = field(default_factory=dict)
    """Blocks whose body was hit and whose header was not, by key."""
    gaps: dict[bytes, tuple[bytes, GapRecord]] = field(default_factory=dict)
    pointers: dict[bytes, bytes] = field(default_factory=dict)
    """Whole pointers, by key."""
    tables: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    """Newest sealed value of each key: commit and raw value."""


def _sort(puts: tuple[Item, ...]) -> _Found:
    found = _Found()
    for key, value in puts:
        try:
            if value[:4] == COMMIT_MAGIC:
                record = CommitRecord.decode(value)
                found.records[record.number] = record
            elif value[:4] == block.MAGIC and len(key) == 20:
                header = block.parse_header(value)
                raw = value[: header.size_bytes]
                try:
                    block.verify(raw, header)
                    found.blocks[block.checksum(raw)] = (key, raw, header)
                except DamagedBlockError:
                    found.hit[key] = header
            elif value[:4] == pointer.MAGIC and len(key) == 20:
                if isinstance(Pointer.decode(value).place, Inline):
                    carried(value)
                found.pointers[key] = value
            elif value[:4] == GAP_MAGIC and len(key) == 20:
                found.gaps[key] = (value, GapRecord.decode(value))
            else:
                commit, _ = unseal(key, value)
                if commit >= found.tables.get(key, (0, b""))[0]:
                    found.tables[key] = (commit, value)
        except DamagedBlockError:
            continue
    return found


def read_chain(kv: KeyValueStore, catalog: Catalog, after: int) -> dict[int, CommitRecord]:
    """Every commit record behind `after` that the engine finds and that checks."""
    records: dict[int, CommitRecord] = {}
    for name in sorted(name for name in kv.families() if name.startswith("chain-")):
        start = keys.chain(after + 1)
        while items := kv.scan(name, start, None):
            for _, value in items:
                try:
                    record = CommitRecord.decode(value)
                except DamagedBlockError:
                    continue
                records[record.number] = record
            start = items[-1][0] + b"\0"
    return records


class Salvage:
    """One opening's search for holes. `lines` says in words what was found and done, one line each."""

    def __init__(self, kv: KeyValueStore, catalog: Catalog, store: UUID, evidence: LogEvidence) -> None:
        self._kv = kv
        self._catalog = catalog
        self._store = store
        self._evidence = evidence
        self._found = _sort(evidence.puts)
        self._batch = Batch()
        self._changes = Changes()
        self._put_back: dict[SegmentKey, list[tuple[int, int]]] = {}
        self.lines: list[str] = [f"the write-ahead log is damaged: {what}" for what in evidence.damage]

    def close_holes(self) -> CommitRecord | None:
        """Find and close them, durable when it returns. The newest commit record, None in an empty store."""
        verified = 0 if self._catalog.node is None else self._catalog.node.verified
        records = read_chain(self._kv, self._catalog, verified)
        newest = max(
            [verified, *records, *self._found.records]
            + [h.commit for _, _, h in self._found.blocks.values() if h.store == self._store]
            + [h.commit for h in self._found.hit.values() if h.store == self._store]
            + [commit for commit, _ in self._found.tables.values()]
        )
        holes = [number for number in range(verified + 1, newest + 1) if number not in records]
        if not holes:
            if self._evidence.damage:
                self.lines.append("nothing that was committed is missing")
            return records[newest] if newest in records else self._settled_record(verified)
        self._apply_tables()
        claimed = {entry.checksum for record in records.values() for entry in record.stored}
        claimed |= {entry.checksum for record in self._found.records.values() for entry in record.stored}
        for number in range(holes[0], newest + 1):
            if number not in records:
                records[number] = self._mend(number, records, claimed, newest)
        self._write(newest)
        return records[newest]

    def _settled_record(self, number: int) -> CommitRecord | None:
        family = self._catalog.chain_family_of(number)
        raw = self._kv.get(family.name, keys.chain(number)) if family else None
        return CommitRecord.decode(raw) if raw else None

    def _mend(self, number: int, records: dict[int, CommitRecord], claimed: set[int], newest: int) -> CommitRecord:
        """The record that takes the place of a missing one, with its blocks and gaps put into the batch."""
        known = self._found.records.get(number)
        entries: list[ChainEntry] = []
        lost = 0
        if known is not None:
            entries += [entry for entry in known.entries if entry.kind == LAYOUT]
            for entry in known.stored:
                if entry.start < self._start_of(entry):
                    entries.append(entry)  # It was given up since.
                    continue
                mended = self._restore(entry, number)
                lost += mended.kind == GAP and entry.kind in (BLOCK, POINTER)
                entries.append(mended)
            if not lost:
                self._batch.put(self._chain_family(number), keys.chain(number), known.encode())
                self.lines.append(f"commit {number}: found whole in the log and written again")
                self._settle_segments(known)
                return known
        else:
            entries = self._entries_of(number, claimed)
        entries += self._between(number, records, newest)
        successor = records.get(number + 1) or self._found.records.get(number + 1)
        like = known or successor or records.get(number - 1)
        checksum = known.checksum if known is not None else successor.previous if successor is not None else 0
        previous = records[number - 1].checksum if number - 1 in records else known.previous if known else 0
        record = CommitRecord(
            number,
            previous,
            like.opening if like else 0,
            like.boot if like else UUID(int=0),
            like.boot_ns if like else 0,
            like.wall_ns if like else 0,
            tuple(entries),
            STAND_IN,
            checksum,
        )
        self._batch.put(self._chain_family(number), keys.chain(number), record.encode())
        for entry in entries:
            if entry.kind == GAP:
                name = self._name_of(entry.stream)
                count = "an unknown number of" if entry.events == UNKNOWN_EVENTS else str(entry.events)
                self.lines.append(
                    f"commit {number}: {name} lost bytes {entry.start} to {entry.start + entry.length} "
                    f"({count} events); a gap record says so"
                )
        if not any(entry.kind == GAP for entry in entries):
            self.lines.append(f"commit {number}: its record was hit, nothing of what it wrote")
        self._settle_segments(record)
        return record

    def _start_of(self, entry: ChainEntry) -> int:
        key = SegmentKey(entry.stream, entry.segment, entry.epoch)
        return self._catalog.segments.get(key, SegmentRecord()).start

    def _restore(self, entry: ChainEntry, number: int) -> ChainEntry:
        """Put an entry that a commit record names back, or a gap in its place."""
        key = keys.block(SegmentKey(entry.stream, entry.segment, entry.epoch), entry.start)
        family = f"telemetry-{entry.generation:08d}"
        if entry.kind == BLOCK and entry.checksum in self._found.blocks:
            _, raw, header = self._found.blocks[entry.checksum]
            self._put_block(family, key, raw)
            self._know(entry, header)
            return entry
        led = self._found.pointers.get(key)
        if entry.kind == POINTER and led is not None and Pointer.decode(led).checksum == entry.checksum:
            self._put_block(family, key, led)
            self._know_led(entry, led)
            return entry
        found_again = led_back(self._kv, self._catalog, entry) if entry.kind == POINTER else None
        if found_again is not None:
            self._put_block(family, key, found_again)
            self._know_led(entry, found_again)
            return entry
        if entry.kind == GAP and key in self._found.gaps:
            self._put_block(family, key, self._found.gaps[key][0])
            return entry
        if entry.kind == REPLACED:
            thinned = GapRecord(GapReason.THINNED, entry.length, entry.events, 0, entry.checksum)
            self._put_block(family, key, self._found.gaps.get(key, (thinned.encode(), thinned))[0])
            return entry
        header_hit = self._found.hit.get(key)
        if header_hit is not None:
            self._know(entry, header_hit)
        gap = GapRecord(GapReason.DAMAGED, entry.length, entry.events, number, entry.checksum, _DETAIL)
        self._put_block(family, key, gap.encode())
        return replace(entry, kind=GAP)

    def _entries_of(self, number: int, claimed: set[int]) -> list[ChainEntry]:
        """The entries of a commit whose record was hit, from the blocks themselves."""
        entries = []
        for checksum, (key, raw, header) in self._found.blocks.items():
            ours = header.store == self._store
            if checksum in claimed or (ours and header.commit != number):
                continue
            segment = keys.block_segment(key)
            generation = self._generation_for(segment, keys.block_offset(key))
            if not ours and self._kv.get(f"telemetry-{generation:08d}", key) is not None:
                continue
            claimed.add(checksum)
            entry = ChainEntry(
                *segment, BLOCK, generation, keys.block_offset(key), header.raw_bytes, header.events, checksum
            )
            self._put_block(f"telemetry-{generation:08d}", key, raw)
            self._know(entry, header)
            entries.append(entry)
        for key, raw in self._found.pointers.items():
            led, segment = Pointer.decode(raw), keys.block_segment(key)
            stream = self._catalog.by_number.get(segment.stream)
            if led.commit != number or led.checksum in claimed or (stream is not None and stream.origin is not None):
                continue
            claimed.add(led.checksum)
            start = keys.block_offset(key)
            generation = self._generation_for(segment, start)
            self._put_block(f"telemetry-{generation:08d}", key, raw)
            entry = ChainEntry(*segment, POINTER, generation, start, led.length, led.events, led.checksum)
            self._know_led(entry, raw)
            entries.append(entry)
        return sorted(entries, key=lambda entry: (entry.stream, entry.segment, entry.epoch, entry.start))

    def _between(self, number: int, records: dict[int, CommitRecord], newest: int) -> list[ChainEntry]:
        """Gaps that only the neighbours tell of: what no commit up to the next known one accounts for.

        They are put into the last commit of a run of holes.
        """
        if number + 1 <= newest and number + 1 not in records:
            return []
        gaps = []
        seen: set[SegmentKey] = set()
        for later in range(number + 1, newest + 1):
            for entry in records[later].stored if later in records else ():
                key = SegmentKey(entry.stream, entry.segment, entry.epoch)
                if key in seen:
                    continue
                seen.add(key)
                end = self._end_before(key, entry.start)
                if end >= entry.start:
                    continue
                generation = self._generation_for(key, end)
                gap = GapRecord(GapReason.DAMAGED, entry.start - end, None, number, 0, _DETAIL)
                self._put_block(f"telemetry-{generation:08d}", keys.block(key, end), gap.encode())
                gaps.append(ChainEntry(*key, GAP, generation, end, entry.start - end, UNKNOWN_EVENTS, 0))
        return gaps

    def _end_before(self, key: SegmentKey, offset: int) -> int:
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

    # the tables

    def _apply_tables(self) -> None:
        """Take over table entries from the logs where they are newer than what the engine found."""
        for key, (commit, value) in sorted(self._found.tables.items(), key=lambda item: item[1][0]):
            current = self._kv.get(DEFAULT, key)
            if current is not None and unseal(key, current)[0] >= commit:
                continue
            self._batch.put(DEFAULT, key, value)
            parse_entry(key, unseal(key, value)[1], self._changes)
        self._catalog.apply(self._changes)
        for name in self._changes.families:
            self._kv.create_family(name)

    def _settle_segments(self, record: CommitRecord) -> None:
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
        self._merge(changes)

    def _know_led(self, entry: ChainEntry, led: bytes) -> None:
        """The same of the block that a pointer leads to, where that is there."""
        try:
            header = block.parse_header(fetch(self._kv, led))
        except DamagedBlockError:
            return
        kind = BULK if isinstance(Pointer.decode(led).place, InChunk) else StreamConfig().kind
        self._know(entry, header, kind)

    def _know(self, entry: ChainEntry, header: BlockHeader, kind: str = StreamConfig().kind) -> None:
        """What a block's header says of its stream and writers, where the tables have lost it."""
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
        self._merge(changes)

    def _merge(self, changes: Changes) -> None:
        self._catalog.apply(changes)
        self._changes.streams.update(changes.streams)
        self._changes.segments.update(changes.segments)
        self._changes.segment_starts.update(changes.segment_starts)
        self._changes.writers.update(changes.writers)
        self._changes.throughs.update(changes.throughs)

    def _write(self, newest: int) -> None:
        for key, payload in self._changes.entries():
            self._batch.put(DEFAULT, key, seal(key, newest, payload))
        self._kv.write(self._batch)
        self._kv.sync()

    # places

    def _put_block(self, family: str, key: bytes, raw: bytes) -> None:
        self._kv.create_family(family)
        self._batch.put(family, key, raw)
        self._put_back.setdefault(keys.block_segment(key), []).append((keys.block_offset(key), entry_length(raw)))

    def _chain_family(self, number: int) -> str:
        family = self._catalog.chain_family_of(number)
        name = family.name if family is not None else "chain-00000001"
        self._kv.create_family(name)
        return name

    def _generation_for(self, segment: SegmentKey, offset: int) -> int:
        """Where readers will look for an entry at `offset`."""
        holding = self._catalog.generation_of(segment, offset)
        newest = self._catalog.newest_family("telemetry")
        return holding if holding is not None else newest.number if newest is not None else 1

    def _name_of(self, stream: int) -> str:
        known = self._catalog.owner(stream)
        return repr(known.name) if known is not None else f"stream number {stream}"
