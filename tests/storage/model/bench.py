"""A store on the twin beside the model of it: what is in flight, what is durable, and what a power cut may leave of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from storage import Append as StoreAppend
from storage import (
    Event,
    FakeClock,
    Frame,
    Gap,
    KeyRange,
    Position,
    Receipt,
    SegmentId,
    SegmentStore,
    StreamConfig,
    Ticket,
)
from storage.errors import StorageError, StoreClosedError, StoreFailedError
from storage.kv.memory import MemoryTwin
from storage.model import RetentionPolicy
from tests.storage.model.semantics import Done, Model
from tests.storage.model.submissions import Append, Appends, Commit, Create, Place, Said, Scale, Submission

STREAMS = {
    "a": StreamConfig(),
    "b/c": StreamConfig(retention=RetentionPolicy(max_age_s=30.0, consumed=True)),
    "d": StreamConfig(when_full="drop-oldest", priority=1, retention=RetentionPolicy(max_bytes=3000)),
}
"""What is made of the three streams that there may be."""
WRITERS = ("v", "w")


class Killed(BaseException):
    """The power goes at this step."""


@dataclass
class InFlight:
    """A submission, and what the store said of it."""

    submission: Submission
    ticket: Ticket | None = None
    outcome: Receipt | StorageError | None = None

    def told(self) -> Receipt | StorageError | None:
        if self.ticket is None or not self.ticket.done():
            return self.outcome
        error = self.ticket.error()
        if isinstance(error, StoreFailedError | StoreClosedError):
            return None  # It may be on disk or not.
        assert error is None or isinstance(error, StorageError)
        return error or self.ticket.result()


@dataclass
class Known:
    """Where events stand, as the store has told it so far: what it said once it may never unsay."""

    at: dict[tuple[str, Place], Position] = field(default_factory=dict)
    behind: dict[tuple[str, Place], Position] = field(default_factory=dict)
    seen: dict[tuple[str, Position], Place] = field(default_factory=dict)

    def note(self, stream: str, place: Place, position: Position, behind: Position | None = None) -> None:
        assert self.at.setdefault((stream, place), position) == position, "an event moved"
        assert self.seen.setdefault((stream, position), place) == place, "two events stand at one position"
        if behind is not None:
            assert self.behind.setdefault((stream, place), behind) == behind, "what follows an event moved"

    def forget_but(self, model: Model) -> None:
        """What was not durable when the power went may be said of other events later."""
        gone = {
            (stream, place)
            for stream, place in self.at
            if stream not in model.streams
            or place.segment >= len(model.streams[stream].segments)
            or place.ordinal >= len(model.streams[stream].segments[place.segment].said)
        }
        for each in gone:
            self.seen.pop((each[0], self.at.pop(each)))
            self.behind.pop(each, None)


P = ParamSpec("P")
B = TypeVar("B", bound="Bench")


def survives(rule: Callable[Concatenate[B, P], None]) -> Callable[Concatenate[B, P], None]:
    """A rule in which the power may go."""

    def taken(self: B, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            rule(self, *args, **kwargs)
        except Killed:
            self.lose_power()
        self.settle()

    functools.update_wrapper(taken, rule)
    return taken


class Bench(RuleBasedStateMachine):
    """What all rules share."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.twin = MemoryTwin()
        self.model = Model()
        self.known = Known()
        self.in_flight: list[InFlight] = []
        self.overtaking: Submission | None = None
        """What gives something up is committed before all that waits."""
        self.transactions: list[UUID] = []
        """Every one that was ever begun."""
        self.steps_left: int | None = None
        self.torn = 0
        self.said = 0
        self.learned: dict[str, int] = {}
        self.cursor = 0
        self.store = self.open_store()

    @initialize(parts=st.integers(1, 3))
    def make_streams(self, parts: int) -> None:
        for name in ("a", "b/c"):
            self.create(name)
        if parts > 1:
            ranges = KeyRange().split(parts)
            self.wait_for(Scale("a", [0], ranges), lambda: self.store.scale("a", [SegmentId("a", 0, 0)], ranges))

    def create(self, name: str) -> None:
        self.wait_for(Create(name), lambda: self.store.create_stream(name, STREAMS[name]))

    # the power

    def open_store(self) -> SegmentStore:
        return SegmentStore.in_memory(self.twin, clock=self.clock, trace=self.trace)

    def trace(self, step: str, details: dict[str, object]) -> None:
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                raise Killed(step)

    def lose_power(self) -> None:
        """Now. What was acknowledged is there, and of what was in flight a first part of it, or nothing."""
        self.settle()
        self.steps_left = None
        self.twin.power_cut(self.torn)
        self.come_back()

    def come_back(self) -> None:
        self.twin.stalled_writes = self.twin.failing_syncs = 0
        self.store = self.open_store()
        self.take_up_starts()
        found = next((model for model in self.possible() if self.is_held(model)), None)
        if found is None:
            self.compare()
            raise AssertionError("no prefix of what was in flight is there")
        self.model = found
        for transaction in found.transactions.values():
            transaction.refused = None
        self.in_flight = []
        self.overtaking = None
        self.known.forget_but(found)
        self.compare()

    def take_up_starts(self) -> None:
        """Of what was given up when the power went, see how far that went."""

    def possible(self) -> Iterator[Model]:
        yield self.model
        if self.overtaking is not None:
            overtaken = self.model.copy()
            overtaken.take(self.overtaking, self.store.last_commit - 1)
            yield overtaken
        after = self.model.copy()
        for each in self.in_flight:
            try:
                after.take(each.submission, self.store.last_commit - 1)
            except StorageError:
                continue
            yield after.copy()

    def is_held(self, model: Model) -> bool:
        """Whether the store holds what the model does, by its counts: `compare` looks at it event by event."""
        streams = {info.name: info for info in self.store.streams()}
        if set(streams) != set(model.streams):
            return False
        if {name: self.store.cursor(name) for name in ("cursor",)} != {"cursor": model.cursors.get("cursor")}:
            return False
        for each in self.transactions:
            known = model.transactions.get(each)
            if self.store.transaction_state(each) != (None if known is None else known.state):
                return False
        for name, stream in model.streams.items():
            if [(s.keys, s.until, s.events) for s in streams[name].segments] != [
                (s.keys, s.until, len(s.said)) for s in stream.segments
            ]:
                return False
            starts = (self.offset(name, Place(each.number, each.start)) for each in stream.segments)
            for segment, start in zip(streams[name].segments, starts, strict=True):
                if start is not None and segment.start != start:
                    return False
        return True

    # submissions

    def submit(self, submission: Appends) -> None:
        """Queue appends. Raises what the store raises at once, with nothing taken."""
        appends = [self.encoded(each) for each in submission.appends]
        self.in_flight.append(InFlight(submission, self.store.submit(appends, submission.cursors)))

    def encoded(self, append: Append) -> StoreAppend:
        """Runs of one key and writer become one frame."""
        frames: list[Frame] = []
        shift = self.clock.boot_ns() - self.clock.wall_ns()
        for said in append.said:
            if frames and frames[-1].routing_key == said.key:
                frames[-1] = frames[-1]._replace(payloads=[*frames[-1].payloads, said.payload])
            else:
                frames.append(
                    Frame(
                        [said.payload],
                        said.key,
                        captured_ns=said.time_ns + shift,
                        writer=said.writer,
                        number=said.number,
                    )
                )
        expected = None
        if append.expected is not None:
            stream = self.model.streams[append.stream]
            segment = stream.segment_of(append.said[0].key)
            expected = self.offset(append.stream, Place(segment.number, append.expected))
            expected = -1 if expected is None else expected
        return StoreAppend(append.stream, frames, expected)

    def wait_for(self, submission: Submission, call: Callable[[], object]) -> None:
        """Do what returns when it is durable, and all that waits before it is, too."""
        each = InFlight(submission)
        self.in_flight.append(each)
        try:
            call()
            each.outcome = Receipt(self.store.last_commit, (), 0, 0)
        except StorageError as error:
            each.outcome = error
        self.settle()

    def overtake(self, submission: Submission, call: Callable[[], object]) -> None:
        """Do what is durable when it returns, while what waits goes on waiting."""
        self.overtaking = submission
        call()
        self.overtaking = None
        self.model.take(submission, self.store.last_commit)

    def settle(self) -> None:
        """Take note of what was acknowledged: in the order in which it was submitted, and as the model says."""
        while self.in_flight and (told := self.in_flight[0].told()) is not None:
            each = self.in_flight.pop(0)
            if isinstance(told, StorageError):
                self.expect_refusal(each.submission, told)
                continue
            done = self.model.take(each.submission, told.commit)
            if each.ticket is not None:
                self.expect(each.submission, done, told)
        assert not any(isinstance(each.told(), Receipt) for each in self.in_flight), "acknowledged out of order"

    def expect_refusal(self, submission: Submission, told: StorageError) -> None:
        try:
            self.model.take(submission, 0)
        except StorageError as error:
            assert type(error) is type(told), f"refused with {told!r}, not {error!r}"
            return
        raise AssertionError(f"{submission} was refused: {told!r}") from told

    def expect(self, submission: Submission, done: Done, told: Receipt) -> None:
        assert (told.stored, told.duplicates) == (done.stored, done.duplicates)
        if isinstance(submission, Commit):
            names = list(self.model.transactions[submission.transaction].then) if told.positions else []
        elif isinstance(submission, Appends):
            names = [append.stream for append in submission.appends]
        else:
            return
        for name, place, position in zip(names, done.first, told.positions, strict=True):
            assert (place is None) == (position is None)
            if place is not None and position is not None:
                self.known.note(name, place, position)

    # looking

    def offset(self, name: str, place: Place) -> int | None:
        """Where an event begins, or its segment ends; None where nobody has said so yet."""
        if place.ordinal == 0:
            return 0
        behind = self.known.behind.get((name, Place(place.segment, place.ordinal - 1)))
        return None if behind is None else behind.offset

    def stream_of(self, value: int) -> str:
        """One of those that there are: the first more often, so that much happens to it."""
        return self.names()[value % len(self.names())] if value < 3 else self.names()[0]

    def names(self) -> list[str]:
        return list(self.model.streams)

    @invariant()
    def what_is_durable_is_read(self) -> None:
        self.settle()
        self.learn()
        self.look_at_segments()

    def learn(self) -> None:
        """Read what is new."""
        for name, stream in self.model.streams.items():
            count = sum(len(segment.said) for segment in stream.segments)
            if self.learned.get(name) != count:
                self.learned[name] = count
                self.read_all(name)

    def read_all(self, name: str) -> None:
        gaps: list[Gap] = []
        events = list(self.store.read(name, on_gap=gaps.append))
        assert gaps == [], "the head is where the segments begin"
        self.expect_events(name, events, self.model.streams[name].live({}))

    def compare(self) -> None:
        """The whole store against the model, event by event."""
        for name, stream in self.model.streams.items():
            self.read_all(name)
            for writer in WRITERS:
                assert self.store.last_number(name, writer) == stream.numbers.get(writer)
        assert self.store.cursor("cursor") == self.model.cursors.get("cursor")
        self.look_at_segments()

    def teardown(self) -> None:
        self.steps_left = None
        self.twin.stalled_writes = 0
        self.store.close()
        self.settle()
        self.come_back()
        self.at_the_end()
        report = self.store.check()
        assert report.findings == [], report.findings
        self.store.close()

    def at_the_end(self) -> None:
        """What else is to be looked at, once."""

    def expect_events(self, name: str, events: list[Event], expected: list[Place]) -> None:
        """These events, in this order, each with all that was said, where it always stood."""
        segments = self.model.streams[name].segments
        said = [segments[place.segment].said[place.ordinal] for place in expected]
        got = [Said(each.routing_key, each.payload, each.time_ns, each.writer, each.number) for each in events]
        assert got == said, f"{name}: read {got}, not {said}"
        for event, place in zip(events, expected, strict=True):
            assert event.position[:2] == (place.segment, segments[place.segment].epoch)
            self.known.note(name, place, event.position, event.next)

    def look_at_segments(self) -> None:
        for name, stream in self.model.streams.items():
            info = self.store.stream(name)
            assert [(s.keys, s.until, s.events, s.id.epoch) for s in info.segments] == [
                (s.keys, s.until, len(s.said), s.epoch) for s in stream.segments
            ]
            for here, segment in zip(info.segments, stream.segments, strict=True):
                end = self.offset(name, Place(segment.number, len(segment.said)))
                start = self.offset(name, Place(segment.number, segment.start))
                assert end is None or here.length == end
                assert start is None or here.start == start
                assert (here.length == 0) == (not segment.said)
            given_up = sum(segment.start for segment in stream.segments)
            assert sum(dropped.events for dropped in info.dropped.values()) == given_up
