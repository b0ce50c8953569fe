"""Closes holes in the commit chain, with what a damaged log still holds.

RocksDB skips up to 32 KiB of log for one flipped bit. Our own reader has collected what lies in the logs (`LogEvidence`);
every value there carries its own checksum, so each is judged alone. Commits found whole are written again as they were.
Of a commit that was hit, what checks is kept; a block that does not check becomes a gap record. The commit's own record
says which blocks there were; where that record is what was hit, the blocks say it themselves, and where neither can, the
neighbours in the segment do.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from storage import keys
from storage.bulk.leading import led_back
from storage.catalog import Catalog, Changes
from storage.chain import (
    BLOCK,
    GAP,
    LAYOUT,
    POINTER,
    REPLACED,
    STAND_IN,
    UNKNOWN_EVENTS,
    ChainEntry,
    CommitRecord,
    GapRecord,
)
from storage.errors import DamagedBlockError
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore, LogEvidence
from storage.model import GapReason
from storage.pointer import Pointer
from storage.records import SegmentRecord
from storage.salvage.found import sort
from storage.salvage.mending import Mending
from storage.salvage.report import LostRange, SalvageReport

_DETAIL = "hit in the files of the store"


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
    """One opening's search for holes. `report` says what was found and done."""

    def __init__(self, kv: KeyValueStore, catalog: Catalog, store: UUID, evidence: LogEvidence) -> None:
        self._kv = kv
        self._catalog = catalog
        self._store = store
        self._evidence = evidence
        self._found = sort(evidence)
        self._mending = Mending(kv, catalog, store)
        self.report = SalvageReport(list(evidence.damage))

    def close_holes(self) -> CommitRecord | None:
        """Find and close them, durable when it returns. The newest commit record, None in an empty store."""
        if self._evidence.whole:
            self._mending.apply_tables(self._found.tables)
        node = self._catalog.node
        verified = 0 if node is None else max(node.verified, node.chain - 1)
        if node is not None and self._evidence.whole:
            verified = max(0, node.chain - 1)
        if self._found.records:
            # A log that reaches further back than it should is as much to be closed as one that does not.
            verified = max(0, min(verified, min(self._found.records) - 1), 0 if node is None else node.chain - 1)
        records = read_chain(self._kv, self._catalog, verified)
        newest = max([verified, self._catalog.newest_commit, *records, self._found.newest_commit(self._store)])
        holes = [number for number in range(verified + 1, newest + 1) if number not in records]
        if not holes and not self._evidence.whole:
            if self._evidence.damage:
                self.report.say("nothing that was committed is missing")
            return records[newest] if newest in records else self._settled_record(verified)
        if not self._evidence.whole:
            self._mending.apply_tables(self._found.tables)
        claimed = {entry.checksum for record in records.values() for entry in record.stored}
        claimed |= {entry.checksum for record in self._found.records.values() for entry in record.stored}
        unknown = self._unknown(holes)
        for number in holes:
            if number not in unknown or number == newest:
                records[number] = self._mend(number, records, claimed, newest)
        if self._evidence.whole:
            self._put_back_all(records)
        if unknown:
            self._begin_chain_behind(unknown, records, newest)
        self._mending.write(newest)
        self.report.put_back, self.report.put_back_bytes = self._mending.put_back_entries, self._mending.put_back_bytes
        if self._evidence.whole:
            count, size = self.report.put_back, self.report.put_back_bytes
            self.report.say(f"{count} entries of {size} bytes were put back")
        return records.get(newest)

    def _unknown(self, holes: list[int]) -> set[int]:
        """Commits that were not hit in the log and whose records are gone. What they wrote is asked of the segments."""
        if self._evidence.damage and not self._evidence.whole:
            return set()
        return {number for number in holes if number not in self._found.records}

    def _begin_chain_behind(self, unknown: set[int], records: dict[int, CommitRecord], newest: int) -> None:
        last = max(unknown)
        for end in sorted(number for number in unknown if number + 1 not in unknown):
            for entry in self._between(end, records, newest):
                key = SegmentKey(entry.stream, entry.segment, entry.epoch)
                current = self._catalog.segments.get(key, SegmentRecord())
                self._mending.merge(Changes(segments={key: replace(current, gaps=current.gaps + 1)}))
                self._lose(entry, end)
        node = self._catalog.node
        if node is not None:
            self._mending.merge(Changes(node=replace(node, chain=max(node.chain, last + 1))))
        self.report.say(
            f"{len(unknown)} commit records from {min(unknown)} to {last} can't be read: what is there of what they wrote "
            "is not touched"
        )

    def _put_back_all(self, records: dict[int, CommitRecord]) -> None:
        """Put back whatever the evidence holds and the engine does not, and a gap where neither does."""
        for at, raw, header in list(self._found.blocks.values()):
            if not at or header.store != self._store:
                continue
            segment, offset = keys.block_segment(at), keys.block_offset(at)
            current = self._catalog.segments.get(segment, SegmentRecord())
            family = f"telemetry-{self._mending.generation_for(segment, offset):08d}"
            if current.start <= offset < current.length and not self._mending.has(family, at):
                self._mending.put(family, at, raw)
        gaps: dict[SegmentKey, int] = {}
        for number in sorted(records):
            for entry in records[number].stored:
                key = SegmentKey(entry.stream, entry.segment, entry.epoch)
                at = keys.block(key, entry.start)
                if entry.start < self._mending.start_of(entry) or self._mending.has(
                    f"telemetry-{entry.generation:08d}", at
                ):
                    continue
                restored = self._restore(entry, number)
                if restored.kind == GAP and entry.kind != GAP:
                    gaps[key] = gaps.get(key, 0) + 1
                    self._lose(entry, number)
        changes = Changes()
        for key, count in gaps.items():
            current = self._catalog.segments.get(key, SegmentRecord())
            changes.segments[key] = replace(current, gaps=current.gaps + count)
        self._mending.merge(changes)

    def _lose(self, entry: ChainEntry, number: int) -> None:
        self.report.lose(
            LostRange(
                self._mending.name_of(entry.stream),
                entry.segment,
                entry.epoch,
                entry.start,
                entry.start + entry.length,
                None if entry.events == UNKNOWN_EVENTS else entry.events,
                f"of commit {number}",
            )
        )

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
                if entry.start < self._mending.start_of(entry):
                    entries.append(entry)  # It was given up since.
                    continue
                mended = self._restore(entry, number)
                lost += mended.kind == GAP and entry.kind in (BLOCK, POINTER)
                entries.append(mended)
            if not lost:
                self._mending.put_record(known)
                self.report.say(f"commit {number}: found whole and written again")
                self._mending.settle_segments(known)
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
        self._mending.put_record(record)
        for entry in entries:
            if entry.kind == GAP:
                self._lose(entry, number)
        if not any(entry.kind == GAP for entry in entries):
            self.report.say(f"commit {number}: its record was hit, nothing of what it wrote")
        self._mending.settle_segments(record)
        return record

    def _restore(self, entry: ChainEntry, number: int) -> ChainEntry:
        """Put an entry that a commit record names back, or a gap in its place."""
        key = keys.block(SegmentKey(entry.stream, entry.segment, entry.epoch), entry.start)
        family = f"telemetry-{entry.generation:08d}"
        raw = self._from_evidence(entry, key)
        if raw is None:
            if entry.kind != REPLACED and self._mending.has(family, key):
                return entry  # Only the commit's record was hit.
            raw = led_back(self._kv, self._catalog, entry) if entry.kind == POINTER else None
        if raw is not None:
            self._mending.put(family, key, raw)
            self._mending.know(entry, raw)
            return entry
        header_hit = self._found.hit.get(key)
        if header_hit is not None:
            self._mending.know_header(entry, header_hit)
        gap = GapRecord(GapReason.DAMAGED, entry.length, entry.events, number, entry.checksum, _DETAIL)
        self._mending.put(family, key, gap.encode())
        return replace(entry, kind=GAP)

    def _from_evidence(self, entry: ChainEntry, key: bytes) -> bytes | None:
        """What of an entry lies whole in the evidence."""
        if entry.kind == BLOCK and entry.checksum in self._found.blocks:
            return self._found.blocks[entry.checksum][1]
        led = self._found.pointers.get(key)
        if entry.kind == POINTER and led is not None and Pointer.decode(led).checksum == entry.checksum:
            return led
        if entry.kind in (GAP, REPLACED) and key in self._found.gaps:
            return self._found.gaps[key][0]
        if entry.kind == REPLACED:
            return GapRecord(GapReason.THINNED, entry.length, entry.events, 0, entry.checksum).encode()
        return None

    def _entries_of(self, number: int, claimed: set[int]) -> list[ChainEntry]:
        """The entries of a commit whose record was hit, from the blocks themselves."""
        entries = []
        for checksum, (key, raw, header) in self._found.blocks.items():
            ours = header.store == self._store
            if not key or checksum in claimed or (ours and header.commit != number):
                continue
            segment = keys.block_segment(key)
            generation = self._mending.generation_for(segment, keys.block_offset(key))
            if not ours and self._kv.get(f"telemetry-{generation:08d}", key) is not None:
                continue
            claimed.add(checksum)
            entry = ChainEntry(
                *segment, BLOCK, generation, keys.block_offset(key), header.raw_bytes, header.events, checksum
            )
            self._mending.put(f"telemetry-{generation:08d}", key, raw)
            self._mending.know_header(entry, header)
            entries.append(entry)
        for key, raw in self._found.pointers.items():
            led, segment = Pointer.decode(raw), keys.block_segment(key)
            stream = self._catalog.by_number.get(segment.stream)
            if led.commit != number or led.checksum in claimed or (stream is not None and stream.origin is not None):
                continue
            claimed.add(led.checksum)
            start = keys.block_offset(key)
            generation = self._mending.generation_for(segment, start)
            self._mending.put(f"telemetry-{generation:08d}", key, raw)
            entry = ChainEntry(*segment, POINTER, generation, start, led.length, led.events, led.checksum)
            self._mending.know(entry, raw)
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
                end = max(self._mending.end_before(key, entry.start), self._mending.start_of(entry))
                if end >= entry.start:
                    continue
                generation = self._mending.generation_for(key, end)
                gap = GapRecord(GapReason.DAMAGED, entry.start - end, None, number, 0, _DETAIL)
                self._mending.put(f"telemetry-{generation:08d}", keys.block(key, end), gap.encode())
                gaps.append(ChainEntry(*key, GAP, generation, end, entry.start - end, UNKNOWN_EVENTS, 0))
        return gaps
