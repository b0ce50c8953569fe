"""Reading a whole stream: its segments side by side, in the order in which their events became durable."""

from __future__ import annotations

from storage.catalog import Catalog
from storage.cuts import Cuts, Places
from storage.event import Event
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.model import Gap, Position, StreamCut
from storage.reading import SegmentReader
from storage.records import SegmentRecord, StreamRecord


class StreamReader:
    """Reads a stream onward, through scales, in bounded steps. `position` may be kept and read on from later.

    `stop`, where given, is where it ends in each segment; segments that it does not name are not read.
    """

    def __init__(
        self, kv: KeyValueStore, catalog: Catalog, stream: StreamRecord, places: Places, position: Position,
        stop: Places | None = None,
    ) -> None:  # fmt: skip
        self._kv = kv
        self._catalog = catalog
        self._stream = stream
        self._readers: dict[SegmentKey, SegmentReader] = {}
        self._stop = stop
        self._known = stream.layout
        self.position = position
        for layout in stream.layout:
            if (place := places.get(stream.key(layout))) is not None:
                self._read_on(stream.key(layout), place)

    def _read_on(self, key: SegmentKey, place: Position) -> None:
        layout = self._stream.segment(key.segment, key.epoch)
        assert layout is not None
        self._readers[key] = SegmentReader(self._kv, self._catalog, self._stream, layout, place)

    @property
    def cut(self) -> StreamCut:
        """Where it stands in every segment."""
        self._look()
        places = {key: reader.position for key, reader in self._readers.items()}
        return Cuts(self._kv, self._catalog, self._stream).cut(places)

    @property
    def ended(self) -> bool:
        """Whether there is nothing more before `stop`, or in a sealed stream, now and ever."""
        return not self._readers

    def poll(self, max_events: int = 1000) -> list[Event | Gap]:
        """Up to `max_events` events and gaps, [] at the durable end, or at the stop. One bounded step."""
        self._look()
        items: list[Event | Gap] = []
        while len(items) < max_events and (reader := self._next()) is not None:
            left = max_events - len(items)
            alone = len(self._readers) == 1
            taken = reader.poll(left) if alone else reader.poll_entry(left)
            items += self._before_stop(reader, taken)
            if alone and (taken or not reader.at_end):
                break
        if items:
            self.position = items[-1].next
        return items

    def _look(self) -> None:
        """Take in what scales have opened, and bound every segment by what is durable of all of them together."""
        while True:
            version = self._catalog.version
            stream = self._catalog.streams.get(self._stream.name, self._stream)
            records = {stream.key(layout): self._record(stream.key(layout)) for layout in stream.layout}
            if version % 2 == 0 and version == self._catalog.version:
                break
        if stream.layout != self._known:
            known = {(layout.segment, layout.epoch) for layout in self._known}
            self._known, self._stream = stream.layout, stream
            for layout in stream.layout:
                if (layout.segment, layout.epoch) not in known and self._stop is None:
                    self._read_on(stream.key(layout), Position(layout.segment, layout.epoch, 0))
        for layout in stream.layout:
            key = stream.key(layout)
            if (reader := self._readers.get(key)) is None:
                continue
            reader.bound = records[key].length
            stop = None if self._stop is None else self._stop.get(key, Position(layout.segment, layout.epoch, 0))
            done = stop is not None and reader.position >= stop
            if done or (not layout.open and reader.at_end):
                del self._readers[key]

    def _record(self, key: SegmentKey) -> SegmentRecord:
        return self._catalog.segments.get(key, SegmentRecord())

    def _next(self) -> SegmentReader | None:
        """The segment whose next entry became durable first."""
        best: SegmentReader | None = None
        lowest = 1 << 64
        for layout in self._stream.layout:
            reader = self._readers.get(self._stream.key(layout))
            if reader is None or layout.opened > lowest:
                continue
            if len(self._readers) == 1:
                return None if reader.at_end else reader
            commit = reader.next_commit()
            if commit is not None and commit < lowest:
                best, lowest = reader, commit
        return best

    def _before_stop(self, reader: SegmentReader, taken: list[Event | Gap]) -> list[Event | Gap]:
        if self._stop is None or not taken:
            return taken
        key = SegmentKey(self._stream.number, taken[0].position.number, taken[0].position.epoch)
        stop = self._stop.get(key, taken[0].position)
        if taken[-1].position < stop:
            return taken
        self._readers.pop(key, None)
        return [item for item in taken if item.position < stop]
