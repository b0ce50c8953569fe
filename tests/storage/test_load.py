"""Streams scale with their load: by the rule, within their bounds, and with a pause in between."""

from __future__ import annotations

from itertools import pairwise

import pytest

from storage import Append, Frame, SegmentInfo, SegmentStore, StreamConfig
from storage.errors import StorageError
from storage.load import Scaler
from storage.model import ScalingPolicy

KEYS = [f"pump-{number}" for number in range(64)]


class Plant:
    """A stream with a policy, fed at a rate, second by second."""

    def __init__(self, policy: ScalingPolicy) -> None:
        self.store = SegmentStore.in_memory()
        self.store.create_stream("s", StreamConfig(scaling=policy))
        self.scaler = Scaler(self.store)
        self.now_s = 0.0
        self.history: list[int] = []

    def open_segments(self) -> list[SegmentInfo]:
        return [segment for segment in self.store.stream("s").segments if segment.until is None]

    def run(self, seconds: int, events_per_s: int, keys: list[str] = KEYS) -> int:
        """How many segments are open at the end."""
        for second in range(seconds):
            frames = [Frame([b"x" * 10], keys[(second + n) % len(keys)]) for n in range(events_per_s)]
            if frames:
                self.store.submit([Append("s", frames)]).result()
            self.now_s += 1
            self.scaler.step(self.now_s)
            self.history.append(len(self.open_segments()))
        return len(self.open_segments())


def by_events(target: float, **more: int) -> ScalingPolicy:
    return ScalingPolicy("events", target, windows_s=(5.0, 20.0, 60.0), cooldown_s=10.0, **more)


def test_a_stream_below_its_target_stays_as_it_is() -> None:
    plant = Plant(by_events(20))
    assert plant.run(200, 15) == 1


@pytest.mark.long
def test_a_stream_above_its_target_is_split_until_its_segments_are_below() -> None:
    plant = Plant(by_events(10))
    assert plant.run(600, 35) >= 4
    assert plant.history == sorted(plant.history)
    assert len(list(plant.store.read("s"))) == 600 * 35


def test_a_burst_is_answered_within_the_short_window_and_a_rise_within_the_long_one() -> None:
    burst, rise = Plant(by_events(10)), Plant(by_events(10))
    burst.run(60, 200)
    rise.run(400, 13)
    split_at = [next(second for second, n in enumerate(plant.history) if n > 1) for plant in (burst, rise)]
    assert split_at[0] < 5
    assert 30 < split_at[1] < 400


@pytest.mark.long
def test_cold_neighbours_are_merged_down_to_the_least_and_no_further() -> None:
    plant = Plant(by_events(10, min_segments=2))
    assert plant.run(200, 60) > 4
    assert plant.run(1500, 1) == 2
    assert plant.store.check().findings == []


def test_there_are_never_more_segments_than_the_policy_says() -> None:
    plant = Plant(by_events(1, max_segments=3))
    assert plant.run(200, 50) == 3
    assert max(plant.history) == 3


def test_two_scales_are_a_cooldown_apart() -> None:
    plant = Plant(by_events(1, max_segments=16))
    plant.run(60, 100)
    changes = [second for second in range(1, 60) if plant.history[second] != plant.history[second - 1]]
    assert len(changes) > 2
    assert min(later - earlier for earlier, later in pairwise(changes)) >= 10


def test_a_fixed_policy_opens_its_least_number_of_segments_and_leaves_it_there() -> None:
    plant = Plant(ScalingPolicy(min_segments=3, max_segments=16, cooldown_s=1.0))
    assert plant.run(20, 50) == 3


def test_bytes_count_where_the_policy_says_so() -> None:
    policy = ScalingPolicy("bytes", 1_000_000.0, windows_s=(5.0, 20.0, 60.0), cooldown_s=10.0)
    assert Plant(policy).run(100, 50) == 1
    small = ScalingPolicy("bytes", 300.0, windows_s=(5.0, 20.0, 60.0), cooldown_s=10.0)
    assert Plant(small).run(100, 50) > 1


def test_one_hot_key_splits_no_further_than_the_most() -> None:
    plant = Plant(by_events(1, max_segments=5))
    assert plant.run(300, 50, ["hot"]) <= 5


def test_a_clock_that_stands_still_or_a_sealed_stream_asks_for_nothing() -> None:
    plant = Plant(by_events(1))
    plant.run(3, 1)
    assert plant.scaler.step(plant.now_s) == []
    plant.store.seal("s")
    plant.now_s += 100
    assert plant.scaler.step(plant.now_s) == []
    assert plant.scaler.failed == {}


@pytest.mark.parametrize(
    "wrong", [{"by": "rows"}, {"by": "events"}, {"min_segments": 0}, {"min_segments": 3, "max_segments": 2}]
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(StorageError):
        ScalingPolicy(**wrong)  # type: ignore[arg-type]


def test_a_scale_that_is_refused_is_asked_for_again_after_the_cooldown(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = Plant(by_events(1))
    asked: list[float] = []

    def refuse(*of: object) -> None:
        asked.append(plant.now_s)
        raise StorageError("not now")

    with monkeypatch.context() as patched:
        patched.setattr(plant.store, "scale", refuse)
        plant.run(35, 100)
    assert [later - earlier for earlier, later in pairwise(asked)] == [10.0, 10.0, 10.0]
    assert plant.scaler.failed == {"s": "not now"}
    assert plant.run(10, 100) > 1
    assert plant.scaler.failed == {}
