"""Time against a model: whatever clocks do, a read by time is what the events and their boots say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import Append, FakeClock, Frame, SegmentStore
from storage.boots import Boot, Timeline
from storage.kv.memory import MemoryTwin
from tests.storage.test_time import NOW_NS, STORE, S, believe

TRUST = st.booleans()
STEP_S = st.sampled_from([0, 1, 7, 60, 4000])
WALL_S = st.sampled_from([-NOW_NS // S, -5000, -1, 0, 1, 300, 5000])


class Model:
    """Every event in order, with its boot and when it was captured; of each boot what a trusted clock said last."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW_NS)
        self.twin = MemoryTwin()
        self.store = SegmentStore.in_memory(self.twin, clock=self.clock)
        self.store.create_stream("s")
        self.events: list[tuple[UUID, int]] = []
        self.offsets: dict[UUID, int] = {}
        self.true_ns = NOW_NS
        self.listen()

    def listen(self) -> None:
        if self.clock.reference:
            self.offsets[self.clock.boot_id] = self.clock.wall_ns() - self.clock.boot_ns()

    def append(self, count: int) -> None:
        for _ in range(count):
            captured = max(1, self.clock.boot_ns() - len(self.events) % 3 * S)
            self.store.submit([Append("s", [Frame([b"%d" % len(self.events)], captured_ns=captured)])]).result()
            self.events.append((self.clock.boot_id, captured))

    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.true_ns += seconds * S

    def step(self, wrong_s: int, trusted: bool) -> None:
        believe(self.clock, self.true_ns + wrong_s * S, trusted=trusted)
        if self.store.keep_time():
            self.store.commit()
        self.listen()

    def reboot(self, seconds: int) -> None:
        self.store.close()
        self.wait(seconds)
        self.clock.reboot()
        self.store = SegmentStore.in_memory(self.twin, clock=self.clock)
        self.listen()


STEPS = st.one_of(
    st.builds(lambda count: lambda model: model.append(count), st.integers(1, 3)),
    st.builds(lambda seconds: lambda model: model.wait(seconds), STEP_S),
    st.builds(lambda wrong_s, trusted: lambda model: model.step(wrong_s, trusted), WALL_S, TRUST),
    st.builds(lambda seconds: lambda model: model.reboot(seconds), STEP_S),
)


@pytest.mark.long
@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=40), st.lists(st.integers(-9000, 6000), min_size=1, max_size=5))
def test_a_read_by_time_returns_what_a_simple_model_says(
    steps: list[Callable[[Model], None]], asked_s: list[int]
) -> None:
    model = Model()
    for step in steps:
        step(model)
    store = model.store
    read = list(store.read("s"))
    assert [event.payload for event in read] == [b"%d" % number for number in range(len(read))], "the order"
    assert len(read) == len(model.events)
    for event, (boot, captured) in zip(read, model.events, strict=True):
        assert event.uncertain == (boot not in model.offsets)
        assert event.uncertain or event.time_ns == captured + model.offsets[boot]
    for second in asked_s:
        asked_ns = model.true_ns + second * S
        expected = next((event.position for event in read if event.time_ns >= asked_ns), store.resolve("s", "tail"))
        where = datetime.fromtimestamp(asked_ns / S, UTC).isoformat()
        assert store.resolve("s", where) == expected
    assert store.check().ok
    store.close()


BOOTS = st.lists(
    st.tuples(st.integers(1, 5 * S), st.integers(0, 9000 * S), WALL_S, TRUST, st.integers(0, 1000 * S)), max_size=12
)


@given(BOOTS)
def test_boots_between_trusted_ones_never_overlap_them(told: list[tuple[int, int, int, bool, int]]) -> None:
    """Clocks that are trusted are right here: then every boot lies between its neighbours, in order, at its length."""
    boots, true_ns = [], NOW_NS
    for number, (first, length, wrong_s, trusted, off) in enumerate(told):
        offset = true_ns - first
        belief = offset if trusted else offset + wrong_s * S
        boots.append(Boot(STORE, UUID(int=number + 1), number, first, first + length, belief, trusted))
        true_ns += length + off
    timeline = Timeline(boots)
    placed = [(timeline.shift(b.id).offset_ns + b.first_ns, timeline.shift(b.id).offset_ns + b.last_ns) for b in boots]
    for index, boot in enumerate(boots):
        assert timeline.shift(boot.id).uncertain == (not boot.trusted)
        for other in range(index + 1, len(boots)):
            if boot.trusted or boots[other].trusted:
                assert placed[index][1] <= placed[other][0]
