"""Where a reader of a whole stream stands, in each of its segments: out of a position, a moment, or a StreamCut.

Order over a stream is by commit, and within a commit by segment: a segment's events stand in the order of its offsets,
those of its successors behind them, those of segments side by side in the order in which they became durable. So one
position says where a reader stands in all segments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from storage.catalog import Catalog
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.model import KeyRange, Position, StreamCut
from storage.moment import parse_where
from storage.reading import SegmentReader, SegmentScan
from storage.records import SegmentLayout, StreamRecord
from storage.seeking import commit_before, first_where, position_of_time, timeline_of

Places = dict[SegmentKey, Position]
"""Where to read on in each segment that is not read to its end."""


class Cuts:
    """Finds places in one stream, as it stands now."""

    def __init__(self, kv: KeyValueStore, catalog: Catalog, stream: StreamRecord) -> None:
        self._kv = kv
        self._catalog = catalog
        self._stream = stream

    def scan(self, layout: SegmentLayout) -> SegmentScan:
        return SegmentScan(self._kv, self._catalog, self._stream.key(layout))

    def head(self) -> Places:
        """From the beginning of what is there."""
        return self._places((layout, self.scan(layout).record.start) for layout in self._stream.layout)

    def tail(self) -> Places:
        """From what comes next."""
        return self._places((layout, self.scan(layout).record.length) for layout in self._stream.layout)

    def _each(self, find: Callable[[SegmentLayout, SegmentScan], Position]) -> Places:
        places: Places = {}
        for layout in self._stream.layout:
            scan = self.scan(layout)
            place = find(layout, scan)
            if layout.open or place.offset < scan.record.length:
                places[scan.key] = place
        return places

    def from_position(self, position: Position) -> Places:
        """From one position: in the other segments from what follows it in the order of the stream. Raises ValueError."""
        at = self._segment(position)
        index = self._stream.layout.index(at)
        scan = self.scan(at)
        record = scan.record
        # What was handed out of this segment last: of a frame that was begun, its first event.
        last = position.offset if position.place else position.offset - 1
        if len(self._stream.layout) == 1:
            places = {}
        elif last < record.start and record.start:
            places = self.head()  # What stood before it, and so what was read of the others, is not known any more.
        elif last < 0:
            places = self._behind(commit_before(scan, 0) if record.length else at.opened, index)
        else:
            places = self._behind(commit_before(scan, last), index)
        places[scan.key] = position
        if not at.open and position.offset >= record.length:
            del places[scan.key]
        return places

    def from_time(self, time_ns: int) -> Places:
        """From the first event of each segment that was captured at `time_ns` or after it."""

        def find(layout: SegmentLayout, scan: SegmentScan) -> Position:
            def read_from(start: Position) -> SegmentReader:
                return SegmentReader(self._kv, self._catalog, self._stream, layout, start)

            timeline = timeline_of(self._catalog, self._stream, scan)
            return position_of_time(read_from, timeline, scan, time_ns)

        return self._each(find)

    def from_where(self, where: str | Position | StreamCut, now_ns: int) -> Places:
        """From wherever `where` says. Raises ValueError with examples."""
        place = parse_where(where, now_ns) if isinstance(where, str) else where
        if isinstance(place, StreamCut):
            return self.from_cut(place)
        if isinstance(place, Position):
            return self.from_position(place)
        if isinstance(place, int):
            return self.from_time(place)
        return self.head() if place == "head" else self.tail()

    def from_cut(self, cut: StreamCut) -> Places:
        """From a cut: what lies before it is read, what comes behind it is not. Raises ValueError."""
        if len(cut.positions) == 1 and _unshared([self._segment(cut.positions[0]).keys]):
            return self.from_position(cut.positions[0])
        places: Places = {}
        named = {self._segment(position): position for position in cut.positions}
        for layout in self._stream.layout:
            scan = self.scan(layout)
            if layout in named:
                if layout.open or named[layout].offset < scan.record.length:
                    places[scan.key] = named[layout]
            elif any(_precedes(other, layout) for other in named):
                places[scan.key] = Position(layout.segment, layout.epoch, 0)
        return places

    def cut(self, places: Places) -> StreamCut:
        """The same as a StreamCut: of what follows a segment that is not read to its end, nothing need be said.

        Where a part of the key space is read on in a segment that waits for others, the one before it is named, at its end.
        """
        ahead = [layout for layout in self._stream.layout if self._stream.key(layout) in places]
        frontier = [layout for layout in ahead if not any(_precedes(other, layout) for other in ahead)]
        while missing := _unshared([part.keys for part in frontier]):
            read = next(
                layout
                for layout in reversed(self._stream.layout)
                if layout not in ahead
                and any(layout.keys.overlaps(keys) for keys in missing)
                and not any(_precedes(part, layout) for part in frontier)
            )
            frontier = [part for part in frontier if not part.keys.overlaps(read.keys)] + [read]
        ends = (Position(part.segment, part.epoch, self.scan(part).record.length) for part in frontier)
        positions = (places.get(self._stream.key(part), end) for part, end in zip(frontier, ends, strict=True))
        return StreamCut(tuple(sorted(positions)))

    def first(self, places: Places) -> Position:
        """The one position that says the same: of what is not read the first, at the end the last that was."""
        ahead = []
        for index, layout in enumerate(self._stream.layout):
            scan = self.scan(layout)
            place = places.get(scan.key)
            if place is not None and place.offset < scan.record.length:
                ahead.append((commit_before(scan, place.offset), index, place))
        if ahead:
            return min(ahead)[2]
        ends = []
        for index, layout in enumerate(self._stream.layout):
            record = self.scan(layout).record
            ends.append((record.last_commit, index, Position(layout.segment, layout.epoch, record.length)))
        return max(ends)[2]

    def _places(self, offsets: Iterable[tuple[SegmentLayout, int]]) -> Places:
        places: Places = {}
        for layout, offset in offsets:
            if layout.open or offset < self.scan(layout).record.length:
                places[self._stream.key(layout)] = Position(layout.segment, layout.epoch, offset)
        return places

    def _behind(self, commit: int, index: int) -> Places:
        """What stands behind segment `index` of a commit in the order of the stream."""
        offsets = []
        for place, layout in enumerate(self._stream.layout):
            scan = self.scan(layout)
            wanted = commit + 1 if place < index else commit
            record = scan.record
            if layout.opened >= wanted:
                offsets.append((layout, 0))
            else:
                offsets.append((layout, first_where(record.start, record.length, _reached(scan, wanted))))
        return self._places(offsets)

    def _segment(self, position: Position) -> SegmentLayout:
        layout = self._stream.segment(position.number, position.epoch)
        if layout is None:
            raise ValueError(
                f"{self._stream.name!r} has no segment {position.number}.{position.epoch}: "
                "the position is of another stream"
            )
        return layout


def _reached(scan: SegmentScan, commit: int) -> Callable[[int], bool]:
    """Whether the byte at an offset became visible by that commit or a later one."""
    return lambda offset: commit_before(scan, offset) >= commit


def _precedes(one: SegmentLayout, other: SegmentLayout) -> bool:
    return one.epoch < other.epoch and one.keys.overlaps(other.keys)


def _unshared(ranges: Iterable[KeyRange]) -> list[KeyRange]:
    """The parts of the key space that are in none of `ranges`, which do not overlap."""
    low, missing = 0, []
    for keys in sorted(ranges, key=lambda keys: keys.low):
        if keys.low > low:
            missing.append(KeyRange(low, keys.low))
        low = keys.high
    return missing + ([KeyRange(low)] if low < KeyRange().high else [])
