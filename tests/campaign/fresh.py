"""Judges what a round submitted: what was acknowledged is there, what was not is there as a whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from itertools import pairwise

from storage import Position
from tests.campaign.events import LOOSE, PER_SUBMISSION, Identity, is_numbered
from tests.campaign.journal import Acknowledged, Part, Submitted
from tests.campaign.kept import why_kept
from tests.campaign.model import EntryAt, Found, Model, Segment
from tests.campaign.reading import Reading


class State(Enum):
    """What is known of a part of a submission. OPEN: it was given up since, or all of it was there before."""

    THERE = "there"
    ABSENT = "absent"
    OPEN = "open"


class Fresh:
    """Compares what was read `now` with what the round since the last verification submitted."""

    def __init__(self, model: Model, now: Reading, last_number: Callable[[str, str], int | None]) -> None:
        self._model = model
        self._now = now
        self._last_number = last_number
        self.problems: list[str] = []
        self.places: dict[Identity, Position] = {}
        """What is there now and was not at the last verification."""
        self.there: set[int] = set()
        self.absent: set[int] = set()
        """Submissions of this round that are known to be there, or not."""
        self._next: dict[Segment, dict[Position, Position]] = {}
        self._gather()
        for submitted in model.waiting.values():
            self._judge_submission(submitted, None)
        for submitted, acknowledged in model.told.values():
            self._judge_submission(submitted, acknowledged)
        self.ends = {of: self._judge_numbers(*of) for of in {*model.sent, *model.safe}}

    def _wrong(self, where: object, what: str) -> None:
        self.problems.append(f"{where}: {what}")

    def _gather(self) -> None:
        """What is new must have been submitted in this round, and be there once."""
        submitted = {(part.stream, part.source, id_) for part, id_, _ in self._model.parts}
        for segment, now in self._now.found.items():
            length = self._model.known.get(segment, Found()).length
            for position, identity in now.live.items():
                if position.offset < length:
                    continue
                where = f"{segment[0]} {position}"
                if identity in self.places:
                    self._wrong(where, f"{identity} is there twice: at {self.places[identity]}, too")
                self.places[identity] = position
                of = (identity.stream, identity.source)
                if is_numbered(identity.source):
                    if not self._model.safe.get(of, 0) <= identity.number < self._model.sent.get(of, 0):
                        self._wrong(where, f"{identity} was stored before, or never sent")
                elif identity.source == LOOSE and (*of, identity.submission) not in submitted:
                    why = self._model.refused.get(identity.submission, "never sent")
                    self._wrong(where, f"{identity} is there, but was {why}")

    # submissions

    def _judge_submission(self, submitted: Submitted, acknowledged: Acknowledged | None) -> None:
        states = [self._state(part, submitted.id) for part in submitted.parts]
        where = f"submission {submitted.id} ({submitted.operation})"
        if State.THERE in states:
            self.there.add(submitted.id)
        if State.ABSENT in states:
            self.absent.add(submitted.id)
        if State.THERE in states and State.ABSENT in states:
            self._wrong(where, f"of {submitted.parts}: {', '.join(state.value for state in states)}")
        for place, (part, state) in enumerate(zip(submitted.parts, states, strict=True)):
            first = None if acknowledged is None else acknowledged.positions[place]
            if acknowledged is not None and state is State.ABSENT:
                self._wrong(where, f"{part} was acknowledged at {first}, and is not there")
            if state is State.THERE:
                self._judge_whole(part, where)
            if acknowledged is not None and first is not None:
                self._judge_place(part, acknowledged, first, where)
            if part.expected is not None and state is State.THERE:
                self._judge_winner(part, submitted.id)

    def _state(self, part: Part, id_: int) -> State:
        if is_numbered(part.source):
            first = max(part.first, self._model.safe.get((part.stream, part.source), 0))
            if first >= part.first + part.events:
                return State.OPEN
            return State.THERE if self._end(part.stream, part.source) > first else State.ABSENT
        if any(Identity(part.stream, part.source, part.first + place) in self.places for place in range(part.events)):
            return State.THERE
        return State.OPEN if self.may_be_gone(part.stream) else State.ABSENT

    def _end(self, stream: str, source: str) -> int:
        last = self._last_number(stream, source) if stream in self._now.streams else None
        return 0 if last is None else last + 1

    def may_be_gone(self, stream: str) -> bool:
        """Whether something that this round wrote to a stream may have been given up already."""
        return any(
            found.start > self._model.known.get(segment, Found()).length or found.thinned
            for segment, found in self._now.found.items()
            if segment[0] == stream
        )

    def _judge_whole(self, part: Part, where: str) -> None:
        """All of a part that is there is there, and in its segment nothing lies between."""
        first = part.first
        if is_numbered(part.source):
            first = max(first, self._model.safe.get((part.stream, part.source), 0))
            if self._end(part.stream, part.source) < part.first + part.events:
                self._wrong(where, f"of {part} only what is before {self._end(part.stream, part.source)} is there")
        before: dict[tuple[int, int], Position] = {}
        for number in range(first, part.first + part.events):
            position = self.places.get(Identity(part.stream, part.source, number))
            if position is None:
                if not self.may_be_gone(part.stream):
                    self._wrong(where, f"number {number} of {part} is not there")
                before.clear()
                continue
            segment = (position.number, position.epoch)
            if segment in before and self.behind(part.stream, before[segment]) != position:
                self._wrong(where, f"of {part} something lies between {before[segment]} and {position}")
            before[segment] = position

    def behind(self, stream: str, position: Position) -> Position | None:
        """Where the event behind another stands, in their segment."""
        segment = (stream, position.number, position.epoch)
        if segment not in self._next:
            positions = list(self._now.found[segment].live)
            self._next[segment] = dict(pairwise(positions))
        return self._next[segment].get(position)

    def _judge_place(self, part: Part, told: Acknowledged, first: Position, where: str) -> None:
        """The first event that was stored of a part stands where its receipt said, or was given up as it may be."""
        duplicates = told.duplicates if len(told.positions) == 1 else 0
        if (
            duplicates == 0
            and is_numbered(part.source)
            and part.first < self._model.safe.get((part.stream, part.source), 0)
        ):
            return
        identity = Identity(part.stream, part.source, part.first + duplicates)
        segment = (part.stream, first.number, first.epoch)
        found = self._now.found.get(segment)
        if found is None or first.offset >= found.length:
            self._wrong(where, f"{identity} was acknowledged at {first}, behind the end")
        elif found.live.get(first) == identity:
            return
        elif first.offset >= found.start and not any(low <= first.offset < high for low, high in found.thinned):
            self._wrong(where, f"{identity} was acknowledged at {first}; there is {found.live.get(first)}")
        elif first.offset < found.start and first.offset >= self._model.asked.get(segment, 0):
            written = EntryAt(first.offset, told.commit, self._model.times_ns[told.id])
            why_not = why_kept(self._model, self._now, segment, first, written)
            if why_not is not None:
                self._wrong(where, f"{identity} was given up: {why_not}")

    def _judge_winner(self, part: Part, id_: int) -> None:
        assert part.expected is not None
        won = self._model.won.setdefault((part.stream, part.expected), id_)
        if won != id_:
            self._wrong(part.stream, f"submissions {won} and {id_} were both appended at length {part.expected}")
        position = self.places.get(Identity(part.stream, part.source, part.first))
        if position is not None and position.offset != part.expected:
            self._wrong(part.stream, f"submission {id_} was to be appended at {part.expected}, and is at {position}")

    # numbers

    def _judge_numbers(self, stream: str, source: str) -> int:
        """A writer's numbers go on from what was durable, without a gap. The end of what is durable now."""
        end, safe = self._end(stream, source), self._model.safe.get((stream, source), 0)
        where = f"{stream}, writer {source!r}"
        if end < safe:
            self._wrong(where, f"numbers end at {end}, and {safe} were durable")
        if end > self._model.sent.get((stream, source), 0):
            self._wrong(where, f"numbers end at {end}, and only {self._model.sent.get((stream, source), 0)} were sent")
        missing = [n for n in range(safe, end) if Identity(stream, source, n) not in self.places]
        if missing and not self.may_be_gone(stream):
            self._wrong(where, f"numbers {missing[:5]} of [{safe}, {end}) are not there")
        return end


def loose_part(stream: str, id_: int, events: int, expected: int | None = None) -> Part:
    """A part that no writer numbers."""
    return Part(stream, LOOSE, id_ * PER_SUBMISSION, events, expected)
