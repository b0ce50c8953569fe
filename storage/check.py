"""The consistency checker: everything the format promises, looked at on disk. It changes nothing.

It is what `edge check` runs and what every crash test ends with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

from storage import block
from storage.boots import Timeline
from storage.catalog import Catalog
from storage.chain import GAP_MAGIC, CommitRecord, GapRecord
from storage.entry import head
from storage.errors import DamagedBlockError
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.pointer import BEGINS, ENDS, InChunk, Pointer
from storage.pointer import MAGIC as POINTER_MAGIC
from storage.reading import SegmentScan
from storage.records import SegmentLayout, SegmentRecord, StreamRecord
from storage.transactions.record import shadow_stream


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found. An `error` is damage; a `note` is worth knowing. `where` says exactly which range."""

    severity: str
    where: str
    what: str


@dataclass(slots=True)
class CheckReport:
    """What was looked at, and what was found."""

    commits: int = 0
    streams: int = 0
    blocks: int = 0
    events: int = 0
    gaps: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """No damage. Gap records are no damage: they say what is known to be gone."""
        return not any(finding.severity == "error" for finding in self.findings)

    def error(self, where: str, what: str) -> None:
        self.findings.append(Finding("error", where, what))

    def note(self, where: str, what: str) -> None:
        self.findings.append(Finding("note", where, what))


def check(kv: KeyValueStore, store: UUID, damage: tuple[str, ...] = ()) -> CheckReport:
    """Check a store that nobody writes to meanwhile. `damage` is what was found in its logs and not mended yet."""
    report = CheckReport()
    for what in damage:
        report.error("files", f"{what}; opening the store for writing salvages what it can")
    try:
        catalog = Catalog.load(kv)
    except DamagedBlockError as error:
        report.error("tables", str(error))
        return report
    if catalog.node is None:
        report.note("node", "the store is empty")
        return report
    if catalog.node.store != store:
        report.error("node", f"the tables belong to store {catalog.node.store}, FORMAT names {store}")
    _check_boots(catalog, report)
    entries = _check_chain(kv, catalog, report)
    for stream in catalog.streams.values():
        report.streams += 1
        writers: dict[str, _Last] = {}
        for layout in stream.layout:
            _SegmentCheck(kv, catalog, stream, layout, store, report, entries).run(writers)
        _check_writers(kv, catalog, stream, writers, report)
    for transaction in catalog.open_transactions.values():
        for shadow in transaction.shadows:
            stream = shadow_stream(catalog.by_number[shadow.stream], shadow)
            for layout in stream.layout:
                _SegmentCheck(kv, catalog, stream, layout, store, report, entries).run({})
    _check_chunks(kv, catalog, report)
    return report


def _check_boots(catalog: Catalog, report: CheckReport) -> None:
    """Boots of a store are in an order, and each ran forward."""
    for store, timeline in catalog.timelines.items():
        for before, boot in pairwise(timeline.boots):
            if before.number == boot.number:
                report.error(f"boots of store {store}", f"{before.id} and {boot.id} are both number {boot.number}")
        for boot in timeline.boots:
            if boot.last_ns < boot.first_ns:
                report.error(
                    f"boot {boot.id} of store {store}", f"ends at {boot.last_ns} and begins at {boot.first_ns}"
                )


def _check_chunks(kv: KeyValueStore, catalog: Catalog, report: CheckReport) -> None:
    """Every chunk that pointers name is there in full. What is too much, the next opening cuts off."""
    for number, record in catalog.chunks.items():
        held = kv.chunks.size(number)
        if record.size_bytes > (held or 0):
            what = "is missing" if held is None else f"ends at byte {held}"
            report.error(f"chunk {number}", f"{what}, {record.size_bytes} bytes of it are named")


def _check_chain(kv: KeyValueStore, catalog: Catalog, report: CheckReport) -> dict[tuple[SegmentKey, int], int]:
    """Walk the whole chain. The checksum of every entry it names, by segment and offset."""
    entries: dict[tuple[SegmentKey, int], int] = {}
    previous: CommitRecord | None = None
    begins = 0 if catalog.node is None else catalog.node.chain
    for family in sorted((f for f in catalog.families.values() if f.kind == "chain"), key=lambda f: f.number):
        start = b""
        while items := kv.scan(family.name, start, None):
            for key, raw in items:
                number = int.from_bytes(key, "big")
                try:
                    record = CommitRecord.decode(raw)
                except DamagedBlockError as error:
                    if number >= begins:
                        report.error(f"commit {number}", str(error))
                    previous = None
                    continue
                report.commits += 1
                if record.number != number:
                    report.error(f"commit {number}", f"its record says {record.number}")
                if record.number <= begins:
                    pass  # What lies before was given up, and may have come back in part.
                elif previous is not None and record.number != previous.number + 1:
                    report.error(f"commits {previous.number + 1} to {record.number - 1}", "missing from the chain")
                elif previous is not None and record.previous != previous.checksum:
                    report.error(f"commit {number}", "does not follow the commit before it")
                if record.stands_in:
                    report.note(f"commit {number}", "was damaged, and was mended when the store was opened")
                for entry in record.stored:
                    entries[SegmentKey(entry.stream, entry.segment, entry.epoch), entry.start] = entry.checksum
                previous = record
            start = items[-1][0] + b"\0"
    return entries


class _Last(NamedTuple):
    """The highest number of a writer among the events that are there, and the commit that wrote it."""

    number: int
    commit: int


def _check_writers(
    kv: KeyValueStore, catalog: Catalog, stream: StreamRecord, found: dict[str, _Last], report: CheckReport
) -> None:
    """A number may only be ahead of the events where some of them are gone, or were given up since."""
    table = catalog.writers.get(stream.number, {})
    scans = [SegmentScan(kv, catalog, stream.key(layout)) for layout in stream.layout]
    gaps = sum(scan.record.gaps for scan in scans)
    given_up = max(map(_given_up_through, scans), default=0)
    for writer, last in found.items():
        if writer not in table or table[writer] == last.number:
            continue
        if table[writer] < last.number or not (gaps or given_up >= last.commit):
            where = f"{stream.name}, writer {writer}"
            report.error(where, f"the table says number {table[writer]}, the events end at {last.number}")


def _given_up_through(scan: SegmentScan) -> int:
    """The newest commit that may have written something that a segment has given up, 0 where it gave up nothing."""
    record = scan.record
    if record.start == 0:
        return 0
    found = scan.entry_at(record.start) if record.start < record.length else None
    try:
        return record.last_commit if found is None else head(found[1]).commit - 1
    except DamagedBlockError:
        return record.last_commit


class _SegmentCheck:
    """One segment: its entries follow each other, and everything said of them elsewhere is so."""

    def __init__(
        self, kv: KeyValueStore, catalog: Catalog, stream: StreamRecord, layout: SegmentLayout, store: UUID,
        report: CheckReport, entries: dict[tuple[SegmentKey, int], int],
    ) -> None:  # fmt: skip
        self._catalog = catalog
        self._stream = stream
        self._key = stream.key(layout)
        self._scan = SegmentScan(kv, catalog, self._key)
        self._report = report
        self._entries = entries
        mirror = catalog.mirrors.get(stream.origin[0]) if stream.origin is not None else None
        self._store = store if stream.origin is None else mirror.store if mirror is not None else None
        self._offset = 0
        self._checksum: int | None = None
        self._ordinal: int | None = None
        self._inside: int | None = None
        """The commit of the transaction that has begun, and not ended yet."""
        self._nobodys: dict[UUID, int] = {}
        """Boots that nobody knows (any more), and how many events were captured in them."""

    def run(self, writers: dict[str, _Last]) -> None:
        record = self._scan.record
        self._offset = record.start
        if record.start == 0:
            self._checksum, self._ordinal = 0, 0
        gaps = 0
        while self._offset < record.length:
            items = self._scan.entries_from(self._offset)
            if not items:
                self._report.error(self._where(self._offset, record.length), "nothing is stored there")
                return
            for start, raw in items:
                if start != self._offset:
                    self._report.error(self._where(self._offset, start), "nothing is stored there")
                    self._checksum = self._ordinal = None
                gaps += raw[:4] == GAP_MAGIC
                self._offset = start + self._entry(start, raw, writers)
        self._end(record, gaps)

    def _where(self, start: int, end: int) -> str:
        return f"{self._stream.name}/{self._key.segment}.{self._key.epoch} bytes {start} to {end}"

    def _entry(self, start: int, raw: bytes, writers: dict[str, _Last]) -> int:
        """Check one entry; its length in offsets."""
        try:
            if raw[:4] == GAP_MAGIC:
                return self._gap(start, GapRecord.decode(raw))
            at = head(raw)
            whole = self._scan.fetch(raw)
            header = block.parse_header(whole)
            frames = block.frames(whole, header)
        except DamagedBlockError as error:
            following = self._scan.entries_from(start + 1, limit=1)
            end = following[0][0] if following else self._scan.record.length
            self._report.error(self._where(start, end), str(error))
            self._checksum = self._ordinal = self._inside = None
            return max(1, end - start)
        where = self._where(start, start + at.length)
        checksum = at.checksum
        if self._entries.get((self._key, start), checksum) != checksum:
            self._report.error(where, "is not the block that the commit chain names")
        if self._checksum is not None and at.previous != self._checksum:
            self._report.error(where, "does not follow the block before it")
        if self._ordinal is not None and at.first_event != self._ordinal:
            self._report.error(where, f"begins with event {at.first_event}, expected {self._ordinal}")
        if header.incarnation != self._stream.incarnation or (self._store is not None and header.store != self._store):
            self._report.error(where, "belongs to another stream or store")
        if self._inside is not None and (at.commit != self._inside or at.flags & BEGINS):
            self._report.error(where, "stands inside a transaction that it is not of")
        if at.flags & (BEGINS | ENDS):
            self._inside = None if at.flags & ENDS else at.commit
        events = sum(len(frame.payloads) for frame in frames)
        if not events == header.events == at.events or header.raw_bytes != at.length:
            self._report.error(where, f"holds {events} events, its header says {header.events}")
        self._in_chunk(where, start, raw)
        for span in header.writers:
            last = _Last(span.last, at.commit)
            writers[span.writer] = max(last, writers.get(span.writer, last))
        if self._catalog.timelines.get(header.store, Timeline()).number(header.boot) is None:
            self._nobodys[header.boot] = self._nobodys.get(header.boot, 0) + events
        self._report.blocks += 1
        self._report.events += events
        self._checksum, self._ordinal = checksum, (at.first_event or 0) + events
        return at.length

    def _in_chunk(self, where: str, start: int, raw: bytes) -> None:
        """What lies in a chunk lies in what its record says is named, under the offsets that it says."""
        place = Pointer.decode(raw).place if raw[:4] == POINTER_MAGIC else None
        if isinstance(place, InChunk):
            record = self._catalog.chunks.get(place.chunk)
            if record is None or record.segment != self._key or place.offset >= record.size_bytes:
                self._report.error(where, f"lies in chunk {place.chunk}, whose record does not know of it")
            elif not record.first <= start < record.end:
                self._report.error(where, f"lies in chunk {place.chunk}, which is for {record.first} to {record.end}")

    def _gap(self, start: int, gap: GapRecord) -> int:
        count = "an unknown number of" if gap.events is None else str(gap.events)
        where = self._where(start, start + gap.length)
        self._report.note(where, f"gap, {gap.reason.name.lower()}: {count} events {gap.detail}".rstrip())
        self._report.gaps += 1
        self._inside = None
        self._checksum = gap.replaces or None
        known = gap.events is not None and self._ordinal is not None
        self._ordinal = (self._ordinal or 0) + (gap.events or 0) if known else None
        return gap.length

    def _end(self, record: SegmentRecord, gaps: int) -> None:
        where = self._where(record.start, record.length)
        if self._offset != record.length:
            self._report.error(where, f"its last entry ends at {self._offset}")
        if self._checksum is not None and self._checksum != record.checksum and record.length:
            self._report.error(where, "the table names another block as its last")
        if self._ordinal is not None and self._ordinal != record.events:
            self._report.error(where, f"the table counts {record.events} events, there are {self._ordinal}")
        if self._inside is not None:
            self._report.error(where, f"the transaction of commit {self._inside} does not end")
        for boot, events in self._nobodys.items():
            self._report.note(
                where, f"{events} events of boot {boot}, of which nothing is known: their times are guesses"
            )
        if gaps != record.gaps:
            self._report.error(where, f"the table counts {record.gaps} gaps, there are {gaps}")
