"""Building: what one commit adds to a segment, packed into blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol
from uuid import UUID

from storage import block
from storage.block import BLOCK_TARGET_BYTES, WriterSpan
from storage.bulk.writes import BulkWrites, pointer_to
from storage.chain import BLOCK, GAP, POINTER, UNKNOWN_EVENTS
from storage.frame import encode_plain, encode_run, split
from storage.keys import SegmentKey
from storage.model import BULK, Frame
from storage.pointer import KeyFrame, Pointer
from storage.records import SegmentRecord, StreamRecord
from storage.runs import Run, alike


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
        self._last: Frame | None = None
        """The newest frame, which others may still join."""
        self._run: Run | None = None
        """It, and those that have joined it."""
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
        return bool(self._last or self._frames) or self.record.last_commit == self._group.number

    @property
    def length(self) -> int:
        """Where the next frame will stand."""
        self._finish_run()
        return self.record.length + self._size

    def begin_at(self, offset: int) -> None:
        """Begin a mirrored segment whose head was given up before it was first mirrored."""
        self.record = replace(self.record, start=offset, length=offset)

    def add(self, frames: Sequence[Frame]) -> tuple[int, int, int]:
        """Append events, at least one: the offset of the frame that the first goes to, its index in it, and how many they are."""
        first: tuple[int, int] | None = None
        events = 0
        for frame in frames:
            count = len(frame.payloads)
            events += count
            for piece in (frame,) if count == 1 else split(frame):
                index = self._join(piece)
                if not index:
                    self._finish_run()
                    if self._size >= BLOCK_TARGET_BYTES:
                        self.finish_block()
                    self._last = piece
                first = first or (self.record.length + self._size, index)
        assert first is not None
        return (*first, events)

    def _join(self, frame: Frame) -> int:
        """Let `frame` join the newest where it goes on with it: the index of its first event there. 0: it does not."""
        last = self._last
        if last is None or not alike(last, frame):
            return 0
        run = self._run or Run(last, self._group.now_ns)
        if not run.takes(frame):
            return 0
        self._run = run
        index = len(run.payloads)
        run.add(frame, self._group.now_ns)
        return index

    def _finish_run(self) -> None:
        """Write down the newest frame, with all that joined it."""
        last, run = self._last, self._run
        if last is None:
            return
        self._last = self._run = None
        if run is None and len(last.payloads) == 1 and last.writer is None and not last.times_ns and not last.key_frame:
            earliest = latest = self._group.now_ns if last.captured_ns is None else last.captured_ns
            raw = encode_plain(last, earliest)
            self._events += 1
        else:
            raw, earliest, latest = self._encode(run or Run(last, self._group.now_ns))
        self._frames.append(raw)
        self._captured += (earliest, latest)
        self._size += len(raw)

    def _encode(self, run: Run) -> tuple[bytes, int, int]:
        """A frame as bytes, and when the first and the last of its events were captured."""
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
        if frame.key_frame:
            self._key_frames.append(KeyFrame(self._size, earliest if times is None else times[0]))
        self._events += count
        return encode_run(frame, payloads, earliest, None if earliest == latest else times, place), earliest, latest

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
