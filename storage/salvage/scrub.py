"""What of a segment can't be read, found and turned into gap records, so that readers, upstreams and the check agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from storage import block, entry, keys
from storage.catalog import Catalog
from storage.chain import GAP, REPLACED, UNKNOWN_EVENTS, ChainEntry, CommitRecord, GapRecord
from storage.committer import Committer
from storage.errors import DamagedBlockError
from storage.group import Group
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.model import GapReason, Receipt
from storage.reading import SegmentScan
from storage.retention.drops import Edit
from storage.salvage.report import LostRange, SalvageReport
from storage.ticket import Ticket

GAPS_AT_ONCE = 4000
"""Gap records of one commit."""
STEP_BYTES = 16 << 20
NOTHING = "nothing is stored there"


class Missing(NamedTuple):
    """Offsets [`start`, `end`) that can't be read. `replaces`: the checksum of the last block that lay there, 0: unknown.

    `commit` wrote it, or what follows it.
    """

    segment: SegmentKey
    start: int
    end: int
    events: int | None
    commit: int
    replaces: int
    why: str


def missing_in(scan: SegmentScan, start: int, end: int) -> Iterator[Missing]:
    """What of [start, end) can't be read, in order: entry by entry, and what lies between two that can. Reads all of it."""
    key, record = scan.key, scan.record
    start, end = max(start, record.start), min(end, record.length)
    offset, why = start, NOTHING
    ordinal: int | None = 0 if start == 0 else None
    for at, raw in scan.between(start, end):
        try:
            head = entry.head(raw)
        except DamagedBlockError as error:
            why = str(error)
            continue
        if at < offset:
            continue  # A gap record covers it.
        if at > offset:
            between = None if ordinal is None or head.first_event is None else head.first_event - ordinal
            yield Missing(key, offset, at, between, head.commit, head.previous or 0, why)
            why, ordinal = NOTHING, None
        offset = at + head.length
        if head.kind != GAP:
            try:
                whole = scan.fetch(raw)
                block.verify(whole, block.parse_header(whole))
            except DamagedBlockError as error:
                yield Missing(key, at, offset, head.events, head.commit, head.checksum, str(error))
        first = ordinal if head.first_event is None else head.first_event
        ordinal = None if first is None or head.events is None else first + head.events
    if offset < end:
        at_end = end == record.length
        events = record.events - ordinal if at_end and ordinal is not None else None
        yield Missing(key, offset, end, events, record.last_commit, record.checksum if at_end else 0, why)


@dataclass(slots=True)
class Scrub:
    """Ranges of segments looked through in bounded steps. What is found missing is told, and becomes gap records."""

    kv: KeyValueStore
    catalog: Catalog
    report: SalvageReport
    found: list[Missing] = field(default_factory=list)

    def look(self, ranges: Sequence[tuple[SegmentKey, int, int]]) -> None:
        """Look through [start, end) of these segments."""
        for key, start, end in ranges:
            self.found += missing_in(SegmentScan(self.kv, self.catalog, key), start, end)

    def take(self, group: Group) -> None:
        """Put gap records for what was found into a commit, as many as one may have."""
        now, self.found = self.found[:GAPS_AT_ONCE], self.found[GAPS_AT_ONCE:]
        for each in now:
            generation = self.catalog.generation_of(each.segment, each.start)
            if generation is None:
                continue
            count = UNKNOWN_EVENTS if each.events is None else each.events
            length = each.end - each.start
            named = ChainEntry(*each.segment, REPLACED, generation, each.start, length, count, each.replaces)
            gap = GapRecord(GapReason.DAMAGED, length, each.events, each.commit, each.replaces, each.why)
            group.replace_entry(named, gap.encode())
            gaps = group.edits.get(each.segment, Edit(0, 0)).gaps
            group.edits[each.segment] = Edit(0, gaps + 1)
            owner = self.catalog.owner(each.segment.stream)
            name = f"stream number {each.segment.stream}" if owner is None else owner.name
            self.report.lose(
                LostRange(name, each.segment.segment, each.segment.epoch, each.start, each.end, each.events, each.why)
            )

    def submitted(self, group: Group, ticket: Ticket) -> None:
        """The same as a submission of its own."""
        self.take(group)
        group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))


class Scrubber:
    """The whole store looked through once more and again, a bounded piece at each step."""

    def __init__(self, kv: KeyValueStore, catalog: Catalog, committer: Committer, report: SalvageReport) -> None:
        self._kv = kv
        self._catalog = catalog
        self._committer = committer
        self._scrub = Scrub(kv, catalog, report)
        self._left: list[SegmentKey] = []
        self._reached = 0
        self._commit: int | None = None
        """Where the look through the chain goes on; None: it is done."""

    def step(self) -> bool:
        """Look at the next `STEP_BYTES` of offsets. False where all was looked at: the next step begins from the front."""
        if self._scrub.found:
            self._committer.submit(Ticket(self._committer), self._scrub.submitted, 0).result()
            return True
        if self._commit is not None:
            self._look_at_chain(self._commit)
            return True
        if not self._left:
            self._left = [*sorted(self._catalog.segments, reverse=True)]
            self._reached = 0
            self._commit = max(1, 0 if self._catalog.node is None else self._catalog.node.chain)
            return bool(self._left)
        key = self._left[-1]
        scan = SegmentScan(self._kv, self._catalog, key)
        start = max(self._reached, scan.record.start)
        end = min(start + STEP_BYTES, scan.record.length)
        if start < end:
            self._scrub.look([(key, start, end)])
            self._reached = _behind(scan, end)
        if self._reached >= scan.record.length or start >= end:
            self._left.pop()
            self._reached = 0
        return bool(self._left or self._scrub.found)

    def _look_at_chain(self, begin: int) -> None:
        """The next commit records. Where some can't be read, the chain begins behind them: what they wrote is not touched."""
        newest = self._committer.last_commit
        family = self._catalog.chain_family_of(begin)
        items = [] if family is None else self._kv.scan(family.name, keys.chain(begin), keys.chain(newest + 1))
        number = begin
        for key, raw in items:
            if keys.number(key) != number or not _reads(raw):
                break
            number += 1
        if (items and number == keys.number(items[-1][0]) + 1) or begin > newest:
            self._commit = number if begin <= newest else None
            return
        following = [keys.number(key) for key, raw in items if keys.number(key) > number and _reads(raw)]
        later = [each.first for each in self._catalog.families.values() if each.kind == "chain" and each.first > number]
        self._commit = min([*following, *later, newest + 1])
        self._begin_behind(number, self._commit)

    def _begin_behind(self, first: int, begin: int) -> None:
        def take(group: Group, ticket: Ticket) -> None:
            node = self._catalog.node
            if node is not None:
                group.changes.node = replace(node, chain=max(node.chain, begin))
            group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))

        self._committer.submit(Ticket(self._committer), take, 0).result()
        self._scrub.report.say(f"commit records {first} to {begin - 1} can't be read: what they wrote is not touched")


def _reads(raw: bytes) -> bool:
    try:
        CommitRecord.decode(raw)
    except DamagedBlockError:
        return False
    return True


def _behind(scan: SegmentScan, offset: int) -> int:
    """`offset`, or the end of the entry that it lies in."""
    found = scan.entry_at(offset)
    try:
        return offset if found is None else max(offset, found[0] + entry.length(found[1]))
    except DamagedBlockError:
        return offset
