"""The synthetic driver: the same samples from the same seed, each exactly once, wherever it was stopped."""

from __future__ import annotations

import json
from typing import Literal

import pytest
from hypothesis import given
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


@pytest.mark.parametrize("config", [SyntheticConfig(rate_per_s=-1), SyntheticConfig(rate_per_s=float("nan"))])
def test_a_rate_that_cannot_be_is_refused(config: SyntheticConfig) -> None:
    with pytest.raises(DriverConfigError, match="rate_per_s"):
        SyntheticDriver(config, SETTINGS, FakeClock())
