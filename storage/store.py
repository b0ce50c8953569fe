"""The store's public face."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self
from uuid import UUID

from storage.check import CheckReport, check
from storage.clock import Clock, SystemClock
from storage.configuring import take_config
from storage.directory import StoreDirectory
from storage.errors import ConditionFailedError, StorageError, TooLargeError
from storage.frame import check_frame
from storage.group import Group
from storage.inspecting import check_directory
from storage.joining import MAX_EVENTS, Joined
from storage.kv.contract import KeyValueStore
from storage.kv.memory import MemoryTwin
from storage.kv.rocks import RocksStore
from storage.mirror import taking
from storage.mirror.cutting import UnitCutter
from storage.mirror.unit import Held, Holdings, Unit
from storage.model import (
    BULK,
    MAX_APPEND_BYTES,
    MAX_EVENT_BYTES,
    Append,
    Frame,
    KeyRange,
    Position,
    Receipt,
    RetentionPolicy,
    SegmentId,
    StreamConfig,
    StreamCut,
    check_new_stream,
    check_stream_name,
)
from storage.opening import open_for_writing
from storage.queue import Take
from storage.readers.access import Groups
from storage.retention.budget import Sizes, check_limit
from storage.retention.forecast import Outlook
from storage.retention.steps import Retention, RetentionReport
from storage.salvage.scrub import Scrubber
from storage.scaling import take_scale, take_seal
from storage.state.access import StateAccess
from storage.state.table import Change, plan_changes
from storage.ticket import Ticket
from storage.trace import Trace, no_trace
from storage.transactions.access import TransactionAccess
from storage.transactions.transactions import Transactions
from storage.view import StoreView
from storage.writer import Writer


class SegmentStore(StoreView, StateAccess, TransactionAccess):
    """Streams of events, durable before their tickets say so.

    Any thread may call anything. Commits are a step (`commit`): a thread at the top owns them (`own_commits`), or
    waiting on a ticket drives them.
    """

    def __init__(
        self, kv: KeyValueStore, store_id: UUID, clock: Clock, trace: Trace, directory: StoreDirectory | None = None,
        disk_limit: int | None = None,
    ) -> None:  # fmt: skip
        opened = open_for_writing(kv, store_id, clock, trace)
        super().__init__(kv, opened.catalog, opened.committer, clock)
        self._directory = directory
        self._retention = Retention(
            kv, opened.catalog, opened.committer, clock, disk_limit, (directory or kv).disk_bytes
        )
        self._closed = False
        self.transactions = Transactions(kv, opened.catalog, clock, self.submit_take, disk_limit)
        self.reader_groups = Groups(self)
        self.reader_group = self.reader_groups.get
        self.store_id = store_id
        self.salvaged = opened.salvaged
        self.scrub = Scrubber(kv, opened.catalog, opened.committer, opened.salvaged).step

    @classmethod
    def open(
        cls, path: str | Path, *, clock: Clock | None = None, trace: Trace = no_trace, disk_limit: int | None = None,
        create: bool = True,
    ) -> SegmentStore:  # fmt: skip
        """Open for writing; created where missing, if `create`. `disk_limit` in bytes holds for all under `path`, at its peak.

        Raises StoreLockedError, StoreFormatError, StoreDamagedError, StoreFullError, StorageError (no permission, a
        limit too small to work in).
        """
        check_limit(disk_limit)
        directory = StoreDirectory(Path(path), create=create, mend=True)
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
        return check_directory(path)

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

    # streams

    def create_stream(self, name: str, config: StreamConfig | None = None) -> bool:
        """Create a stream, durable when it returns. False: it is there already, as it is.

        Raises InvalidNameError, StoreFullError and StoreBusyError: it is not durable after ten seconds, may become so
        later, and can be asked for again.
        """
        check_new_stream(name, config or StreamConfig())
        if name in self._catalog.streams:
            return False

        def take(group: Group, ticket: Ticket) -> None:
            if group.stream(name) is None:
                group.create_stream(name, config or StreamConfig())
            group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))

        self._change(f"stream {name!r} was not made", take)
        return True

    def configure_stream(self, name: str, config: StreamConfig) -> None:
        """Keep a stream in another way from now on, durable when it returns; kind, priority and when_full stay.

        Raises ConditionFailedError where these differ, UnknownStreamError, StorageError (it is mirrored), and
        StoreFullError and StoreBusyError as `create_stream` does.
        """
        self._stream(name)
        self._change(f"stream {name!r} was not changed", lambda group, ticket: take_config(group, ticket, name, config))

    def truncate(self, name: str, *positions: str | Position | StreamCut) -> bool:
        """Give up what lies before `positions`, durable when it returns: a Position cuts its segment only, others all.

        A segment then begins with the commit that holds the position: never inside an entry or a transaction. Offsets
        never shift; whoever reads below is told once. False: nothing to give up. Raises ValueError, UnknownStreamError,
        and StoreFullError and StoreBusyError as `create_stream` does.
        """
        stream = self._stream(name)
        cut: list[Position] = []
        for where in positions:
            cut += [where] if isinstance(where, Position) else self._ends(stream, where).values()
        return self._retention.truncate(stream, cut)

    def scale(self, name: str, seal: Sequence[SegmentId], ranges: Sequence[KeyRange]) -> None:
        """Seal open segments and open others that share out the same keys, in a new epoch; durable when it returns.

        Raises ConditionFailedError where one of them is not open (any more), StorageError where the ranges do not fit,
        UnknownStreamError, and StoreFullError and StoreBusyError as `create_stream` does.
        """
        self._stream(name)
        segments = [(segment.number, segment.epoch) for segment in seal]
        self._change(
            f"stream {name!r} was not scaled", lambda group, ticket: take_scale(group, ticket, name, segments, ranges)
        )

    def seal(self, name: str) -> None:
        """End a stream: it takes nothing more, and can be read. Durable when it returns.

        Raises UnknownStreamError, and StoreFullError and StoreBusyError as `create_stream` does.
        """
        self._stream(name)
        self._change(f"stream {name!r} was not sealed", lambda group, ticket: take_seal(group, ticket, name))

    def _change(self, otherwise: str, take: Take) -> None:
        """Make a change durable that nobody holds a ticket of; `otherwise` is what to say where that takes too long."""
        self._committer.durable(self.submit_take(take, 0), otherwise)

    def retain(
        self, confirmed: Mapping[str, int], consumed: Mapping[str, Sequence[Position]] | None = None,
        mirrored: Mapping[str, RetentionPolicy] | None = None,
    ) -> RetentionReport:  # fmt: skip
        """One step of retention, to be taken every few seconds (`storage.retention`)."""
        return self._retention.retain(confirmed, consumed or {}, mirrored or {})

    # writing

    def submit(
        self, appends: Sequence[Append], cursors: Mapping[str, bytes] | None = None, changes: Sequence[Change] = (),
        *, whole: bool = True,
    ) -> Ticket:  # fmt: skip
        """Queue one all-or-nothing group: appends, cursors and changes of tables, in one commit, or none of it.

        Where it need not be `whole`, appends to streams that are sealed or mirrored by then are left out, the rest goes in,
        and the receipt names them (`left_out`). An empty cursor is removed; after damage to the engine
        it may be there again, as it was before.

        Never waits for the disk. Raises at once, with nothing taken: StoreBusyError (try again), StoreFullError (the
        stream is at its own limit), TooLargeError, UnknownStreamError, StoreFailedError, StoreClosedError. The ticket
        may raise WriterNumberGapError, ConditionFailedError. Events that their writer's numbers say are stored are
        acknowledged and not stored again.
        """
        size = self._measure(appends)
        state = dict(cursors or {})
        size += sum(map(len, state.values()))
        if size > MAX_APPEND_BYTES:
            raise TooLargeError(f"{size} bytes in one append: at most {MAX_APPEND_BYTES}; send it in several")
        kept = tuple(appends)

        def take(group: Group, ticket: Ticket) -> None:
            group.take(ticket, kept, state | plan_changes(group, changes), whole=whole)

        return self.submit_take(take, size + sum(len(change.value or b"") for change in changes))

    def _measure(self, appends: Sequence[Append]) -> int:
        """The size of what is to be appended. Raises what is wrong with it, or StoreFullError."""
        size = 0
        for append in appends:
            before, stream = size, self._stream(append.stream)
            limit = MAX_APPEND_BYTES if stream.config.kind == BULK else MAX_EVENT_BYTES
            for frame in append.frames:
                size += check_frame(frame, limit)
            self._retention.admit(stream, size - before)
        return size

    def submit_joined(self, stream: str, first: Frame) -> Joined:
        """Queue one event of a writer, which those that follow may join while it waits. Raises what `submit` does."""
        size = self._measure([Append(stream, [first])])
        # Where a stream is bounded by itself, every event is asked for.
        most = MAX_EVENTS if self._stream(stream).config.retention.max_bytes is None else 1
        joined = Joined(self._committer, stream, first, most)
        self._committer.submit(joined, joined.take, size)
        return joined

    def submit_take(self, take: Take, size_bytes: int, *, brings_bytes: int = 0) -> Ticket:
        """Queue a step of a commit, for parts of this package. Raises StoreBusyError or what ended the store."""
        return self._committer.submit(Ticket(self._committer), take, size_bytes, brings_bytes=brings_bytes)

    def writer(self, stream: str, writer_id: str | None = None) -> Writer:
        """A writer for a stream that exists. Raises UnknownStreamError."""
        self._stream(stream)
        return Writer(self, stream, writer_id)

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
    def recovery(self) -> tuple[str, ...]:
        """What opening found damaged and mended, and what a scrub has found since, in words."""
        return (*(self._directory.mended if self._directory else ()), *self.salvaged.told)

    @property
    def failed(self) -> StorageError | None:
        """What ended the store for writing: nothing more can become durable until it is reopened. None while it works."""
        return self._committer.failed

    @property
    def waiting(self) -> int:
        """Appends in the queue."""
        return self._committer.waiting

    def keep_time(self) -> bool:
        """Note that the clock was corrected, where it was: one step, for times when nothing is written. False: it was not."""
        boot = self._catalog.timelines[self.store_id].by_id[self._clock.boot_id]
        now_ns = self._clock.boot_ns()
        if boot.told(now_ns, self._clock.wall_ns() - now_ns, self._clock.trusted()) is boot:
            return False

        def take(group: Group, ticket: Ticket) -> None:
            group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))

        # Every commit writes down by itself what the clock says.
        self._committer.submit(Ticket(self._committer), take, 0)
        return True

    # mirroring

    def next_unit(
        self, node: str, held: Mapping[str, Held], wanted: Callable[[str], bool], max_bytes: int,
        boots: int | None = None,
    ) -> Unit | None:  # fmt: skip
        """The next unit for an upstream that holds `held` of us (by our names), of the streams that are wanted.

        `boots` is what it holds of our boots (`Holdings.boots`): what changed since goes along, or by itself.

        Whole commits, the oldest first, at least one even where it is larger than `max_bytes`. None: all that is durable
        is held. Raises OriginRefusedError where upstream holds what this store never had.
        """
        cutter = UnitCutter(self._kv, self._catalog, self.store_id, node)
        return cutter.next_unit(held, wanted, self.last_commit, max_bytes, boots)

    def submit_unit(self, unit: Unit) -> Ticket:
        """Apply a unit in one commit; a stream `s` of node `n` is `n/s` here. What is held already is not taken again.

        The ticket raises OriginRefusedError, ConditionFailedError (it does not continue what is held).
        """
        for part in unit.parts:
            check_stream_name(f"{unit.node}/{part.stream}")
            if part.through <= part.after:
                raise ConditionFailedError(f"a part of {part.stream!r} holds no commit")

        def take(group: Group, ticket: Ticket) -> None:
            taking.take_unit(group, ticket, unit)

        return self._committer.submit(Ticket(self._committer), take, unit.size_bytes)

    def holdings(self, node: str, wanted: Iterable[str] | None = None) -> Holdings:
        """What is held of a node, durable: of the streams `wanted`, by their names there, or of all."""
        return taking.holdings(self._catalog, node, wanted)

    def admit(self, node: str, store: UUID, opening: int) -> Holdings:
        """`holdings`, for whoever may speak for the node. Raises OriginRefusedError with what to do."""
        held = taking.holdings(self._catalog, node)
        taking.check_origin(self._catalog.mirrors.get(node), node, store, opening, len(held.streams))
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
