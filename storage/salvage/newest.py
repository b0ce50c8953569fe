"""The newest commits, where they are gone without a trace but for the witness: told, and their offsets not used again.

What comes next gets commit numbers and offsets behind what was lost, for an upstream may hold it: the chain begins anew,
each segment that was longer gets a gap record up to where it ended. What upstream holds of that, it keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from storage import keys
from storage.catalog import Catalog
from storage.chain import GAP, STAND_IN, UNKNOWN_EVENTS, CommitRecord, GapRecord
from storage.group import Group
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.model import GapReason, is_internal
from storage.records import SegmentRecord
from storage.salvage.report import LostRange, SalvageReport
from storage.witness import Testimony, recall

MARGIN_COMMITS = 1 << 20
"""Numbers passed over where more may be lost than the witness knows of: more than one machine commits in a minute."""
WHY = "the newest log is missing or cut short"


@dataclass(frozen=True, slots=True)
class Newest:
    """Commits behind `commit` are gone, up to `told.commit` at least."""

    commit: int
    told: Testimony
    exact: bool

    @property
    def last(self) -> CommitRecord:
        """What stands in for the newest commit there ever was."""
        number = self.told.commit + (0 if self.exact else MARGIN_COMMITS)
        return CommitRecord(number, 0, self.told.opening, self.told.boot, 0, 0, (), STAND_IN)

    def _grown(self, catalog: Catalog) -> list[tuple[SegmentKey, SegmentRecord, int, int]]:
        """Segments that were longer: as they are, how long, and how many events they had."""
        found = []
        for key, (length, events) in self.told.segments.items():
            record = catalog.segments.get(key, SegmentRecord())
            if length > record.length:
                found.append((key, record, length, events))
        return found

    def tell(self, catalog: Catalog, report: SalvageReport) -> None:
        count = self.told.commit - self.commit
        least = "" if self.exact else "at least "
        report.say(f"{WHY}: {least}{count} commits are lost, {self.commit + 1} to {self.told.commit}")
        if not self.told.all_told:
            report.say("more segments were written to than the witness could list: what they lost is not known")
        for key, record, length, events in self._grown(catalog):
            stream = catalog.by_number.get(key.stream)
            name = f"stream number {key.stream}" if stream is None else stream.name
            lost = max(0, events - record.events) if self.exact else None
            report.lose(LostRange(name, key.segment, key.epoch, record.length, length, lost, WHY))

    def take(self, group: Group) -> None:
        """Put the gap records into the opening's commit. Mirrored streams get what is missing from where they come from,
        and the store's own go on from what they have.
        """
        for key, record, length, events in self._grown(group.catalog):
            stream = group.catalog.by_number.get(key.stream)
            layout = None if stream is None else stream.segment(key.segment, key.epoch)
            if stream is None or layout is None or not layout.open or stream.origin or is_internal(stream.name):
                continue
            lost = max(0, events - record.events) if self.exact else None
            gap = GapRecord(GapReason.DAMAGED, length - record.length, lost, group.number, 0, WHY)
            count = UNKNOWN_EVENTS if lost is None else lost
            group.builder(stream, layout).add_raw(GAP, gap.encode(), length - record.length, count, 0)


def newest_commit(kv: KeyValueStore, catalog: Catalog) -> int:
    """The last commit whose record can be read; where there is none, the last that a table speaks of."""
    found = catalog.newest_commit
    for name in kv.families():
        if name.startswith("chain-"):
            last = kv.last_before(name, keys.chain(0), keys.chain((1 << 64) - 1))
            found = max(found, 0 if last is None else int.from_bytes(last[0], "big"))
    return found


def find_missing(kv: KeyValueStore, store: UUID, boot: UUID, newest: int) -> tuple[Newest | None, Testimony | None]:
    """Commits behind `newest` that the witness knows of, and all that it tells."""
    told = recall(kv.witness, store)
    if told is None or told.commit <= newest:
        return None, told
    return Newest(newest, told, told.exact(boot)), told
