"""Building: what one commit adds to a segment, packed into blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol
from uuid import UUID

from storage import block
from storage.block import BLOCK_TARGET_BYTES, WriterSpan
from storage.bulk.writes import BulkWrites, pointer_to
from storage.chain import BLOCK, GAP, POINTER, UNKNOWN_EVENTS
from storage.frame import encode_run
from storage.keys import SegmentKey
from storage.model import BULK, Frame
from storage.pointer import KeyFrame, Pointer
from storage.records import SegmentRecord, StreamRecord
from storage.runs import Run


class Committing(Protocol):
    """What a builder needs of its commit."""

    @property
    def number(self) -> int: ...
    @property
    def store(self) -> UUID: ...
    @property
    def boot(self) -> UUID: ...
    @property
    def now_ns(self) -> int: ...
    @property
    def bulk(self) -> BulkWrites: ...

    def put_entry(
        self, key: SegmentKey, start: int, kind: int, raw: bytes, length: int, events: int, checksum: int
    ) -> None: ...


class SegmentBuilder:
    """Grows one segment by blocks within one commit."""

    def __init__(self, group: Committing, stream: StreamRecord, key: SegmentKey, record: SegmentRecord) -> None:
        self._group = group
        self._stream = stream
        self.key = key
        self.record = record
        self._run: Run | None = None
        self._frames: list[bytes] = []
        self._size = 0
        self._events = 0
        self._captured: list[int] = []
        self._key_frames: list[KeyFrame] = []
        self._writers: dict[str, tuple[int, int, int]] = {}
        self.entries: list[tuple[int, bytes]] = []
        """What this commit adds, and where."""

    @property
    def touched(self) -> bool:
        """Whether this commit adds anything to the segment."""
        return bool(self._run or self._frames) or self.record.last_commit == self._group.number

    @property
    def length(self) -> int:
        """Where the next frame will stand."""
        self._finish_run()
        return self.record.length + self._size

    def begin_at(self, offset: int) -> None:
        """Begin a mirrored segment whose head was given up before it was first mirrored."""
        self.record = replace(self.record, start=offset, length=offset)

    def add(self, frame: Frame) -> tuple[int, int]:
        """Append events: the offset of the frame they go to, and the index of their first in it."""
        run = self._run
        if run is not None and run.takes(frame):
            index = len(run.payloads)
            run.add(frame, self._group.now_ns)
            return self.record.length + self._size, index
        self._finish_run()
        if self._size >= BLOCK_TARGET_BYTES:
            self.finish_block()
        self._run = Run(frame, self._group.now_ns)
        return self.record.length + self._size, 0

    def _finish_run(self) -> None:
        """Write down the frame that was growing."""
        run, self._run = self._run, None
        if run is None:
            return
        frame, payloads, times = run.frame, run.payloads, run.times_ns
        count = len(payloads)
        place = 0
        writer = frame.writer
        if writer is not None:
            number = frame.number or 0
            place, first, _ = self._writers.get(writer, (len(self._writers) + 1, number, 0))
            self._writers[writer] = (place, first, number + count - 1)
        earliest = latest = run.captured_ns
        if times is not None:
            earliest, latest = min(times), max(times)
        raw = encode_run(frame, payloads, earliest, None if earliest == latest else times, place)
        if frame.key_frame:
            self._key_frames.append(KeyFrame(self._size, earliest if times is None else times[0]))
        self._frames.append(raw)
        self._captured += (earliest, latest)
        self._size += len(raw)
        self._events += count

    def finish_block(self) -> None:
        """Make what was added so far a block."""
        self._finish_run()
        if not self._frames:
            return
        raw = block.encode(
            store=self._group.store,
            incarnation=self._stream.incarnation,
            stream=self._stream.name,
            segment=self.key.segment,
            epoch=self.key.epoch,
            commit=self._group.number,
            previous=self.record.checksum,
            first_event=self.record.events,
            events=self._events,
            boot=self._group.boot,
            appended_ns=self._group.now_ns,
            captured_ns=(min(self._captured), max(self._captured)),
            writers=tuple(WriterSpan(name, first, last) for name, (_, first, last) in self._writers.items()),
            body=b"".join(self._frames),
        )
        if self._stream.config.kind == BULK:
            self.add_bulk(pointer_to(raw, self._key_frames), raw)
        else:
            self.add_raw(BLOCK, raw, self._size, self._events, block.checksum(raw))
        self._key_frames = []
        self._frames, self._size, self._events, self._captured, self._writers = [], 0, 0, [], {}

    def add_bulk(self, pointer: Pointer, raw: bytes) -> None:
        """Append a block of bulk: its bytes go to a chunk, the segment gets `pointer`, led there."""
        place = self._group.bulk.place(self.key, self.record.length, pointer.length, raw)
        led = replace(pointer, place=place)
        self.add_raw(POINTER, led.encode(), led.length, led.events, led.checksum)

    def add_raw(self, kind: int, raw: bytes, length: int, events: int, checksum: int) -> None:
        """Append a block or gap record as it is. A gap's `checksum` is the one that the next block names."""
        self.entries.append((self.record.length, raw))
        self._group.put_entry(self.key, self.record.length, kind, raw, length, events, checksum)
        self.record = replace(
            self.record,
            length=self.record.length + length,
            events=self.record.events + (0 if events == UNKNOWN_EVENTS else events),
            checksum=checksum,
            last_commit=self._group.number,
            gaps=self.record.gaps + (kind == GAP),
        )
