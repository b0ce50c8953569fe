"""Reading a stream: onward from a position in bounded steps.

Readers look at durable records only. They hold no iterator between steps, so a slow one costs the engine nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import count, repeat
from typing import NamedTuple

from storage import block, entry, keys
from storage.block import BlockHeader
from storage.boots import UNKNOWN
from storage.catalog import Catalog
from storage.chain import GAP_MAGIC, GapRecord
from storage.columns import rows
from storage.entry import head
from storage.errors import DamagedBlockError
from storage.event import Event, EventFrame
from storage.fetch import fetch
from storage.frame import DecodedFrame
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.model import Gap, GapReason, Position
from storage.records import SegmentLayout, SegmentRecord, StreamRecord

READ_AHEAD_BYTES = 1 << 20
READ_AHEAD_BLOCKS = 256


class SegmentScan:
    """Finds the stored entries (blocks and gap records) of one segment."""

    def __init__(self, kv: KeyValueStore, catalog: Catalog, key: SegmentKey) -> None:
        self._kv = kv
        self._catalog = catalog
        self.key = key

    def fetch(self, raw: bytes) -> bytes:
        """The block of an entry. Raises DamagedBlockError."""
        return fetch(self._kv, raw)

    @property
    def record(self) -> SegmentRecord:
        return self._catalog.segments.get(self.key, SegmentRecord())

    def entry_at(self, offset: int) -> tuple[int, bytes] | None:
        """`(start, raw)` of the entry that covers `offset`, None where nothing does."""
        generation = self._catalog.generation_of(self.key, offset)
        if generation is None:
            return None
        item = self._kv.last_before(_family(generation), keys.block(self.key, 0), keys.block(self.key, offset + 1))
        return None if item is None else (keys.block_offset(item[0]), item[1])

    def entries_from(
        self, offset: int, *, limit: int = READ_AHEAD_BLOCKS, max_bytes: int = READ_AHEAD_BYTES
    ) -> list[tuple[int, bytes]]:
        """Entries that start at `offset` or behind it, durable ones only, in order: a bounded step."""
        length = self.record.length
        for first, generation in self._from_generation(offset):
            start = keys.block(self.key, max(offset, first))
            items = self._kv.scan(
                _family(generation), start, keys.block(self.key, length), limit=limit, max_bytes=max_bytes
            )
            found = [(keys.block_offset(key), raw) for key, raw in items]
            if _family(generation) in self._kv.hit:
                found = self._with_hidden(_family(generation), max(offset, first), found)
            if found:
                return found
        return []

    def _with_hidden(self, family: str, offset: int, found: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """With the gap records that were put in the place of what can't be read: a scan can't see them for what they cover,
        but at their offset they are found.
        """
        whole: list[tuple[int, bytes]] = []
        try:
            for at, raw in [*found, (self.record.length, b"")]:
                while offset < at and (hidden := self._hidden(family, offset)) is not None:
                    whole.append((offset, hidden))
                    offset += entry.length(hidden)
                if raw:
                    whole.append((at, raw))
                    offset = at + entry.length(raw)
        except DamagedBlockError:
            return found
        return whole

    def _hidden(self, family: str, offset: int) -> bytes | None:
        """The gap record at an offset."""
        try:
            raw = self._kv.get(family, keys.block(self.key, offset))
        except DamagedBlockError:
            return None
        return raw if raw is not None and raw[:4] == GAP_MAGIC else None

    def between(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """The entries that start in [start, end), durable ones only, in order."""
        while start < end and (items := self.entries_from(start)):
            for at, raw in items:
                if at >= end:
                    return
                yield at, raw
            start = items[-1][0] + 1

    def _from_generation(self, offset: int) -> list[tuple[int, int]]:
        generations = self._catalog.generations_of(self.key)
        holding = self._catalog.generation_of(self.key, offset)
        numbers = [number for _, number in generations]
        return generations[numbers.index(holding) :] if holding in numbers else generations


def _events_in(raw: bytes) -> int | None:
    """How many events an entry says that it holds, None where it can't."""
    try:
        return head(raw).events
    except DamagedBlockError:
        return None


def _family(generation: int) -> str:
    return f"telemetry-{generation:08d}"


class _Opened(NamedTuple):
    """A frame of a block at `offset` of its segment. Its events are made as they are asked for."""

    frame: DecodedFrame
    header: BlockHeader
    offset: int


class SegmentReader:
    """Reads one segment of a stream onward. `position` is where the next poll goes on; it may be kept and given again."""

    def __init__(
        self, kv: KeyValueStore, catalog: Catalog, stream: StreamRecord, layout: SegmentLayout, position: Position
    ) -> None:
        self._catalog = catalog
        self._stream = stream
        self._scan = SegmentScan(kv, catalog, stream.key(layout))
        self._entries: deque[tuple[int, bytes]] = deque()
        self._ready: deque[_Opened | Gap] = deque()
        self._ready_commit = 0
        self._next_entry: int | None = None
        self.position = position
        self.bound: int | None = None
        """Where it ends for now, though more may be durable: set by who reads several segments side by side."""

    def _length(self) -> int:
        length = self._scan.record.length
        return length if self.bound is None else min(length, self.bound)

    @property
    def at_end(self) -> bool:
        """Whether all that is durable was handed out."""
        return not self._ready and not self._entries and self.position.offset >= self._length()

    def poll(self, max_events: int = 1000) -> list[Event | Gap]:
        """Up to `max_events` events and gaps from `position` on, [] at the durable end. One bounded step."""
        if not self._ready:
            self._fetch()
            begin = self._next_entry or 0
            # A pointer is small, what it points to is not.
            while self._entries and (self._next_entry or 0) - begin < READ_AHEAD_BYTES:
                self._unpack_next()
        return self._take(max_events)

    def next_commit(self) -> int | None:
        """The commit that made visible what comes next; None at the durable end. Fetches where nothing is at hand."""
        if self._ready:
            return self._ready_commit
        self._fetch()
        if self._ready:
            return self._ready_commit
        if not self._entries:
            return None
        try:
            commit = entry.head(self._entries[0][1]).commit
        except DamagedBlockError:
            commit = 0
        self._ready_commit = max(self._ready_commit, commit)
        return self._ready_commit

    def poll_entry(self, max_events: int = 1000) -> list[Event | Gap]:
        """The same as `poll`, of the next entry only, which `next_commit` told of."""
        while not self._ready and self._entries:
            self._unpack_next()
        return self._take(max_events)

    def _take(self, max_events: int) -> list[Event | Gap]:
        taken: list[Event | Gap] = []
        while self._ready and len(taken) < max_events:
            first = self._ready[0]
            if isinstance(first, Gap):
                taken.append(first)
                self.position = first.next
                self._ready.popleft()
                continue
            skip = self.position.place if first.offset == self.position.offset else 0
            events = self._events_of(first, skip, max_events - len(taken))
            if events:
                taken += events
                self.position = events[-1].next
            if not events or self.position.offset != first.offset:
                self._ready.popleft()
        return taken

    def _fetch(self) -> None:
        """Get the next entries, where none are at hand; or tell what was given up."""
        for _ in range(2):
            if not self._entries and not self._ready:
                self._fetch_once()

    def _fetch_once(self) -> None:
        record = self._scan.record
        if self.position.offset < record.start:
            here = self.position
            self.position = Position(here.number, here.epoch, record.start)
            self._next_entry = None
            self._ready.append(self._given_up(here, self.position))
            return
        length = self._length()
        if self.position.offset >= length:
            return
        if self._next_entry is None:
            found = self._scan.entry_at(self.position.offset)
            self._next_entry = self.position.offset if found is None else found[0]
        entries = self._scan.entries_from(self._next_entry)
        record = self._scan.record
        if self.position.offset < record.start:
            return  # It was given up while this looked: the next step tells.
        if not entries or entries[0][0] > self._next_entry:
            self._next_entry = max(self._next_entry, self.position.offset)
            entries = self._missing(record)
        self._entries.extend(item for item in entries if item[0] < length)

    def _unpack_next(self) -> None:
        start, raw = self._entries.popleft()
        if start > (self._next_entry or 0):
            self._entries.clear()  # Nothing is stored in between: the next step tells.
            return
        items, self._next_entry = self._unpack(start, raw)
        self._ready += items

    def _given_up(self, here: Position, start: Position) -> Gap:
        drops = self._catalog.drops.get(self._stream.number)
        below = None if drops is None else drops.below.get((here.number, here.epoch))
        events = below.events if below is not None and here.offset == 0 else None
        reason = "" if below is None else f" ({below.reason})"
        return Gap(self._stream.name, here, start, GapReason.DROPPED, events, f"given up before this read{reason}")

    def _missing(self, record: SegmentRecord) -> list[tuple[int, bytes]]:
        """Durable offsets under which nothing is found: shown as a gap as far as the next thing that is."""
        start = self._next_entry or self.position.offset
        following = self._scan.entries_from(start, limit=1)
        end = following[0][0] if following else record.length
        gap = GapRecord(GapReason.DAMAGED, end - start, None, 0, 0, "nothing is stored here")
        return [(start, gap.encode())]

    def _unpack(self, start: int, raw: bytes) -> tuple[list[_Opened | Gap], int]:
        """The frames of one stored entry from `position` on, and the offset behind it."""
        here = self.position
        at = Position(here.number, here.epoch, start)
        try:
            if raw[:4] == GAP_MAGIC:
                record = GapRecord.decode(raw)
                end = start + record.length
                return [self._gap(at, end, record)], end
            whole = self._scan.fetch(raw)
            header = block.parse_header(whole)
            end = start + header.raw_bytes
            frames = block.frames(whole, header)
        except DamagedBlockError as error:
            following = self._scan.entries_from(start + 1, limit=1)
            end = following[0][0] if following else self._scan.record.length
            if start < self._scan.record.start:
                # It was given up while this looked.
                self._entries.clear()
                begins = self._scan.record.start
                return [self._given_up(at, Position(here.number, here.epoch, begins))], begins
            record = GapRecord(GapReason.DAMAGED, end - start, _events_in(raw), 0, 0, str(error))
            return [self._gap(at, end, record)], end
        opened = (_Opened(frame, header, start + frame.at) for frame in frames)
        return [one for one in opened if one.offset + one.frame.length > here.offset], end

    def _gap(self, at: Position, end: int, record: GapRecord) -> Gap:
        behind = Position(at.number, at.epoch, end)
        return Gap(self._stream.name, at, behind, record.reason, record.events, record.detail)

    def _events_of(self, opened: _Opened, skip: int, most: int) -> list[Event]:
        """At most `most` events of one frame, without the first `skip`."""
        frame, header, offset = opened
        timeline = self._catalog.timelines.get(header.store)
        shift, uncertain = UNKNOWN if timeline is None else timeline.shift(header.boot)
        writer = header.writers[frame.writer_place - 1].writer if frame.writer_place else None
        number, epoch = self.position.number, self.position.epoch
        shared = EventFrame(
            self._stream.name, number, epoch, offset, len(frame.payloads) - 1, Position(number, epoch, offset + frame.length),
            shift, frame.captured_ns, frame.times_ns, frame.routing_key, writer, frame.number, frame.content_type,
            frame.headers, uncertain,
        )  # fmt: skip
        return rows(Event, repeat(shared), count(skip), frame.payloads[skip : skip + most])
