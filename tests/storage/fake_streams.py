"""Streams of several segments in RAM, scaled by hand: what reader groups need of a store, beside a real one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from storage import Event, SegmentStore
from storage.clock import Clock
from storage.model import KeyRange, Position, SegmentId, SegmentInfo, StreamConfig, StreamCut, StreamInfo, key_point

SIZE = 10
"""Bytes of an event, whatever is in it."""


@dataclass
class Segment:
    info: SegmentInfo
    events: list[Event] = field(default_factory=list)


class SegmentReader:
    """Reads one of them onward."""

    def __init__(self, segment: Segment, start: Position) -> None:
        self._segment = segment
        self.position = start

    def poll(self, max_events: int = 1000) -> list[Event]:
        first = self.position.offset // SIZE
        events = self._segment.events[first : first + max_events]
        if events:
            self.position = events[-1].next
        return events


class Streams:
    """Meets `storage.readers.reader.Store`. They outlive the store that they stand beside."""

    def __init__(self, store: SegmentStore) -> None:
        self.store = store
        self.segs: dict[SegmentId, Segment] = {}
        self.epochs: dict[str, int] = {}

    @property
    def clock(self) -> Clock:
        return self.store.clock

    @property
    def blocked(self) -> str | None:
        return self.store.blocked

    def create(self, name: str, segments: int = 1) -> None:
        self.epochs[name] = 0
        self._open(name, 0, KeyRange().split(segments))

    def _open(self, name: str, first: int, ranges: Sequence[KeyRange]) -> None:
        for number, keys in enumerate(ranges, first):
            segment = SegmentId(name, number, self.epochs[name])
            self.segs[segment] = Segment(SegmentInfo(segment, keys, None, 0, 0, 0, 0, 0))

    def stream(self, name: str) -> StreamInfo:
        infos = tuple(held.info for segment, held in sorted(self.segs.items()) if segment.stream == name)
        return StreamInfo(name, StreamConfig(), None, infos)

    def append(self, name: str, key: str, payload: bytes) -> None:
        point = key_point(key)
        info = next(info for info in self.stream(name).segments if info.until is None and point in info.keys)
        here = Position(info.id.number, info.id.epoch, info.length)
        behind = here._replace(offset=info.length + SIZE)
        event = Event(name, here, behind, self.clock.wall_ns(), key, None, None, "", (), payload)
        self.segs[info.id].events.append(event)
        self.segs[info.id].info = replace(info, length=info.length + SIZE, events=info.events + 1)

    def scale(self, name: str, sealed: Sequence[SegmentId], ranges: Sequence[KeyRange]) -> None:
        """Seal some segments, and open others in the next epoch, which share out the same keys."""
        self.epochs[name] += 1
        for segment in sealed:
            self.segs[segment].info = replace(self.segs[segment].info, until=self.epochs[name])
        self._open(name, 1 + max(segment.number for segment in self.segs if segment.stream == name), ranges)

    def segment_reader(self, segment: SegmentId, start: Position) -> SegmentReader:
        return SegmentReader(self.segs[segment], start)

    def cut(self, stream: str, where: str | StreamCut) -> StreamCut:
        if isinstance(where, StreamCut):
            return where
        infos = self.stream(stream).segments
        if where == "head":
            infos = tuple(info for info in infos if info.id.epoch == 0)
        else:
            infos = tuple(info for info in infos if info.until is None)
        ends = [0 if where == "head" else info.length for info in infos]
        return StreamCut(tuple(Position(i.id.number, i.id.epoch, end) for i, end in zip(infos, ends, strict=True)))
