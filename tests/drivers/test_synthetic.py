"""The synthetic driver: the same samples from the same seed, each exactly once, wherever it was stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.contract import Delivery, DriverConfigError, SourceSettings
from drivers.synthetic import SyntheticConfig, SyntheticDriver, uniform
from storage.clock import FakeClock

Signal = Literal["sine", "ramp", "walk"]
SETTINGS = SourceSettings(name="flow", driver="synthetic", stream="plant/flow")


def opened(config: SyntheticConfig, clock: FakeClock, state: bytes | None = None) -> SyntheticDriver:
    driver = SyntheticDriver(config, SETTINGS, clock)
    driver.open(state)
    return driver


def payloads(*deliveries: Delivery | None) -> list[bytes]:
    return [
        payload
        for delivery in deliveries
        if delivery is not None
        for append in delivery.appends
        for frame in append.frames
        for payload in frame.payloads
    ]


@pytest.mark.long
@pytest.mark.parametrize("signal", ["sine", "ramp", "walk"])
@given(steps=st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=8), seed=st.integers(0, 1 << 64))
def test_restarts_from_the_cursor_change_nothing(signal: Signal, steps: list[tuple[float, bool]], seed: int) -> None:
    config = SyntheticConfig(signal=signal, rate_per_s=10, seed=seed, noise=0.1, count=30)
    clock = FakeClock()
    whole_clock = FakeClock()
    whole = opened(config, whole_clock)
    whole_clock.advance(60)
    expected = payloads(whole.poll(0))
    assert len(expected) == 30

    driver, state, came = opened(config, clock), None, []
    for advance_s, restart in [*steps, (60.0, False)]:
        clock.advance(advance_s)
        delivery = driver.poll(0)
        came += payloads(delivery)
        state = delivery.cursor if delivery is not None else state
        if restart:
            driver = opened(config, clock, state)
    assert came == expected


def test_samples_come_at_their_rate_and_carry_the_time_at_which_they_were_due() -> None:
    clock = FakeClock()
    driver = opened(SyntheticConfig(rate_per_s=10), clock)
    started_ns = clock.boot_ns()
    assert len(payloads(driver.poll(0))) == 1
    assert driver.poll(0) is None
    clock.advance(0.35)
    delivery = driver.poll(0)
    assert delivery is not None
    (frame,) = delivery.appends[0].frames
    assert frame.times_ns is not None
    assert [time_ns - started_ns for time_ns in frame.times_ns] == [100_000_000, 200_000_000, 300_000_000]


def test_payloads_say_which_sample_they_are() -> None:
    clock = FakeClock()
    driver = opened(SyntheticConfig(rate_per_s=0, count=3), clock)
    assert [json.loads(payload)["n"] for payload in payloads(driver.poll(0))] == [0, 1, 2]
    assert driver.poll(0) is None


def test_a_backlog_is_handed_over_in_bounded_deliveries() -> None:
    clock = FakeClock()
    driver = opened(SyntheticConfig(rate_per_s=1000), clock)
    clock.advance(3600)
    assert len(payloads(driver.poll(0))) == 10_000


def test_made_up_numbers_spread_over_their_range() -> None:
    numbers = [uniform(7, n) for n in range(10_000)]
    assert -1 <= min(numbers) < -0.99
    assert 0.99 < max(numbers) < 1
    assert abs(sum(numbers) / len(numbers)) < 0.05


FAULTY = SyntheticConfig(
    rate_per_s=10,
    count=600,
    seed=5,
    spikes=0.05,
    duplicates=0.05,
    drop_outs=0.1,
    stuck=0.1,
    bursts=0.1,
    drift_per_s=0.01,
)


def readings(config: SyntheticConfig) -> list[tuple[int, float]]:
    """Number and value of all samples, as they are handed over."""
    clock = FakeClock()
    driver = opened(config, clock)
    clock.advance(3600)
    return [(raw["n"], raw["value"]) for raw in map(json.loads, payloads(driver.poll(0)))]


@pytest.mark.long
@pytest.mark.parametrize("signal", ["sine", "walk"])
@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.tuples(st.floats(0, 15), st.booleans()), max_size=8))
def test_restarts_change_no_fault(signal: Signal, steps: list[tuple[float, bool]]) -> None:
    config = replace(FAULTY, signal=signal)
    clock, whole_clock = FakeClock(), FakeClock()
    whole = opened(config, whole_clock)
    whole_clock.advance(100)
    expected = payloads(whole.poll(0))
    driver, state, came, lost = opened(config, clock), None, [], 0
    for advance_s, restart in [*steps, (100.0, False)]:
        clock.advance(advance_s)
        delivery = driver.poll(0)
        came += payloads(delivery)
        state = delivery.cursor if delivery is not None else state
        if restart:
            lost += driver.counters["lost"]
            driver = opened(config, clock, state)
    assert came == expected
    assert lost + driver.counters["lost"] == whole.counters["lost"]


def test_faults_come_as_often_as_they_should_and_only_those_that_are_asked_for() -> None:
    plain = dict(readings(SyntheticConfig(rate_per_s=10, count=5_000, seed=5)))
    assert len(plain) == 5_000

    def faulty(**faults: float) -> list[tuple[int, float]]:
        return readings(replace(SyntheticConfig(rate_per_s=10, count=5_000, seed=5), **faults))  # type: ignore[arg-type]

    spiked = [n for n, value in faulty(spikes=0.05) if abs(value - plain[n]) > 9]
    assert 200 < len(spiked) < 300
    assert 5_200 < len(faulty(duplicates=0.05)) < 5_300
    assert 4_250 < len(faulty(drop_outs=0.1)) < 4_750
    stuck = faulty(stuck=0.1)
    assert 250 < sum(value == stuck[place - 1][1] for place, (_, value) in enumerate(stuck) if place) < 750
    drifted = faulty(drift_per_s=0.01)
    assert drifted[-1][1] - plain[4_999] == pytest.approx(4.999, abs=0.01)
    assert faulty(bursts=0.5) == sorted(plain.items())


def test_a_drop_out_is_counted_as_lost_and_leaves_a_hole() -> None:
    clock = FakeClock()
    driver = opened(replace(FAULTY, duplicates=0, drop_outs=0.5), clock)
    clock.advance(100)
    numbers = [json.loads(payload)["n"] for payload in payloads(driver.poll(0))]
    assert len(numbers) + driver.counters["lost"] == 600
    assert all(set(range(n - n % 10, n - n % 10 + 10)) <= set(numbers) for n in numbers), "whole windows are missing"
    assert driver.counters["lost"] > 100


def test_a_burst_comes_all_at_once_at_its_end() -> None:
    clock = FakeClock()
    driver = opened(SyntheticConfig(rate_per_s=10, count=25, bursts=1), clock)
    sizes, times = [], []
    for _ in range(30):
        delivery = driver.poll(0)
        sizes.append(len(payloads(delivery)))
        times += [] if delivery is None else list(delivery.appends[0].frames[0].times_ns or ())
        clock.advance(0.1)
    assert [size for size in sizes if size] == [10, 10, 5]
    assert len(set(times)) == 3


@pytest.mark.parametrize(
    "config", [SyntheticConfig(spikes=1.5), SyntheticConfig(stuck=-1), SyntheticConfig(bursts=float("nan")),
               SyntheticConfig(fault_samples=0), SyntheticConfig(fault_samples=10_000)],
)  # fmt: skip
def test_a_fault_that_cannot_be_is_refused(config: SyntheticConfig) -> None:
    with pytest.raises(DriverConfigError, match="use "):
        SyntheticDriver(config, SETTINGS, FakeClock())


@pytest.mark.parametrize("config", [SyntheticConfig(rate_per_s=-1), SyntheticConfig(rate_per_s=float("nan"))])
def test_a_rate_that_cannot_be_is_refused(config: SyntheticConfig) -> None:
    with pytest.raises(DriverConfigError, match="rate_per_s"):
        SyntheticDriver(config, SETTINGS, FakeClock())
