"""The store's public face."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self
from uuid import UUID

from storage import mirroring
from storage.budget import Sizes, check_limit
from storage.catalog import SegmentLayout, SegmentRecord, StreamRecord
from storage.check import CheckReport, check
from storage.clock import Clock, SystemClock
from storage.committer import Take
from storage.directory import StoreDirectory
from storage.drops import Drops
from storage.errors import ConditionFailedError, StorageError, TooLargeError, UnknownStreamError
from storage.forecast import Outlook
from storage.frame import check_frame
from storage.gaps import gaps_of
from storage.group import Group
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.kv.memory import MemoryTwin
from storage.kv.rocks import RocksStore
from storage.mirror import Held, Holdings, Unit
from storage.model import (
    MAX_APPEND_BYTES,
    Append,
    Event,
    Gap,
    Position,
    Receipt,
    RetentionPolicy,
    SegmentId,
    SegmentInfo,
    StreamConfig,
    StreamInfo,
    check_new_stream,
    check_stream_name,
    is_internal,
)
from storage.moment import parse_where
from storage.opening import open_for_writing
from storage.readers.access import GroupAccess
from storage.reading import Reader, SegmentScan, position_of_time
from storage.retention import Retention, RetentionReport
from storage.state.access import StateAccess
from storage.state.table import Change, plan_changes
from storage.ticket import Ticket
from storage.trace import Trace, no_trace
from storage.writer import Writer

_FOLLOW_WAIT_S = 1.0


class SegmentStore(StateAccess, GroupAccess):
    """Streams of events, durable before their tickets say so.

    Any thread may call anything. Commits are a step (`commit`): a thread at the top owns them (`own_commits`), or
    waiting on a ticket drives them.
    """

    def __init__(
        self, kv: KeyValueStore, store_id: UUID, clock: Clock, trace: Trace, directory: StoreDirectory | None = None,
        disk_limit: int | None = None,
    ) -> None:  # fmt: skip
        opened = open_for_writing(kv, store_id, clock, trace)
        self._kv = kv
        self._clock = clock
        self._catalog = opened.catalog
        self._committer = opened.committer
        self._directory = directory
        self._retention = Retention(
            kv, opened.catalog, opened.committer, clock, disk_limit, (directory or kv).disk_bytes
        )
        self._closed = False
        self.store_id = store_id
        self.recovery = opened.lines

    @classmethod
    def open(
        cls, path: str | Path, *, clock: Clock | None = None, trace: Trace = no_trace, disk_limit: int | None = None
    ) -> SegmentStore:
        """Open for writing; created where missing. `disk_limit` in bytes holds for everything under `path`, at its peak.

        Raises StoreLockedError, StoreFormatError, StoreDamagedError, StoreFullError, StorageError (no permission, a
        limit too small to work in).
        """
        check_limit(disk_limit)
        directory = StoreDirectory(Path(path))
        try:
            log_bytes = Sizes.under(disk_limit).log
            kv = RocksStore(directory.db, directory.next_aside(), log_limit_bytes=log_bytes)
            try:
                return cls(kv, directory.store_id, clock or SystemClock(), trace, directory, disk_limit)
            except BaseException:
                kv.close()
                raise
        except BaseException:
            directory.close()
            raise

    @classmethod
    def in_memory(
        cls, twin: MemoryTwin | None = None, *, clock: Clock | None = None, trace: Trace = no_trace,
        disk_limit: int | None = None,
    ) -> SegmentStore:  # fmt: skip
        """A store on a twin in RAM: what tests and simulations use."""
        twin = twin or MemoryTwin()
        return cls(twin.connect(), twin.store_id, clock or SystemClock(), trace, None, disk_limit)

    @staticmethod
    def check_directory(path: str | Path) -> CheckReport:
        """Check a store that is not open, changing nothing. Raises StoreLockedError, StoreFormatError."""
        directory = StoreDirectory(Path(path), create=False)
        try:
            kv = RocksStore(directory.db, directory.path, read_only=True)
            try:
                return check(kv, directory.store_id, kv.evidence.damage)
            finally:
                kv.close()
        finally:
            directory.close()

    def close(self) -> None:
        """Make durable what waits, where the disk allows it, and let go of the files."""
        if self._closed:
            return
        self._closed = True
        while self._committer.commit():
            pass
        self._committer.close()
        self._kv.close()
        if self._directory is not None:
            self._directory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def opening(self) -> int:
        """The number of this opening for writing."""
        return self._committer.opening

    @property
    def clock(self) -> Clock:
        return self._clock

    # streams

    def create_stream(self, name: str, config: StreamConfig | None = None) -> bool:
        """Create a stream, durable when it returns. False: it is there already, as it is.

        Raises InvalidNameError.
        """
        check_new_stream(name, config or StreamConfig())
        if name in self._catalog.streams:
            return False

        def take(group: Group, ticket: Ticket) -> None:
            if group.stream(name) is None:
                group.create_stream(name, config or StreamConfig())
            group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))

        self._committer.submit(Ticket(self._committer), take, len(name)).result()
        return True

    def has_stream(self, name: str) -> bool:
        return name in self._catalog.streams

    def streams(self, *, internal: bool = False) -> list[StreamInfo]:
        """Every stream as it stands on disk now, by name; the store's own only where `internal`."""
        known = sorted(self._catalog.streams.copy().values(), key=lambda stream: stream.name)
        return [self._info(stream) for stream in known if internal or not is_internal(stream.name)]

    def stream(self, name: str) -> StreamInfo:
        """Raises UnknownStreamError."""
        return self._info(self._stream(name))

    def gaps(self, name: str) -> list[Gap]:
        """Every range of a stream that is gone, and why. Raises UnknownStreamError."""
        stream = self._stream(name)
        return gaps_of(self._kv, self._catalog, stream)

    def truncate(self, name: str, *positions: str | Position) -> bool:
        """Give up what lies before `positions` (a StreamCut: one in each segment that is cut), durable when it returns.

        A segment then begins with the commit that holds the position: never inside an entry or a transaction. Offsets
        never shift; whoever reads below is told once. False: nothing to give up. Raises ValueError, UnknownStreamError.
        """
        return self._retention.truncate(self._stream(name), [self.resolve(name, position) for position in positions])

    def retain(
        self, confirmed: Mapping[str, int], consumed: Mapping[str, Sequence[Position]] | None = None,
        mirrored: Mapping[str, RetentionPolicy] | None = None,
    ) -> RetentionReport:  # fmt: skip
        """One step of retention, to be taken every few seconds (`storage.retention.Retention.retain`)."""
        return self._retention.retain(confirmed, consumed or {}, mirrored or {})

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
                    None,
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

    # writing

    def submit(
        self, appends: Sequence[Append], cursors: Mapping[str, bytes] | None = None, changes: Sequence[Change] = ()
    ) -> Ticket:
        """Queue one all-or-nothing group: appends, cursors and changes of tables, in one commit, or none of it.

        Never waits for the disk. Raises at once, with nothing taken: StoreBusyError (try again), StoreFullError (the
        stream is at its own limit), TooLargeError, UnknownStreamError, StoreFailedError, StoreClosedError. The ticket
        may raise WriterNumberGapError, ConditionFailedError. Events that their writer's numbers say are stored are
        acknowledged and not stored again.
        """
        size = 0
        for append in appends:
            before = size
            for frame in append.frames:
                size += check_frame(frame)
            self._retention.admit(self._stream(append.stream), size - before)
        state = dict(cursors or {})
        size += sum(map(len, state.values()))
        if size > MAX_APPEND_BYTES:
            raise TooLargeError(f"{size} bytes in one append: at most {MAX_APPEND_BYTES}; send it in several")
        kept = tuple(appends)

        def take(group: Group, ticket: Ticket) -> None:
            group.take(ticket, kept, state | plan_changes(group, changes))

        return self.submit_take(take, size + sum(len(change.value or b"") for change in changes))

    def submit_take(self, take: Take, size_bytes: int) -> Ticket:
        """Queue a step of a commit, for parts of this package. Raises StoreBusyError or what ended the store."""
        return self._committer.submit(Ticket(self._committer), take, size_bytes)

    def writer(self, stream: str, writer_id: str | None = None) -> Writer:
        """A writer for a stream that exists. Raises UnknownStreamError."""
        self._stream(stream)
        return Writer(self, stream, writer_id)

    def last_number(self, stream: str, writer_id: str) -> int | None:
        """The writer's highest durable number in that stream, None where it is not known."""
        return self._catalog.writers.get(self._stream(stream).number, {}).get(writer_id)

    def cursor(self, name: str) -> bytes | None:
        """The durable state last submitted under that name."""
        return self._catalog.cursors.get(name)

    def cursors(self) -> Mapping[str, bytes]:
        """All durable state of cursors and tables, under the names in which it is stored."""
        return self._catalog.cursors.copy()

    # committing

    def commit(self) -> bool:
        """One step: make durable what waits. False where nothing did, or where it can't be now (`blocked` says why)."""
        return self._committer.commit()

    def wait_for_work(self, timeout_s: float) -> bool:
        """Wait until something is queued, at most `timeout_s`."""
        return self._committer.wait_for_work(timeout_s)

    def own_commits(self, owned: bool = True) -> None:
        """A thread at the top calls `commit` from now on; tickets no longer do."""
        self._committer.owned = owned

    @property
    def blocked(self) -> str | None:
        """Why commits can't proceed now (disk full, engine stalled, failed), None where they do."""
        return self._committer.blocked

    @property
    def failed(self) -> StorageError | None:
        """What ended the store for writing: nothing more can become durable until it is reopened. None while it works."""
        return self._committer.failed

    @property
    def waiting(self) -> int:
        """Submissions in the queue."""
        return self._committer.waiting

    @property
    def last_commit(self) -> int:
        """The newest durable commit."""
        return self._committer.last_commit

    def wait_for_commit(self, after: int, timeout_s: float) -> int:
        """Wait until a commit behind `after` is durable, at most `timeout_s`; the newest one."""
        return self._committer.wait_for_commit(after, timeout_s)

    # reading

    def resolve(self, stream: str, where: str | Position) -> Position:
        """The position that `where` names: `head`, `tail`, a position, an ISO 8601 time, an age.

        Raises ValueError with examples, UnknownStreamError.
        """
        record = self._stream(stream)
        layout = record.layout[-1]
        scan = self._scan(record, layout)
        place = parse_where(where, self._clock.wall_ns()) if isinstance(where, str) else where
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
        return position_of_time(self._reader(record, layout, head), self._catalog, scan, place)

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

    # mirroring

    def next_unit(
        self, node: str, held: Mapping[str, Held], wanted: Callable[[str], bool], max_bytes: int
    ) -> Unit | None:
        """The next unit for an upstream that holds `held` of us (by our names), of the streams that are wanted.

        Whole commits, the oldest first, at least one even where it is larger than `max_bytes`. None: all that is durable
        is held. Raises OriginRefusedError where upstream holds what this store never had.
        """
        cutter = mirroring.UnitCutter(self._kv, self._catalog, self.store_id, node)
        return cutter.next_unit(held, wanted, self.last_commit, max_bytes)

    def submit_unit(self, unit: Unit) -> Ticket:
        """Apply a unit in one commit; a stream `s` of node `n` is `n/s` here. What is held already is not taken again.

        The ticket raises OriginRefusedError, ConditionFailedError (it does not continue what is held).
        """
        for part in unit.parts:
            check_stream_name(f"{unit.node}/{part.stream}")
            if not part.entries:
                raise ConditionFailedError(f"a part of {part.stream!r} has no entries")

        def take(group: Group, ticket: Ticket) -> None:
            mirroring.take_unit(group, ticket, unit)

        return self._committer.submit(Ticket(self._committer), take, unit.size_bytes)

    def holdings(self, node: str) -> Holdings:
        """What is held of a node, durable."""
        return mirroring.holdings(self._catalog, node)

    def admit(self, node: str, store: UUID, opening: int) -> Holdings:
        """`holdings`, for whoever may speak for the node. Raises OriginRefusedError with what to do."""
        held = mirroring.holdings(self._catalog, node)
        mirroring.check_origin(self._catalog.mirrors.get(node), node, store, opening, len(held.streams))
        return held

    # the whole

    def disk_bytes(self) -> int:
        """Everything that the store takes on disk now."""
        return (self._directory or self._kv).disk_bytes()

    @property
    def written_bytes(self) -> int:
        """What all commits since opening wrote: the rate at which the disk fills."""
        return self._committer.written_bytes

    def outlook(self) -> Outlook:
        """What a full disk would mean now."""
        return self._retention.outlook()

    def check(self) -> CheckReport:
        """Check the store, while no commit is taken meanwhile (a long step)."""
        with self._committer.paused():
            return check(self._kv, self.store_id)
