"""What a reader group knows, as one immutable value, and the updates that change it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from storage.model import Position, SegmentId, StreamCut

CHECKPOINTS_KEPT = 10
"""Of those that are complete, the newest so many can be reset to."""


class Mark(NamedTuple):
    """Up to where a segment was read, and the newest time of capture among what was read (ns since 1970)."""

    position: Position
    time_ns: int | None = None


Marks = Mapping[SegmentId, Mark]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint in the making: who has still to pass it, and where the others stood when they did."""

    name: str
    waiting: frozenset[str]
    marks: Marks


@dataclass(frozen=True, slots=True)
class GroupState:
    """At any time the marks of `readers`, `unassigned` and `finished` together are a cut of each of the streams.

    `finished` are segments read to their end whose successors wait for other predecessors, have none, or lie behind
    `stop`. `generation` counts the resets. `bound`, in a group that makes checkpoints, is what must stay readable whatever
    was read since: the last complete one, or what the group was reset to if that was later.
    """

    generation: int = 0
    streams: tuple[str, ...] = ()
    readers: Mapping[str, Marks] = field(default_factory=dict)
    unassigned: Marks = field(default_factory=dict)
    finished: Marks = field(default_factory=dict)
    stop: Mapping[SegmentId, Position] = field(default_factory=dict)
    ongoing: tuple[Checkpoint, ...] = ()
    complete: tuple[Checkpoint, ...] = ()
    bound: Marks | None = None

    @property
    def marks(self) -> Marks:
        """Where the group stands in every segment that it reads now."""
        marks = {**self.unassigned, **self.finished}
        for owned in self.readers.values():
            marks.update(owned)
        return marks

    def share(self, reader: str) -> int:
        """How many segments a reader is to own: the same for all, the remainder to those who own most already."""
        total = len(self.unassigned) + sum(map(len, self.readers.values()))
        share, left = divmod(total, len(self.readers))
        order = sorted(self.readers, key=lambda other: (-len(self.readers[other]), other))
        return share + (order.index(reader) < left)

    def checkpoint_for(self, reader: str) -> str | None:
        """The oldest checkpoint that the reader has still to pass."""
        return next((checkpoint.name for checkpoint in self.ongoing if reader in checkpoint.waiting), None)


def cuts(marks: Marks) -> dict[str, StreamCut]:
    """The cut of each stream that `marks` are, segments by number."""
    positions: dict[str, list[Position]] = {}
    for segment in sorted(marks):
        positions.setdefault(segment.stream, []).append(marks[segment].position)
    return {stream: StreamCut(tuple(of_stream)) for stream, of_stream in positions.items()}


def marks_of(cut_of: Mapping[str, StreamCut]) -> dict[SegmentId, Mark]:
    """The other way round."""
    return {
        SegmentId(stream, position.number, position.epoch): Mark(position)
        for stream, cut in cut_of.items()
        for position in cut.positions
    }


# updates


@dataclass(frozen=True, slots=True)
class Reset:
    """The group stands at `marks` from now on, without readers."""

    streams: tuple[str, ...]
    marks: Marks
    stop: Mapping[SegmentId, Position]

    def apply(self, state: GroupState) -> GroupState:
        return GroupState(
            generation=state.generation + 1,
            streams=self.streams,
            unassigned=self.marks,
            stop=self.stop,
            complete=state.complete,
            bound=self.marks if state.complete else None,
        )


@dataclass(frozen=True, slots=True)
class Joined:
    reader: str

    def apply(self, state: GroupState) -> GroupState:
        return replace(state, readers={**state.readers, self.reader: {}})


@dataclass(frozen=True, slots=True)
class Left:
    """A reader is gone. It had read up to `marks`; where they say nothing, up to what was recorded."""

    reader: str
    marks: Marks

    def apply(self, state: GroupState) -> GroupState:
        owned = state.readers.get(self.reader, {})
        last = {segment: self.marks.get(segment, mark) for segment, mark in owned.items()}
        for checkpoint in state.ongoing:
            state = Passed(checkpoint.name, self.reader, last).apply(state)
        others = {reader: marks for reader, marks in state.readers.items() if reader != self.reader}
        return replace(state, readers=others, unassigned={**state.unassigned, **last})


@dataclass(frozen=True, slots=True)
class Acquired:
    reader: str
    segments: tuple[SegmentId, ...]

    def apply(self, state: GroupState) -> GroupState:
        taken = {segment: state.unassigned[segment] for segment in self.segments}
        readers = {**state.readers, self.reader: {**state.readers[self.reader], **taken}}
        return replace(state, readers=readers, unassigned=_without(state.unassigned, taken))


@dataclass(frozen=True, slots=True)
class Released:
    reader: str
    marks: Marks

    def apply(self, state: GroupState) -> GroupState:
        readers = {**state.readers, self.reader: _without(state.readers[self.reader], self.marks)}
        return replace(state, readers=readers, unassigned={**state.unassigned, **self.marks})


@dataclass(frozen=True, slots=True)
class Recorded:
    """How far a reader has come in segments that it owns."""

    reader: str
    marks: Marks

    def apply(self, state: GroupState) -> GroupState:
        owned = {**state.readers[self.reader], **self.marks}
        return replace(state, readers={**state.readers, self.reader: owned})


@dataclass(frozen=True, slots=True)
class Finished:
    """A reader has read a segment to its end. `successors` follow once all of `predecessors` are finished."""

    reader: str
    marks: Marks
    predecessors: frozenset[SegmentId]
    successors: Mapping[SegmentId, Position]

    def apply(self, state: GroupState) -> GroupState:
        readers = {**state.readers, self.reader: _without(state.readers[self.reader], self.marks)}
        finished: Marks = {**state.finished, **self.marks}
        unassigned: Marks = state.unassigned
        if self.successors and self.predecessors <= finished.keys():
            times = [finished[segment].time_ns for segment in self.predecessors]
            earliest = min((time for time in times if time is not None), default=None)
            unassigned = {**unassigned, **{s: Mark(start, earliest) for s, start in self.successors.items()}}
            finished = _without(finished, self.predecessors)
        return replace(state, readers=readers, unassigned=unassigned, finished=finished)


@dataclass(frozen=True, slots=True)
class Begun:
    """A checkpoint that every reader online now is to pass."""

    name: str

    def apply(self, state: GroupState) -> GroupState:
        standing = {**state.unassigned, **state.finished}
        begun = Checkpoint(self.name, frozenset(state.readers), standing)
        return _completed(replace(state, ongoing=(*state.ongoing, begun)))


@dataclass(frozen=True, slots=True)
class Passed:
    name: str
    reader: str
    marks: Marks

    def apply(self, state: GroupState) -> GroupState:
        ongoing = []
        for checkpoint in state.ongoing:
            if checkpoint.name == self.name and self.reader in checkpoint.waiting:
                waiting = checkpoint.waiting - {self.reader}
                ongoing.append(replace(checkpoint, waiting=waiting, marks={**checkpoint.marks, **self.marks}))
            else:
                ongoing.append(checkpoint)
        return _completed(replace(state, ongoing=tuple(ongoing)))


def _completed(state: GroupState) -> GroupState:
    """Move what every reader has passed to the complete ones."""
    done = tuple(checkpoint for checkpoint in state.ongoing if not checkpoint.waiting)
    if not done:
        return state
    ongoing = tuple(checkpoint for checkpoint in state.ongoing if checkpoint.waiting)
    complete = (*(old for old in state.complete if old.name not in {new.name for new in done}), *done)
    return replace(state, ongoing=ongoing, complete=complete[-CHECKPOINTS_KEPT:], bound=done[-1].marks)


def _without(marks: Marks, gone: Iterable[SegmentId]) -> Marks:
    left = set(gone)
    return {segment: mark for segment, mark in marks.items() if segment not in left}


GroupUpdate = Reset | Joined | Left | Acquired | Released | Recorded | Finished | Begun | Passed
