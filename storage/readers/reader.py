"""One reader of a group: reads the segments that it owns, in bounded steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from storage.clock import Clock
from storage.errors import StorageError
from storage.event import Event
from storage.model import Gap, Position, SegmentId, SegmentInfo, SegmentState, StreamCut, StreamInfo
from storage.readers.group_codec import decode_marks, encode_marks
from storage.readers.group_state import (
    Acquired,
    Finished,
    GroupState,
    GroupUpdate,
    Mark,
    Marks,
    Passed,
    Recorded,
    Released,
)
from storage.state import StateSynchronizer

Synchronizer = StateSynchronizer[GroupState, GroupUpdate]


class ReaderOfflineError(StorageError):
    """This reader was declared dead, or its group was reset. Make it anew with `ReaderGroup.reader`."""

    @staticmethod
    def of(reader_id: str, group: str) -> ReaderOfflineError:
        return ReaderOfflineError(
            f"reader {reader_id!r} of group {group!r} is offline: it was declared dead, was not heard for longer than the "
            "lease, or the group was reset. Make it anew; what it read since its last position comes again"
        )


class SegmentReader(Protocol):
    """Reads one segment onward."""

    position: Position

    def poll(self, max_events: int = 1000) -> Sequence[Event | Gap]: ...


class Store(Protocol):
    """What a group and its readers need of their store."""

    @property
    def clock(self) -> Clock: ...

    @property
    def blocked(self) -> str | None: ...

    def stream(self, name: str) -> StreamInfo: ...

    def segment_reader(self, segment: SegmentId, start: Position) -> SegmentReader: ...

    def cut(self, stream: str, where: str | StreamCut) -> StreamCut: ...


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """Of a reader not heard for `lease_s` the segments are given to others; it records its position every so often.

    `timeout_s` is how long a `read` waits for the group's state to be on disk before it hands out nothing.
    """

    lease_s: float = 30.0
    record_interval_s: float = 5.0
    timeout_s: float = 10.0


class Group(Protocol):
    """What a reader needs of its group."""

    name: str
    config: GroupConfig

    def step(self) -> None: ...

    def heard(self, reader: Reader) -> None: ...

    def offline(self, reader_id: str, marks: Marks) -> None: ...


class CheckpointEvent(NamedTuple):
    """Handed out alone. The next call of `read` says that everything before it is dealt with."""

    name: str


@dataclass(frozen=True, slots=True)
class ReaderPosition:
    """Where a reader stands in the segments that it owns. As text (JSON) it may be kept with the reader's own data."""

    marks: Marks

    def __str__(self) -> str:
        return encode_marks(self.marks)

    @staticmethod
    def parse(text: str) -> ReaderPosition:
        """The position that `str()` wrote. Raises ValueError."""
        return ReaderPosition(decode_marks(text))


@dataclass(slots=True)
class _Open:
    """A segment being read: up to `passed` what was handed out is dealt with, up to `handed` it was handed out."""

    reader: SegmentReader
    passed: Mark
    handed: Mark
    idle: bool = False


class Reader:
    """Made by `ReaderGroup.reader`. One thread at a time."""

    def __init__(self, group: Group, store: Store, synchronizer: Synchronizer, reader_id: str) -> None:
        self._group = group
        self._store = store
        self._synchronizer = synchronizer
        self.reader_id = reader_id
        self._open: dict[SegmentId, _Open] = {}
        self._turn = 0
        self._passing: str | None = None
        self._recorded_ns = store.clock.boot_ns()
        self._unsure = False

    @property
    def position(self) -> ReaderPosition:
        """Behind everything that was handed out."""
        return ReaderPosition({segment: open_.handed for segment, open_ in self._open.items()})

    @property
    def segments(self) -> list[SegmentId]:
        """What it owns, as of its last `read`."""
        return sorted(self._open)

    def passed(self) -> Marks:
        """Up to where what was handed out is dealt with."""
        return {segment: open_.passed for segment, open_ in self._open.items()}

    def read(self, max_events: int = 1000) -> list[Event | Gap | CheckpointEvent]:
        """The next events of the segments that it owns, in order within each; [] where nothing is there now.

        A call says that what the calls before it handed out is dealt with: only then a segment is given to another
        reader, a checkpoint passed, a position recorded. Where the store can't commit, reading goes on in the segments
        that it has. Raises ReaderOfflineError, StorageError.
        """
        self._group.heard(self)
        self._group.step()
        for open_ in self._open.values():
            open_.passed = open_.handed
        if self._store.blocked is not None and not self._unsure:
            state = self._synchronizer.fetch()
            self._must_be_online(state)
        else:
            self._unsure = True
            try:
                state = self._synchronizer.update(self._decide, timeout_s=self._group.config.timeout_s)
            except TimeoutError:
                return []
            self._unsure = False
        self._passing = state.checkpoint_for(self.reader_id)
        self._take_over(state.readers[self.reader_id])
        if self._passing is not None:
            return [CheckpointEvent(self._passing)]
        return self._hand_out(state.stop, max_events)

    def close(self) -> None:
        """Leave the group; its segments go on where it has read to."""
        self._group.offline(self.reader_id, self.position.marks)

    # what is to change in the group's state

    def _must_be_online(self, state: GroupState) -> None:
        if self.reader_id not in state.readers:
            raise ReaderOfflineError.of(self.reader_id, self._group.name)

    def _decide(self, state: GroupState) -> list[GroupUpdate]:
        self._must_be_online(state)
        me = self.reader_id
        updates: list[GroupUpdate] = []

        def change(update: GroupUpdate) -> GroupState:
            updates.append(update)
            return update.apply(state)

        waiting = state.checkpoint_for(me)
        if waiting is not None:
            if waiting == self._passing:
                state = change(Passed(waiting, me, self._standing(state)))
            if state.checkpoint_for(me) is not None:
                return updates
        for segment in state.readers[me]:
            finished = self._finished(segment, state)
            if finished is not None:
                state = change(finished)
        share, owned = state.share(me), sorted(state.readers[me])
        if len(owned) > share:
            standing = self._standing(state)
            state = change(Released(me, {segment: standing[segment] for segment in owned[share:]}))
        elif len(owned) < share and state.unassigned:
            state = change(Acquired(me, tuple(sorted(state.unassigned)[: share - len(owned)])))
        self._record(state, updates)
        return updates

    def _standing(self, state: GroupState) -> dict[SegmentId, Mark]:
        """Where this reader has come to in what it owns."""
        owned = state.readers[self.reader_id]
        return {s: self._open[s].passed if s in self._open else mark for s, mark in owned.items()}

    def _record(self, state: GroupState, updates: list[GroupUpdate]) -> None:
        """Record positions when it is time, and along with anything else."""
        now_ns = self._store.clock.boot_ns()
        due = now_ns - self._recorded_ns >= self._group.config.record_interval_s * 1e9
        if not due and not updates:
            return
        owned = state.readers[self.reader_id]
        moved = {segment: mark for segment, mark in self._standing(state).items() if mark != owned[segment]}
        if moved:
            updates.append(Recorded(self.reader_id, moved))
        self._recorded_ns = now_ns

    def _finished(self, segment: SegmentId, state: GroupState) -> Finished | None:
        open_ = self._open.get(segment)
        if open_ is None or not open_.idle:
            return None
        me, mark = self.reader_id, {segment: open_.passed}
        if segment in state.stop:
            at_stop = open_.passed.position >= state.stop[segment]
            return Finished(me, mark, frozenset(), {}) if at_stop else None
        stream = self._store.stream(segment.stream)
        info = _info(stream, segment)
        if info.state is SegmentState.OPEN or open_.passed.position.offset < info.length:
            return None
        before, behind = kin(stream, info)
        return Finished(me, mark, before, {s: Position(s.number, s.epoch, 0) for s in behind})

    # reading

    def _take_over(self, owned: Marks) -> None:
        """Open what is new, let go of what is another's."""
        for segment in [segment for segment in self._open if segment not in owned]:
            del self._open[segment]
        for segment, mark in owned.items():
            if segment not in self._open:
                reader = self._store.segment_reader(segment, mark.position)
                self._open[segment] = _Open(reader, mark, mark)

    def _hand_out(self, stop: Mapping[SegmentId, Position], max_events: int) -> list[Event | Gap | CheckpointEvent]:
        order = sorted(self._open)
        out: list[Event | Gap | CheckpointEvent] = []
        for place in range(len(order)):
            if len(out) >= max_events:
                break
            segment = order[(self._turn + place) % len(order)]
            out += self._poll(self._open[segment], stop.get(segment), max_events - len(out))
        self._turn += 1
        return out

    def _poll(self, open_: _Open, stop: Position | None, max_events: int) -> list[Event | Gap]:
        position, time_ns = open_.handed
        if stop is not None and position >= stop:
            open_.idle = True
            return []
        items = open_.reader.poll(max_events)
        kept = [item for item in items if stop is None or item.position < stop]
        if kept:
            times = [item.time_ns for item in kept if isinstance(item, Event)]
            newest = max(times, default=time_ns)
            time_ns = newest if time_ns is None or (newest is not None and newest > time_ns) else time_ns
            position = kept[-1].next
        if stop is not None and len(kept) < len(items):
            position = stop
        open_.handed = Mark(position, time_ns)
        open_.idle = not items or len(kept) < len(items)
        return kept


def _info(stream: StreamInfo, segment: SegmentId) -> SegmentInfo:
    for info in stream.segments:
        if info.id == segment:
            return info
    raise StorageError(f"segment {segment} is no more, and where its keys went is not known: reset the reader group")


def kin(stream: StreamInfo, segment: SegmentInfo) -> tuple[frozenset[SegmentId], frozenset[SegmentId]]:
    """The segments that share successors with this one, itself among them, and all of those successors.

    They change hands together, so that where a group stands is at any time a cut of the key space.
    """
    before, behind = {segment.id: segment}, dict[SegmentId, SegmentInfo]()
    while True:
        found = {s.id: s for one in before.values() for s in stream.successors(one)}
        earlier = {s.id: s for one in found.values() for s in stream.predecessors(one)}
        if found.keys() == behind.keys():
            return frozenset(before), frozenset(behind)
        behind, before = found, before | earlier
