"""What can be asked of a store: its streams, their state, their events. Nothing here changes anything on disk."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping

from storage.catalog import Catalog, SegmentLayout, SegmentRecord, StreamRecord
from storage.clock import Clock
from storage.committer import Committer
from storage.drops import Drops
from storage.errors import UnknownStreamError
from storage.gaps import gaps_of
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.model import Event, Gap, Position, SegmentId, SegmentInfo, SegmentState, StreamInfo, is_internal
from storage.moment import parse_where
from storage.reading import Reader, SegmentScan
from storage.seeking import position_of_time

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

    def streams(self, *, internal: bool = False) -> list[StreamInfo]:
        """Every stream as it stands on disk now, by name; the store's own only where `internal`."""
        known = sorted(self._catalog.streams.copy().items())
        return [self._info(stream) for name, stream in known if internal or not is_internal(name)]

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
            key = SegmentKey(stream.number, layout.segment, layout.epoch)
            record = self._catalog.segments.get(key, SegmentRecord())
            segments.append(
                SegmentInfo(
                    SegmentId(stream.name, layout.segment, layout.epoch),
                    layout.keys,
                    None if record.state is SegmentState.OPEN else layout.epoch + 1,
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

    def resolve(self, stream: str, where: str | Position) -> Position:
        """The position that `where` names: `head`, `tail`, a position, an ISO 8601 time, an age.

        Raises ValueError with examples, UnknownStreamError.
        """
        record = self._stream(stream)
        layout = record.layout[-1]
        scan = self._scan(record, layout)
        place = parse_where(where, self.now_ns()) if isinstance(where, str) else where
        if isinstance(place, Position):
            if (place.number, place.epoch) != (layout.segment, layout.epoch):
                raise ValueError(
                    f"{stream!r} has no segment {place.number}.{place.epoch}: the position is of another stream"
                )
            return place
        head = Position(layout.segment, layout.epoch, scan.record.start)
        if place == "head":
            return head
        if place == "tail":
            return Position(layout.segment, layout.epoch, scan.record.length)
        assert isinstance(place, int)
        timeline = self._catalog.timeline_of(record)
        return position_of_time(lambda at: self._reader(record, layout, at), timeline, scan, place)

    def now_ns(self) -> int:
        """Now, since 1970, as events stored now are shown: what ages are counted from."""
        node = self._catalog.node
        timeline = None if node is None else self._catalog.timelines.get(node.store)
        known = timeline is not None and self._clock.boot_id in timeline.by_id
        shift = timeline.shift(self._clock.boot_id) if timeline is not None and known else None
        return self._clock.wall_ns() if shift is None else self._clock.boot_ns() + shift.offset_ns

    def reader(self, stream: str, start: str | Position = "head") -> Reader:
        """Reads onward from `start` in bounded steps. Raises ValueError, UnknownStreamError."""
        position = self.resolve(stream, start)
        record = self._stream(stream)
        return self._reader(record, record.layout[-1], position)

    def read(
        self,
        stream: str,
        start: str | Position = "head",
        *,
        stop: str | Position | None = None,
        follow: bool = False,
        limit: int | None = None,
        on_gap: Callable[[Gap], None] | None = None,
    ) -> Iterator[Event]:
        """Events from `start` up to and without `stop`; with `follow`, on and on as they become durable.

        Without a `stop` it ends at what was durable when it got there. Gaps go to `on_gap`, once each.
        """
        reader = self.reader(stream, start)
        end = None if stop is None else self.resolve(stream, stop)
        left = limit
        while left is None or left > 0:
            seen = self.last_commit
            items = reader.poll(1000 if left is None else min(left, 1000))
            if not items:
                if not follow or (end is not None and reader.position >= end):
                    return
                self.wait_for_commit(seen, _FOLLOW_WAIT_S)
            for item in items:
                if end is not None and item.position >= end:
                    return
                if isinstance(item, Gap):
                    if on_gap is not None:
                        on_gap(item)
                    continue
                yield item
                left = None if left is None else left - 1

    def _scan(self, stream: StreamRecord, layout: SegmentLayout) -> SegmentScan:
        return SegmentScan(self._kv, self._catalog, SegmentKey(stream.number, layout.segment, layout.epoch))

    def _reader(self, stream: StreamRecord, layout: SegmentLayout, position: Position) -> Reader:
        return Reader(self._kv, self._catalog, stream, layout, position)
