"""What can be asked of a store: its streams, their state, their events. Nothing here changes anything on disk."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping

from storage.bulk.key_frames import key_frame_before
from storage.byte_ranges import read_range
from storage.catalog import Catalog
from storage.clock import Clock
from storage.committer import Committer
from storage.cuts import Cuts, Places
from storage.errors import UnknownStreamError
from storage.event import Event
from storage.gaps import gaps_of
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.merging import StreamReader
from storage.model import (
    Gap,
    Position,
    SegmentId,
    SegmentInfo,
    StreamConfig,
    StreamCut,
    StreamInfo,
    is_internal,
)
from storage.reading import SegmentReader, SegmentScan
from storage.records import SegmentRecord, StreamRecord
from storage.retention.drops import Drops
from storage.seeking import timeline_of

_FOLLOW_WAIT_S = 1.0


class StoreView:
    """The reading half of a store. Readers see only what is durable, and never block a writer."""

    def __init__(self, kv: KeyValueStore, catalog: Catalog, committer: Committer, clock: Clock) -> None:
        self._kv = kv
        self._catalog = catalog
        self._committer = committer
        self._clock = clock

    @property
    def clock(self) -> Clock:
        return self._clock

    # streams

    def has_stream(self, name: str) -> bool:
        return name in self._catalog.streams

    def takes(self, name: str) -> bool:
        """Whether events may be appended to a stream: it is not sealed, nor mirrored from another node. One that is not there
        yet may be made."""
        stream = self._catalog.streams.get(name)
        return stream is None or stream.takes

    def streams(
        self, *, internal: bool = False, wanted: Callable[[StreamConfig], bool] = lambda config: True
    ) -> list[StreamInfo]:
        """Every stream as it stands on disk now, by name, that is `wanted`; the store's own only where `internal`."""
        known = sorted((n, s) for n, s in self._catalog.streams.copy().items() if internal or not is_internal(n))
        return [self._info(stream) for _, stream in known if wanted(stream.config)]

    def stream(self, name: str) -> StreamInfo:
        """Raises UnknownStreamError."""
        return self._info(self._stream(name))

    def gaps(self, name: str) -> list[Gap]:
        """Every range of a stream that is gone, and why. Raises UnknownStreamError."""
        stream = self._stream(name)
        return gaps_of(self._kv, self._catalog, stream)

    def _stream(self, name: str) -> StreamRecord:
        stream = self._catalog.streams.get(name)
        if stream is None:
            near = difflib.get_close_matches(name, list(self._catalog.streams), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UnknownStreamError(f"there is no stream {name!r}{hint}")
        return stream

    def _info(self, stream: StreamRecord) -> StreamInfo:
        segments = []
        for layout in stream.layout:
            key = stream.key(layout)
            record = self._catalog.segments.get(key, SegmentRecord())
            segments.append(
                SegmentInfo(
                    SegmentId(stream.name, layout.segment, layout.epoch),
                    layout.keys,
                    layout.until,
                    record.start,
                    record.length,
                    record.events,
                    record.last_commit,
                    record.gaps,
                )
            )
        origin = None if stream.origin is None else stream.origin[0]
        drops = self._catalog.drops.get(stream.number, Drops()).reasons
        return StreamInfo(stream.name, stream.config, origin, tuple(segments), dict(drops))

    # state

    def last_number(self, stream: str, writer_id: str) -> int | None:
        """The writer's highest durable number in that stream, None where it is not known."""
        return self._catalog.writers.get(self._stream(stream).number, {}).get(writer_id)

    def cursor(self, name: str) -> bytes | None:
        """The durable state last submitted under that name."""
        return self._catalog.cursors.get(name)

    def cursors(self) -> Mapping[str, bytes]:
        """All durable state of cursors and tables, under the names in which it is stored."""
        return self._catalog.cursors.copy()

    # commits

    @property
    def last_commit(self) -> int:
        """The newest durable commit."""
        return self._committer.last_commit

    def wait_for_commit(self, after: int, timeout_s: float) -> int:
        """Wait until a commit behind `after` is durable, at most `timeout_s`; the newest one."""
        return self._committer.wait_for_commit(after, timeout_s)

    # events

    def resolve(self, stream: str, where: str | Position | StreamCut) -> Position:
        """The position that `where` names: `head`, `tail`, a position, a StreamCut, an ISO 8601 time, an age.

        Raises ValueError with examples, UnknownStreamError.
        """
        cuts = self._cuts(stream)
        places = cuts.from_where(where, self.now_ns())
        return where if isinstance(where, Position) else cuts.first(places)

    def now_ns(self) -> int:
        """Now, since 1970, as events stored now are shown: what ages are counted from."""
        node = self._catalog.node
        timeline = None if node is None else self._catalog.timelines.get(node.store)
        if timeline is None or self._clock.boot_id not in timeline.by_id:
            return self._clock.wall_ns()
        return self._clock.boot_ns() + timeline.shift(self._clock.boot_id).offset_ns

    def cut(self, stream: str, where: str | Position | StreamCut) -> StreamCut:
        """The same place as a StreamCut, which holds through scales. Raises ValueError, UnknownStreamError."""
        cuts = self._cuts(stream)
        return cuts.cut(cuts.from_where(where, self.now_ns()))

    def reader(
        self, stream: str, start: str | Position | StreamCut = "head", stop: str | Position | StreamCut | None = None
    ) -> StreamReader:
        """Reads onward from `start`, up to `stop`, in bounded steps. Raises ValueError, UnknownStreamError."""
        record = self._stream(stream)
        cuts = Cuts(self._kv, self._catalog, record)
        places = cuts.from_where(start, self.now_ns())
        position = start if isinstance(start, Position) else cuts.first(places)
        end = None if stop is None else self._ends(record, stop)
        return StreamReader(self._kv, self._catalog, record, places, position, end)

    def _ends(self, stream: StreamRecord, where: str | Position | StreamCut) -> Places:
        """What lies before `where` ends here in each segment: at the end of those that are read there."""
        ends = Cuts(self._kv, self._catalog, stream).from_where(where, self.now_ns())
        for layout in stream.layout:
            key = stream.key(layout)
            length = self._catalog.segments.get(key, SegmentRecord()).length
            ends.setdefault(key, Position(layout.segment, layout.epoch, length))
        return ends

    def segment_reader(self, segment: SegmentId, start: Position) -> SegmentReader:
        """Reads one segment onward from `start`, to its end. Raises UnknownStreamError, ValueError."""
        stream = self._stream(segment.stream)
        layout = stream.segment(segment.number, segment.epoch)
        if layout is None or (start.number, start.epoch) != (segment.number, segment.epoch):
            raise ValueError(f"{segment.stream!r} has no segment {segment}, or {start} is a position of another")
        return SegmentReader(self._kv, self._catalog, stream, layout, start)

    def read(
        self,
        stream: str,
        start: str | Position | StreamCut = "head",
        *,
        stop: str | Position | StreamCut | None = None,
        follow: bool = False,
        limit: int | None = None,
        on_gap: Callable[[Gap], None] | None = None,
    ) -> Iterator[Event]:
        """Events from `start` up to and without `stop`; with `follow`, on and on as they become durable.

        In the order in which they became durable, so in that of each routing key, through any number of scales.
        Without a `stop` it ends at what was durable when it got there. Gaps go to `on_gap`, once each.
        """
        reader = self.reader(stream, start, stop)
        left = limit
        while left is None or left > 0:
            seen = self.last_commit
            items = reader.poll(1000 if left is None else min(left, 1000))
            if not items:
                if not follow or reader.ended:
                    return
                self.wait_for_commit(seen, _FOLLOW_WAIT_S)
            for item in items:
                if isinstance(item, Gap):
                    if on_gap is not None:
                        on_gap(item)
                    continue
                yield item
            left = None if left is None else left - sum(isinstance(item, Event) for item in items)

    def read_bytes(self, stream: str, position: Position, size_bytes: int) -> bytes:
        """Bytes of a segment from `position.offset` on, as far as they are durable: see `storage.byte_ranges`.

        Raises UnknownStreamError, RangeGoneError, DamagedBlockError.
        """
        return read_range(self._kv, self._scan_at(stream, position), position.offset, size_bytes)

    def key_frame_before(self, stream: str, time_ns: int) -> Position | None:
        """Where the last key frame captured at or before `time_ns` stands: no chunk is touched.

        In a stream of several segments, of the newest one that has any. Raises UnknownStreamError.
        """
        record = self._stream(stream)
        for layout in reversed(record.layout):
            scan = SegmentScan(self._kv, self._catalog, record.key(layout))
            found = key_frame_before(scan, timeline_of(self._catalog, record, scan), time_ns)
            if found is not None:
                return found
        return None

    def _scan_at(self, stream: str, position: Position) -> SegmentScan:
        return SegmentScan(
            self._kv, self._catalog, SegmentKey(self._stream(stream).number, position.number, position.epoch)
        )

    def _cuts(self, stream: str) -> Cuts:
        return Cuts(self._kv, self._catalog, self._stream(stream))
