"""What a commit does with the shadows of one stream: pointers to their blocks become the end of the stream's segments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from storage import block, pointer
from storage.block import BlockHeader
from storage.boots import Timeline
from storage.bulk.writes import pointer_to
from storage.chain import POINTER
from storage.errors import DamagedBlockError, StreamSealedError, WriterNumberGapError
from storage.fetch import fetch_header
from storage.group import Group
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.model import BULK, Position
from storage.pointer import BEGINS, ENDS, InChunk, InGeneration, Inline, Place, Pointer
from storage.reading import SegmentScan
from storage.records import SegmentLayout, StreamRecord
from storage.scaling import check_segments, put_scale
from storage.transactions.record import Placed, segments_of_epoch

INLINE_BYTES = 256 << 10
"""Blocks of up to this much of one stream are carried by their pointers: leading to them would hardly take less, and
would keep a shadow alive for each."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A shadow segment with something in it: its entries, as the shadow holds them, and where."""

    layout: SegmentLayout
    entries: Sequence[tuple[int, bytes]]


def read_shadow(kv: KeyValueStore, group: Group, shadow: StreamRecord) -> list[Filled]:
    """All that one stream's shadows hold, what this commit adds to them included. Raises DamagedBlockError."""
    filled = []
    for layout in shadow.layout:
        key = shadow.key(layout)
        scan = SegmentScan(kv, group.catalog, key)
        entries = list(scan.between(0, group.durable(key)))
        entries += group.added(key)
        expected = 0
        for at, raw in entries:
            if at != expected:
                break
            expected += pointer_of(raw).length
        if expected != group.length(shadow, layout):
            raise DamagedBlockError(
                f"a transaction's data of {shadow.name!r} is not all there: abort it, and send it again"
            )
        if entries:
            filled.append(Filled(layout, entries))
    return filled


def pointer_of(raw: bytes) -> Pointer:
    """What an entry of a shadow says of its block. Raises DamagedBlockError, also for a gap record."""
    return Pointer.decode(raw) if raw[:4] == pointer.MAGIC else pointer_to(raw)


def _header(kv: KeyValueStore, group: Group, raw: bytes) -> BlockHeader:
    """The header of the block that an entry of a shadow is, or leads to in a chunk. Raises DamagedBlockError."""
    place = Pointer.decode(raw).place if raw[:4] == pointer.MAGIC else None
    written = group.bulk.written(place) if isinstance(place, InChunk) else None
    return fetch_header(kv, raw) if written is None else block.parse_header(written)


class Placement:
    """One stream's share of a commit. It is judged first, and then placed."""

    def __init__(
        self, kv: KeyValueStore, group: Group, stream: StreamRecord, shadow: StreamRecord, epoch: int
    ) -> None:  # fmt: skip
        self._group = group
        self._stream = stream
        self._epoch = epoch
        self.shadow = shadow
        self._filled = read_shadow(kv, group, shadow)
        self._pointers = {each.layout: [pointer_of(raw) for _, raw in each.entries] for each in self._filled}
        self.events = sum(at.events for pointers in self._pointers.values() for at in pointers)
        self._numbers = _numbers(kv, group, self._filled)
        stored = sum(at.size_bytes for pointers in self._pointers.values() for at in pointers)
        self.leads = stored > INLINE_BYTES and stream.config.kind != BULK
        """Whether pointers lead to the shadows from now on, so that they have to be kept."""

    @property
    def stored_before(self) -> int:
        """Events whose writer's numbers say that the stream has them."""
        count = 0
        for writer, (first, last) in self._numbers.items():
            known = self._group.last_number(self._stream, writer)
            count += 0 if known is None else max(0, min(known, last) - first + 1)
        return count

    @property
    def _then(self) -> list[SegmentLayout]:
        """The stream's segments when the transaction began."""
        return list(segments_of_epoch(self._stream, self._epoch))

    @property
    def _rolls(self) -> bool:
        """Whether some of the segments that it is for are no longer open."""
        now = {(each.segment, each.epoch) for each in self._stream.open_layout}
        return any((each.layout.segment, each.layout.epoch) not in now for each in self._filled)

    def check(self) -> None:
        """Raises what stands against placing it: the stream was sealed, a number is missing before it."""
        if self._filled and not self._stream.open_layout:
            raise StreamSealedError(f"{self._stream.name!r} was sealed meanwhile: it takes nothing more; abort")
        if self._rolls:
            check_segments(self._stream, len(self._then) + len(self._stream.open_layout))
        for writer, (first, _) in self._numbers.items():
            known = self._group.last_number(self._stream, writer)
            if known is not None and first > known + 1:
                raise WriterNumberGapError(
                    f"writer {writer!r} of {self._stream.name!r}: the transaction begins with number {first}, the stream "
                    f"ends with {known}; send what is missing first"
                )

    def place(self) -> Position | None:
        """Put it at the end of the stream. Where its first event stands, None where there is none."""
        group, stream = self._group, self._stream
        if not self._filled:
            return None
        now, then = stream.open_layout, self._then
        rolls = self._rolls
        if rolls:
            stream = put_scale(group, stream, now, [each.keys for each in then])
        targets = {
            (each.segment, each.epoch): into
            for each, into in (zip(then, stream.open_layout, strict=True) if rolls else zip(now, now, strict=True))
        }
        positions = [
            self._place(stream, targets[each.layout.segment, each.layout.epoch], each) for each in self._filled
        ]
        if rolls:
            put_scale(group, stream, stream.open_layout, [each.keys for each in now])
        for writer, (_, last) in self._numbers.items():
            group.changes.writers[stream.number, writer] = last
        return positions[0]

    def _place(self, stream: StreamRecord, into: SegmentLayout, filled: Filled) -> Position:
        builder = self._group.builder(stream, into)
        builder.finish_block()
        begins = builder.length
        source = self.shadow.key(filled.layout)
        pointers = self._pointers[filled.layout]
        for count, ((offset, raw), at) in enumerate(zip(filled.entries, pointers, strict=True), start=1):
            place: Place
            if isinstance(at.place, InChunk):
                place = at.place
                self._hand_over(place.chunk, builder.key, builder.length, builder.length + at.length)
            elif self.leads:
                place = InGeneration(self._group.generation_of(source, offset), source, offset)
            else:
                place = Inline(raw)
            led = replace(
                self._shown_now(at),
                flags=(BEGINS if count == 1 else 0) | (ENDS if count == len(pointers) else 0),
                place=place,
                commit=self._group.number,
                first_event=builder.record.events,
                previous=builder.record.checksum,
            )
            builder.add_raw(POINTER, led.encode(), led.length, led.events, led.checksum)
        if self.leads:
            self._group.changes.placed[source] = Placed(builder.key, builder.length, self._group.number)
        return Position(into.segment, into.epoch, begins)

    def _shown_now(self, at: Pointer) -> Pointer:
        """A pointer that says it was stored by this commit: a segment's entries stand in the order of their boots and times."""
        group = self._group
        timeline = group.catalog.timelines.get(group.store, Timeline())
        elsewhere = at.boot != group.boot
        shift = timeline.shift(at.boot).offset_ns - (group.wall_ns - group.now_ns) if elsewhere else 0
        return replace(
            at,
            boot=group.boot,
            appended_ns=group.now_ns,
            first_captured_ns=at.first_captured_ns + shift,
            last_captured_ns=at.last_captured_ns + shift,
            key_frames=tuple(replace(each, captured_ns=each.captured_ns + shift) for each in at.key_frames),
        )

    def _hand_over(self, chunk: int, segment: SegmentKey, start: int, end: int) -> None:
        """Make a chunk of the shadow one of the segment: its bytes stay where they are."""
        changes = self._group.changes
        record = changes.chunks.get(chunk) or self._group.catalog.chunks.get(chunk)
        if record is None:
            raise DamagedBlockError(f"a transaction's chunk {chunk} is not on record: abort it, and send it again")
        first = start if record.segment != segment else record.first
        changes.chunks[chunk] = replace(record, segment=segment, first=first, end=end, sealed=True)


def _numbers(kv: KeyValueStore, group: Group, filled: Iterable[Filled]) -> dict[str, tuple[int, int]]:
    """The first and the last number of each writer."""
    numbers: dict[str, tuple[int, int]] = {}
    for each in filled:
        for _, raw in each.entries:
            for span in _header(kv, group, raw).writers:
                first, last = numbers.get(span.writer, (span.first, span.last))
                numbers[span.writer] = (min(first, span.first), max(last, span.last))
    return numbers
