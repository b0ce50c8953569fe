"""A reader group: who reads which segment, where all of them stand, and what follows from it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from storage.errors import InvalidNameError, StorageError, StoreBusyError
from storage.model import SegmentId, StreamCut
from storage.readers.group_state import (
    Begun,
    GroupState,
    GroupUpdate,
    Joined,
    Left,
    Marks,
    Reset,
    cuts,
    marks_of,
)
from storage.readers.progress import TimeWindow, consumed, lags, window
from storage.readers.reader import GroupConfig, Reader, ReaderOfflineError, ReaderPosition, Store, Synchronizer
from storage.state import StateDamagedError

MAX_ONGOING_CHECKPOINTS = 3
MAX_READERS = 1_000
MAX_STREAMS = 1_000

Where = str | StreamCut | Mapping[str, StreamCut]
"""`head`, `tail` or a time, for every stream; a cut of the only stream; or a cut of each."""


class ReaderGroup:
    """Made by `SegmentStore.reader_group`, one for each name. Any thread may call anything."""

    def __init__(self, store: Store, synchronizer: Synchronizer, name: str, config: GroupConfig | None = None) -> None:
        self._store = store
        self._synchronizer = synchronizer
        self.name = name
        self.config = config or GroupConfig()
        self._lock = threading.Lock()
        self._live: dict[str, Reader] = {}
        self._heard_ns: dict[str, int] = {}
        self._opened_ns = store.clock.boot_ns()
        try:
            synchronizer.fetch()
        except StateDamagedError:
            state = synchronizer.restore()
            for reader_id in state.readers:
                self.offline(reader_id, {})

    def set_up(self, streams: Sequence[str] | None, start: Where, stop: Where | None) -> None:
        """Make the group where it is new. Raises StorageError where it reads other streams."""

        def decide(state: GroupState) -> list[GroupUpdate]:
            if not state.streams:
                if not streams:
                    raise StorageError(f"reader group {self.name!r} is new: say which streams it is to read")
                return [self._reset_to(tuple(streams), start, stop)]
            if streams is not None and set(streams) != set(state.streams):
                raise StorageError(
                    f"reader group {self.name!r} reads {', '.join(state.streams)}: give another one another name, or reset it"
                )
            return []

        self._update(decide)

    def _update(self, decide: Callable[[GroupState], list[GroupUpdate]]) -> GroupState:
        return self._synchronizer.update(decide, timeout_s=self.config.timeout_s)

    # readers

    def reader(self, reader_id: str, last_position: ReaderPosition | None = None) -> Reader:
        """A reader under that name, online when it returns.

        One of that name left over from before a restart is taken offline first, at `last_position` if that is given.
        Raises StorageError where one is online, or there are 1,000.
        """
        if not 1 <= len(reader_id) <= 255:
            raise InvalidNameError(f"{reader_id[:40]!r} is no name of a reader: 1 to 255 characters")
        with self._lock:
            if reader_id in self._live:
                raise StorageError(
                    f"reader {reader_id!r} of group {self.name!r} is online: close it, or say with `reader_offline` that "
                    "it is dead"
                )

            def decide(state: GroupState) -> list[GroupUpdate]:
                if len(state.readers) >= MAX_READERS:
                    raise StorageError(f"group {self.name!r} has {MAX_READERS} readers, the most there may be")
                marks = {} if last_position is None else last_position.marks
                left = [Left(reader_id, marks)] if reader_id in state.readers else []
                return [*left, Joined(reader_id)]

            # Before it can be seen: another's step must not take it for one that has long been silent.
            self._heard_ns[reader_id] = self._store.clock.boot_ns()
            self._update(decide)
            reader = Reader(self, self._store, self._synchronizer, reader_id)
            self._live[reader_id] = reader
            return reader

    def reader_offline(self, reader_id: str, last_position: ReaderPosition | None = None) -> None:
        """Declare a reader dead: its segments go on at `last_position`, or where it recorded its position last.

        For each event exactly once, `last_position` is what the reader's `position` was behind its last `read`, kept in
        one write with what was made of those events, before the next `read`. Nothing where no such reader is known.
        """
        self.offline(reader_id, {} if last_position is None else last_position.marks)

    def offline(self, reader_id: str, marks: Marks) -> None:
        """As `reader_offline`."""
        self._update(lambda state: [Left(reader_id, marks)] if reader_id in state.readers else [])
        self._live.pop(reader_id, None)
        self._heard_ns.pop(reader_id, None)

    @property
    def readers(self) -> dict[str, tuple[SegmentId, ...]]:
        """Who is online, and which segments each owns."""
        state = self._synchronizer.fetch()
        return {reader: tuple(sorted(marks)) for reader, marks in state.readers.items()}

    def heard(self, reader: Reader) -> None:
        """For readers: it is alive. Raises ReaderOfflineError where it was declared dead."""
        if self._live.get(reader.reader_id) is not reader:
            raise ReaderOfflineError.of(reader.reader_id, self.name)
        self._heard_ns[reader.reader_id] = self._store.clock.boot_ns()

    def step(self) -> None:
        """Take readers offline that were not heard for longer than the lease. Every `read` does it, too."""
        now_ns = self._store.clock.boot_ns()
        if self._store.blocked is not None:
            return
        for reader_id in self._synchronizer.fetch().readers:
            silent_ns = now_ns - self._heard_ns.get(reader_id, self._opened_ns)
            if silent_ns > self.config.lease_s * 1e9:
                self.offline(reader_id, {})

    # checkpoints and resets

    def checkpoint(self, name: str) -> None:
        """Ask every reader that is online to pass a checkpoint; `checkpoint_cut` tells when all have.

        Until it has passed, a reader keeps the segments that it has. Raises StoreBusyError while three are under way,
        StorageError where one of that name is complete.
        """

        def decide(state: GroupState) -> list[GroupUpdate]:
            if any(done.name == name for done in state.complete):
                raise StorageError(f"group {self.name!r} has a checkpoint {name!r}: give another one another name")
            if any(ongoing.name == name for ongoing in state.ongoing):
                return []
            if len(state.ongoing) >= MAX_ONGOING_CHECKPOINTS:
                raise StoreBusyError(
                    f"group {self.name!r} has {len(state.ongoing)} checkpoints under way: try again later"
                )
            return [Begun(name)]

        self._update(decide)

    def checkpoint_cut(self, name: str) -> dict[str, StreamCut] | None:
        """Where the group stood when all had passed, a cut of each stream; None while some have not.

        Raises StorageError for a name that is not, or no longer, known: the newest ten are kept.
        """
        state = self._synchronizer.fetch()
        if any(ongoing.name == name for ongoing in state.ongoing):
            return None
        return cuts(self._complete(state, name))

    def _complete(self, state: GroupState, name: str) -> Marks:
        for checkpoint in state.complete:
            if checkpoint.name == name:
                return checkpoint.marks
        known = ", ".join(repr(checkpoint.name) for checkpoint in state.complete) or "none"
        raise StorageError(f"group {self.name!r} has no complete checkpoint {name!r}; there are: {known}")

    def reset_to_checkpoint(self, name: str) -> None:
        """Go back to a complete checkpoint. Every reader is to be made anew. Raises StorageError where it is not known."""
        self._reset(lambda state: Reset(state.streams, self._complete(state, name), state.stop))

    def reset(self, start: Where, *, streams: Sequence[str] | None = None, stop: Where | None = None) -> None:
        """Read from `start` to `stop` from now on, other streams if they are given. Every reader is to be made anew."""
        self._reset(lambda state: self._reset_to(tuple(streams or state.streams), start, stop))

    def retire(self) -> None:
        """The group reads nothing from now on, and keeps nothing from being given up."""
        self._reset(lambda state: Reset((), {}, {}))

    def _reset(self, decide: Callable[[GroupState], Reset]) -> None:
        with self._lock:
            self._update(lambda state: [decide(state)])
            self._live.clear()
            self._heard_ns.clear()

    def _reset_to(self, streams: tuple[str, ...], start: Where, stop: Where | None) -> Reset:
        if not 1 <= len(set(streams)) == len(streams) <= MAX_STREAMS:
            raise StorageError(f"group {self.name!r}: 1 to {MAX_STREAMS} streams, each once, not {list(streams)}")
        end = {} if stop is None else marks_of(self._cuts(streams, stop))
        stops = {segment: mark.position for segment, mark in end.items()}
        return Reset(streams, marks_of(self._cuts(streams, start)), stops)

    def _cuts(self, streams: tuple[str, ...], where: Where) -> dict[str, StreamCut]:
        if isinstance(where, Mapping):
            if set(where) != set(streams):
                raise StorageError(
                    f"group {self.name!r} reads {', '.join(streams)}: give a cut of each, and of no other"
                )
            return {stream: self._store.cut(stream, where[stream]) for stream in streams}
        if isinstance(where, StreamCut) and len(streams) > 1:
            raise StorageError(f"group {self.name!r} reads {len(streams)} streams: give a cut of each")
        return {stream: self._store.cut(stream, where) for stream in streams}

    # where it stands

    @property
    def streams(self) -> tuple[str, ...]:
        return self._synchronizer.fetch().streams

    @property
    def finished(self) -> bool:
        """Whether everything was read: up to `stop`, or to the end of streams that are sealed."""
        state = self._synchronizer.fetch()
        return bool(state.finished) and not state.unassigned and not any(state.readers.values())

    def cut(self) -> dict[str, StreamCut]:
        """Where the group stands: what was handed out and dealt with lies before it."""
        return cuts(self._marks())

    def _marks(self) -> Marks:
        state = self._synchronizer.fetch()
        marks = dict(state.marks)
        for reader_id, reader in list(self._live.items()):
            owned = state.readers.get(reader_id, {})
            marks.update({segment: mark for segment, mark in reader.passed().items() if segment in owned})
        return marks

    def retention_cut(self) -> dict[str, StreamCut]:
        """What lies before it nobody will ask for again: where all stand by what is recorded.

        In a group that makes checkpoints, the last complete one. It is for those who reset to checkpoints to go on
        making them: what lies behind the last one is kept.
        """
        return cuts(self._bound())

    def _bound(self) -> Marks:
        state = self._synchronizer.fetch()
        return state.marks if state.bound is None else state.bound

    def consumed(self) -> dict[str, dict[SegmentId, int]]:
        """The same, of every segment of each stream: the offset before which nobody will ask for it again."""
        marks = self._bound()
        names = sorted({segment.stream for segment in marks})
        return {name: consumed(marks, self._store.stream(name)) for name in names}

    def unread_bytes(self) -> dict[str, int]:
        """Of each stream, the bytes behind where the group stands, up to its stop if it has one."""
        return lags(self._marks(), self._synchronizer.state.stop, self._store)

    def watermark(self, stream: str) -> TimeWindow:
        """The time of capture that the group has come to in a stream. Raises StorageError for a stream it does not read."""
        if stream not in self.streams:
            raise StorageError(f"group {self.name!r} does not read {stream!r}")
        return window(self._marks(), self._store.stream(stream))
