"""The newest commits, where they are gone without a trace but for the witness: told, and their offsets not used again.

What comes next gets commit numbers and offsets behind what was lost, for an upstream may hold it: the chain begins anew,
each segment that was longer gets a gap record up to where it ended. What upstream holds of that, it keeps. Bulk lies in
chunks and not in the log: blocks that are still there whole are led back first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from storage import keys
from storage.block import BlockHeader
from storage.bulk.chunks import ChunkRecord
from storage.bulk.leading import UnledBlocks
from storage.catalog import Catalog
from storage.chain import GAP, POINTER, STAND_IN, UNKNOWN_EVENTS, CommitRecord, GapRecord
from storage.group import Group
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.model import BULK, GapReason, is_internal
from storage.pointer import Pointer
from storage.records import SegmentLayout, SegmentRecord, StreamRecord
from storage.salvage.report import LostRange, SalvageReport
from storage.witness import Testimony, recall

MARGIN_COMMITS = 1 << 20
"""Numbers passed over where more may be lost than the witness knows of: more than one machine commits in a minute."""
WHY = "the newest log is missing or cut short"


@dataclass(frozen=True, slots=True)
class _Grown:
    """A segment that was longer: as it is, what of it lies whole in chunks, how long it was and how many events it had."""

    key: SegmentKey
    record: SegmentRecord
    blocks: Sequence[tuple[Pointer, BlockHeader]]
    length: int
    events: int

    @property
    def led_back_to(self) -> tuple[int, int]:
        """Its length and its events with the blocks that are led back."""
        return (
            self.record.length + sum(pointer.length for pointer, _ in self.blocks),
            self.record.events + sum(pointer.events for pointer, _ in self.blocks),
        )


@dataclass(slots=True)
class Newest:
    """Commits behind `commit` are gone, up to `told.commit` at least."""

    commit: int
    told: Testimony
    exact: bool
    chunks: dict[int, ChunkRecord] = field(default_factory=dict)
    """The records of chunks to which pointers are led back."""
    _grown: list[_Grown] = field(default_factory=list)

    @property
    def last(self) -> CommitRecord:
        """What stands in for the newest commit there ever was."""
        number = self.told.commit + (0 if self.exact else MARGIN_COMMITS)
        return CommitRecord(number, 0, self.told.opening, self.told.boot, 0, 0, (), STAND_IN)

    def look(self, kv: KeyValueStore, catalog: Catalog, store: UUID) -> None:
        """Find what was longer, and what of it lies whole in chunks."""
        unled: UnledBlocks | None = None
        for key, (length, events) in self.told.segments.items():
            record = catalog.segments.get(key, SegmentRecord())
            if length <= record.length:
                continue
            grown = _Grown(key, record, (), length, events)
            stream, layout = _open_of(catalog, key)
            if stream is not None and layout is not None and stream.config.kind == BULK:
                unled = unled or UnledBlocks(kv, catalog, store)
                blocks = unled.behind(record, stream.incarnation, key, length if self.exact else None)
                self.chunks |= unled.records(key, record.length, [pointer for pointer, _ in blocks])
                grown = replace(grown, blocks=blocks)
            self._grown.append(grown)

    def tell(self, catalog: Catalog, report: SalvageReport) -> None:
        count = self.told.commit - self.commit
        least = "" if self.exact else "at least "
        report.say(f"{WHY}: {least}{count} commits are lost, {self.commit + 1} to {self.told.commit}")
        if not self.told.all_told:
            report.say("more segments were written to than the witness could list: what they lost is not known")
        for grown in self._grown:
            stream = catalog.by_number.get(grown.key.stream)
            name = f"stream number {grown.key.stream}" if stream is None else stream.name
            length, events = grown.led_back_to
            if grown.blocks:
                report.say(f"{name}: {len(grown.blocks)} blocks lie whole in chunks and were led back")
            if length < grown.length:
                lost = max(0, grown.events - events) if self.exact else None
                report.lose(LostRange(name, grown.key.segment, grown.key.epoch, length, grown.length, lost, WHY))

    def take(self, group: Group) -> None:
        """Put what is led back and the gap records into the opening's commit. Mirrored streams get what is missing from
        where they come from, and the store's own go on from what they have.
        """
        for grown in self._grown:
            stream, layout = _open_of(group.catalog, grown.key)
            if stream is None or layout is None:
                continue
            builder = group.builder(stream, layout)
            for pointer, header in grown.blocks:
                # Its place in the order is this commit's: those around the one that wrote it are gone.
                led = replace(pointer, commit=group.number)
                builder.add_raw(POINTER, led.encode(), led.length, led.events, led.checksum)
                for span in header.writers:
                    group.changes.writers[stream.number, span.writer] = span.last
            length, events = grown.led_back_to
            if length < grown.length:
                lost = max(0, grown.events - events) if self.exact else None
                gap = GapRecord(GapReason.DAMAGED, grown.length - length, lost, group.number, 0, WHY)
                count = UNKNOWN_EVENTS if lost is None else lost
                builder.add_raw(GAP, gap.encode(), gap.length, count, 0)


def _open_of(catalog: Catalog, key: SegmentKey) -> tuple[StreamRecord | None, SegmentLayout | None]:
    """A stream of this store and its segment, where what is missing of it is put in its place."""
    stream = catalog.by_number.get(key.stream)
    if stream is None or stream.origin or is_internal(stream.name):
        return None, None
    layout = stream.segment(key.segment, key.epoch)
    return stream, layout if layout is not None and layout.open else None


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
