"""Builds one commit out of the submissions that wait: what is refused, what is stored already, what is written where.

A submission is looked at whole before anything of it is taken, so one that is refused leaves no trace in the commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

from storage import keys
from storage.boots import Boot, Timeline
from storage.building import SegmentBuilder
from storage.bulk.chunks import CHUNK_BYTES
from storage.bulk.writes import BulkWrites, chunks_below
from storage.catalog import Catalog, Changes
from storage.chain import ChainEntry, CommitRecord
from storage.clock import Clock
from storage.codec import seal
from storage.errors import (
    ConditionFailedError,
    StorageError,
    StreamSealedError,
    UnknownStreamError,
    WriterNumberGapError,
)
from storage.frame import part
from storage.generations import Into
from storage.keys import DEFAULT, SegmentKey
from storage.kv.contract import Batch
from storage.model import (
    MAX_WRITERS_PER_STREAM,
    Append,
    Frame,
    Position,
    Receipt,
    StreamConfig,
    key_point,
)
from storage.records import FIRST_SEGMENT, FamilyRecord, SegmentLayout, SegmentRecord, StreamRecord
from storage.retention.drops import Edit
from storage.ticket import Ticket
from storage.transactions.record import is_shadow

_Share = tuple[StreamRecord, SegmentLayout, list[Frame]]
"""Frames that follow each other in one segment."""


@dataclass(slots=True)
class _Plan:
    """What a submission would change, before it is taken."""

    frames: list[list[_Share]] = field(default_factory=list)
    writers: dict[tuple[int, str], int] = field(default_factory=dict)
    duplicates: int = 0


class Group:
    """One commit in the making."""

    def __init__(
        self,
        catalog: Catalog,
        clock: Clock,
        *,
        store: UUID,
        opening: int,
        number: int,
        previous: int,
        into: Into,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self.catalog = catalog
        self.store = store
        self.opening = opening
        self.number = number
        self.into = into
        self.boot = clock.boot_id
        self.now_ns = clock.boot_ns()
        self.wall_ns = clock.wall_ns()
        self.changes = Changes()
        self.bulk = BulkWrites(catalog, self.changes, chunk_bytes)
        self.outcomes: list[tuple[Ticket, Receipt]] = []
        self._previous = previous
        self._entries: list[ChainEntry] = []
        self.edits: dict[SegmentKey, Edit] = {}
        self.deletions: list[tuple[str, bytes]] = []
        """Families and keys of what lies below its segment's start and takes space."""
        self._blocks: list[tuple[str, bytes, bytes]] = []
        self._builders: dict[SegmentKey, SegmentBuilder] = {}
        self._configs: dict[int, StreamConfig] = {}
        self._label_boot(clock.trusted())

    def _label_boot(self, trusted: bool) -> None:
        timeline = self.catalog.timelines.get(self.store, Timeline())
        offset, now_ns = self.wall_ns - self.now_ns, self.now_ns
        known = timeline.by_id.get(self.boot)
        fresh = known or Boot(self.store, self.boot, timeline.next_number, now_ns, now_ns, offset)
        told = fresh.told(now_ns, offset, trusted)
        if told is not known:
            self.note_boot(told)

    def note_boot(self, boot: Boot) -> None:
        """Write down what is known of a boot now, of this machine or of a mirrored one."""
        self.changes.boots[boot.store, boot.id] = replace(boot, commit=self.number)

    @property
    def empty(self) -> bool:
        """Whether nothing of what came in needs writing."""
        changes = self.changes
        tables = (
            changes.streams, changes.cursors, changes.mirrors, changes.throughs, changes.families, changes.node,
            changes.drops, changes.chunks, changes.gone_families, self.deletions, changes.boots, changes.transactions,
            changes.gone_boots,
        )  # fmt: skip
        touched = any(builder.touched for builder in self._builders.values())
        return not (touched or self._entries or any(tables))

    # what is there, this commit's own changes included

    def stream(self, name: str) -> StreamRecord | None:
        return self.changes.streams.get(name) or self.catalog.streams.get(name)

    def builder(self, stream: StreamRecord, layout: SegmentLayout) -> SegmentBuilder:
        key = stream.key(layout)
        if key not in self._builders:
            record = self.catalog.segments.get(key, SegmentRecord())
            self._builders[key] = SegmentBuilder(self, stream, key, record)
            self._configs[stream.number] = stream.config
        return self._builders[key]

    def touch(self, stream: StreamRecord, layout: SegmentLayout) -> None:
        """Count this commit as one that changed a segment, though it may add nothing to it."""
        builder = self.builder(stream, layout)
        builder.finish_block()
        builder.record = replace(builder.record, last_commit=self.number)

    def added(self, key: SegmentKey) -> list[tuple[int, bytes]]:
        """The entries that this commit adds to a segment so far, and where."""
        builder = self._builders.get(key)
        if builder is None:
            return []
        builder.finish_block()
        return builder.entries

    def durable(self, key: SegmentKey) -> int:
        """How long a segment was before this commit."""
        return self.catalog.segments.get(key, SegmentRecord()).length

    def generation_of(self, key: SegmentKey, offset: int) -> int:
        """The generation that holds an entry of a segment, one that this commit adds included."""
        held = self.catalog.generation_of(key, offset) if offset < self.durable(key) else None
        return self._family_of(key).number if held is None else held

    def withdraw(self, stream_number: int) -> None:
        """Take back all that this commit adds to the shadows of that number."""
        for key in [key for key in self._builders if key.stream == stream_number]:
            del self._builders[key]
        self._entries = [entry for entry in self._entries if entry.stream != stream_number]
        self._blocks = [put for put in self._blocks if keys.block_segment(put[1]).stream != stream_number]
        starts = self.changes.segment_starts
        self.changes.segment_starts = {at: start for at, start in starts.items() if at[0].stream != stream_number}
        writers = self.changes.writers
        self.changes.writers = {of: last for of, last in writers.items() if of[0] != stream_number}

    def put_note(self, note: ChainEntry) -> None:
        """Name in the chain what is no entry of a segment."""
        self._entries.append(note)

    def length(self, stream: StreamRecord, layout: SegmentLayout) -> int:
        key = stream.key(layout)
        if key in self._builders:
            return self._builders[key].length
        return self.catalog.segments.get(key, SegmentRecord()).length

    def last_number(self, stream: StreamRecord, writer: str) -> int | None:
        last = self.changes.writers.get((stream.number, writer))
        last = last if last is not None else self.catalog.writers.get(stream.number, {}).get(writer)
        if last is None and is_shadow(stream.number) and (own := self.stream(stream.name)) is not None:
            return self.last_number(own, writer)
        return last

    # taking submissions

    def create_stream(
        self,
        name: str,
        config: StreamConfig,
        *,
        incarnation: UUID | None = None,
        origin: tuple[str, str] | None = None,
        layout: tuple[SegmentLayout, ...] = (FIRST_SEGMENT,),
    ) -> StreamRecord:
        number = 1 + max((*self.catalog.by_number, *(s.number for s in self.changes.streams.values())), default=0)
        record = StreamRecord(number, name, incarnation or uuid4(), config, origin, layout)
        self.changes.streams[name] = record
        return record

    def take(
        self,
        ticket: Ticket,
        appends: Sequence[Append],
        cursors: Mapping[str, bytes],
        shadows: Mapping[str, StreamRecord] | None = None,
        *,
        whole: bool = True,
    ) -> None:
        """Take a submission, into the `shadows` of streams where there are such. Where it need not be `whole`, what is for a
        stream that takes nothing is left out.

        Raises, with nothing taken, what its ticket is to raise.
        """
        plan = _Plan()
        left_out: list[str] = []
        for append in appends:
            stream = self.stream(append.stream) if shadows is None else shadows.get(append.stream)
            if not whole and stream is not None and not stream.takes:
                left_out.append(append.stream)
                plan.frames.append([])
            else:
                plan.frames.append(self._plan(append, stream, plan))
        positions: list[Position | None] = []
        stored = 0
        for shares in plan.frames:
            first: Position | None = None
            for stream, layout, frames in shares:
                offset, index, events = self.builder(stream, layout).add(frames)
                first = first or Position(layout.segment, layout.epoch, offset, index)
                stored += events
            positions.append(first)
        self.changes.writers.update(plan.writers)
        self.changes.cursors.update(cursors)
        self.outcomes.append((ticket, Receipt(self.number, tuple(positions), stored, plan.duplicates, tuple(left_out))))

    def _plan(self, append: Append, stream: StreamRecord | None, plan: _Plan) -> list[_Share]:
        if stream is None:
            raise UnknownStreamError(f"there is no stream {append.stream!r}: create it first")
        if stream.origin is not None:
            raise StorageError(
                f"{append.stream!r} is mirrored from node {stream.origin[0]!r}: only that node writes it"
            )
        if append.expected_length is not None:
            first = append.frames[0].routing_key if append.frames else ""
            length = self.length(stream, self._route(stream, first))
            if length != append.expected_length:
                raise ConditionFailedError(f"{append.stream!r} is {length} bytes long, not {append.expected_length}")
        planned: list[_Share] = []
        only = stream.layout[0] if len(stream.layout) == 1 and stream.layout[0].open else None
        last: SegmentLayout | None = None
        for frame in append.frames:
            fresh = frame if frame.writer is None else self._fresh(stream, frame, frame.writer, plan)
            if fresh is None or not fresh.payloads:
                continue
            layout = only or self._route(stream, fresh.routing_key)
            if layout is not last:
                planned.append((stream, layout, []))
                last = layout
            planned[-1][2].append(fresh)
        return planned

    @staticmethod
    def _route(stream: StreamRecord, routing_key: str) -> SegmentLayout:
        point = key_point(routing_key)
        for layout in reversed(stream.layout):
            if layout.open and point in layout.keys:
                return layout
        raise StreamSealedError(f"{stream.name!r} was sealed: it can be read, and takes nothing more")

    def _fresh(self, stream: StreamRecord, frame: Frame, writer: str, plan: _Plan) -> Frame | None:
        """What of `frame` its writer's numbers say is not stored yet."""
        count = len(frame.payloads)
        if count == 0:
            return None
        key = (stream.number, writer)
        last = plan.writers.get(key)
        if last is None:
            last = self.last_number(stream, writer)
        first = frame.number or 0
        if last is not None and first > last + 1:
            raise WriterNumberGapError(
                f"writer {writer!r} of {stream.name!r} sends number {first} after {last}: "
                f"number {last + 1} is missing; send it first"
            )
        known = 0 if last is None else min(count, max(0, last + 1 - first))
        plan.duplicates += known
        if known == count:
            return None
        plan.writers[key] = first + count - 1
        return part(frame, known, count)

    # writing it down

    def put_entry(
        self, key: SegmentKey, start: int, kind: int, raw: bytes, length: int, events: int, checksum: int
    ) -> None:
        family = self._family_of(key)
        generation = family.number
        self._entries.append(
            ChainEntry(key.stream, key.segment, key.epoch, kind, generation, start, length, events, checksum)
        )
        self._blocks.append((family.name, keys.block(key, start), raw))
        if (
            self.catalog.generation_of(key, start) != generation
            and (key, generation) not in self.changes.segment_starts
        ):
            self.changes.segment_starts[key, generation] = start

    def _family_of(self, key: SegmentKey) -> FamilyRecord:
        last = self.catalog.generations_of(key)[-1:]
        return self.into.telemetry(self._configs[key.stream], last[0][1] if last else 0)

    def replace_entry(self, entry: ChainEntry, raw: bytes) -> None:
        """Put another entry in the place of one that is durable, in the generation where it lies."""
        self._entries.append(entry)
        key = SegmentKey(entry.stream, entry.segment, entry.epoch)
        self._blocks.append((f"telemetry-{entry.generation:08d}", keys.block(key, entry.start), raw))

    def finish(self) -> tuple[Batch, CommitRecord]:
        """The batch that makes all of it durable, and its record in the chain."""
        for key, builder in self._builders.items():
            if not builder.touched:
                continue
            builder.finish_block()
            self.changes.segments[key] = builder.record
        for key, edit in self.edits.items():
            current = self.changes.segments.get(key) or self.catalog.segments[key]
            start = max(edit.start, current.start)
            self.changes.segments[key] = replace(current, start=start, gaps=current.gaps + edit.gaps)
            self.changes.gone_chunks += [c.number for c in chunks_below(self.catalog, key, start, self.changes)]
        self._number_no_chunk_twice()
        self.changes.families.update(self.into.created)
        self._forget_writers()
        record = CommitRecord(
            self.number, self._previous, self.opening, self.boot, self.now_ns, self.wall_ns, tuple(self._entries)
        )
        batch = Batch()
        batch.put(self.into.chain, keys.chain(self.number), record.encode())
        for family, block_key, raw in self._blocks:
            batch.put(family, block_key, raw)
        for key_bytes, payload in self.changes.entries():
            batch.put(DEFAULT, key_bytes, seal(key_bytes, self.number, payload))
        batch.deletes += self.deletions
        for key_bytes in self.changes.gone():
            batch.delete(DEFAULT, key_bytes)
        return batch, record

    def _number_no_chunk_twice(self) -> None:
        node = self.changes.node or self.catalog.node
        if node is not None and max(self.changes.gone_chunks, default=0) > node.chunk:
            self.changes.node = replace(node, chunk=max(self.changes.gone_chunks))

    def _forget_writers(self) -> None:
        """Keep each stream's table of writers within its bound: those silent longest go first."""
        touched: dict[int, set[str]] = {}
        for stream_number, writer in self.changes.writers:
            touched.setdefault(stream_number, set()).add(writer)
        for stream_number, writers in touched.items():
            known = self.catalog.writers.get(stream_number, {})
            surplus = len(known) + sum(w not in known for w in writers) - MAX_WRITERS_PER_STREAM
            if surplus > 0:
                silent = [writer for writer in known if writer not in writers][:surplus]
                self.changes.forgotten += [(stream_number, writer) for writer in silent]
