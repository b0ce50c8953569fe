"""Streams of several segments in RAM, scaled by hand: what reader groups need of a store, beside a real one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from storage import Event, SegmentStore
from storage.clock import Clock
from storage.model import KeyRange, Position, SegmentId, SegmentInfo, StreamConfig, StreamCut, StreamInfo, key_point

SIZE = 10


@dataclass
class Seg:
    info: SegmentInfo
    events: list[Event] = field(default_factory=list)


class SegReader:
    def __init__(self, seg: Seg, start: Position) -> None:
        self.seg, self.position = seg, start

    def poll(self, max_events: int = 1000) -> list[Event]:
        at = self.position.offset // SIZE
        out = self.seg.events[at : at + max_events]
        if out:
            self.position = out[-1].next
        return out


class Streams:
    def __init__(self, store: SegmentStore) -> None:
        self.store = store
        self.segs: dict[SegmentId, Seg] = {}
        self.epochs: dict[str, int] = {}

    @property
    def clock(self) -> Clock:
        return self.store.clock

    @property
    def blocked(self) -> str | None:
        return self.store.blocked

    def create(self, name: str, segments: int = 1) -> None:
        self.epochs[name] = 0
        for n, keys in enumerate(KeyRange().split(segments)):
            self._open(name, n, 0, keys)

    def _open(self, name: str, n: int, e: int, keys: KeyRange) -> None:
        id = SegmentId(name, n, e)
        self.segs[id] = Seg(SegmentInfo(id, keys, None, 0, 0, 0, 0, 0))

    def of(self, name: str) -> list[Seg]:
        return [s for i, s in sorted(self.segs.items()) if i.stream == name]

    def stream(self, name: str) -> StreamInfo:
        return StreamInfo(name, StreamConfig(), None, tuple(s.info for s in self.of(name)))

    def append(self, name: str, key: str, payload: bytes) -> None:
        point = key_point(key)
        seg = next(s for s in self.of(name) if s.info.until is None and point in s.info.keys)
        i = seg.info
        at = Position(i.id.number, i.id.epoch, i.length)
        nxt = Position(i.id.number, i.id.epoch, i.length + SIZE)
        seg.events.append(Event(name, at, nxt, self.clock.wall_ns(), key, None, None, "", (), payload))
        seg.info = replace(i, length=i.length + SIZE, events=i.events + 1)

    def scale(self, name: str, seal: list[SegmentId], ranges: list[KeyRange]) -> None:
        self.epochs[name] += 1
        n = 1 + max(s.info.id.number for s in self.of(name))
        for id in seal:
            self.segs[id].info = replace(self.segs[id].info, until=self.epochs[name])
        for k, keys in enumerate(ranges):
            self._open(name, n + k, self.epochs[name], keys)

    def segment_reader(self, segment: SegmentId, start: Position) -> SegReader:
        return SegReader(self.segs[segment], start)

    def cut(self, stream: str, where: str | StreamCut) -> StreamCut:
        if isinstance(where, StreamCut):
            return where
        segs = self.of(stream)
        if where == "head":
            return StreamCut(
                tuple(Position(s.info.id.number, s.info.id.epoch, 0) for s in segs if s.info.id.epoch == 0)
            )
        return StreamCut(
            tuple(Position(s.info.id.number, s.info.id.epoch, s.info.length) for s in segs if s.info.until is None)
        )
