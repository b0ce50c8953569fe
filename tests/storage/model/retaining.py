"""Rules of retention: what it gave up is looked up, and held against what it may give up."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from storage import Position
from tests.storage.model.bench import STREAMS, survives
from tests.storage.model.grouping import Grouping
from tests.storage.model.mirroring import Mirroring
from tests.storage.model.semantics import Segment
from tests.storage.model.submissions import Place


class Retaining(Grouping, Mirroring):
    """Retention steps, with what the hub confirms and the group has read."""

    def __init__(self) -> None:
        self.retaining: tuple[dict[str, int], dict[str, tuple[Position, ...]]] | None = None
        """What is confirmed and read, while a step of retention is under way."""
        super().__init__()

    @rule(later_s=st.sampled_from([0.0, 40.0]))
    @survives
    def retain(self, later_s: float) -> None:
        self.clock.advance(later_s)
        self.settle()
        self.learn()
        self.retaining = self.confirmed(), self.store.reader_groups.consumed()
        self.store.retain(*self.retaining)
        self.settle()
        self.note_given_up()

    def take_up_starts(self) -> None:
        super().take_up_starts()
        self.note_given_up()

    def note_given_up(self) -> None:
        """Take over what a step of retention gave up, after a look at whether it may."""
        if self.retaining is None:
            return
        (confirmed, consumed), self.retaining = self.retaining, None
        for name, stream in self.model.streams.items():
            bound = {position.number: position.offset for position in consumed.get(name, ())}
            for segment, info in zip(stream.segments, self.store.stream(name).segments, strict=False):
                start = self.ordinal(name, segment, info.start)
                if start == segment.start:
                    continue
                assert start > segment.start, "what was given up is back"
                assert start == segment.first_of_commit(start), "a commit was cut in two"
                policy = STREAMS[name].retention
                assert policy.max_age_s or policy.max_bytes or policy.consumed, f"{name} gives up nothing"
                if STREAMS[name].when_full == "block":
                    sent = confirmed.get(name, 1 << 60)
                    assert all(commit <= sent for commit in segment.commits[segment.start : start]), "not confirmed"
                    assert name not in consumed or info.start <= bound.get(segment.number, 0), "not read"
                segment.start = start

    def ordinal(self, name: str, segment: Segment, offset: int) -> int:
        """The first event that stands at an offset or behind it."""
        ordinals = range(len(segment.said))
        return next(
            (i for i in ordinals if self.known.at[name, Place(segment.number, i)].offset >= offset), len(segment.said)
        )
