"""A driver that others wait for goes on with them while the store takes no more, and hands nothing over."""

from __future__ import annotations

from random import Random

from drivers.contract import DeviceLostError, SourceSettings
from drivers.fake import FakeConfig, FakeDevice, FakeDriver, RecordingSink
from drivers.outbox import MAX_SUBMISSIONS
from drivers.source import Source
from drivers.status import SourceState
from storage.clock import FakeClock

SETTINGS = SourceSettings(name="local", driver="fake", stream="devices")


class TendingDriver(FakeDriver):
    """Counts how often it was asked to tend."""

    waits_in_poll = True

    def __init__(self, device: FakeDevice, clock: FakeClock) -> None:
        super().__init__(device, SETTINGS, clock, FakeConfig(per_poll=1))
        self.tended = 0
        self.fails_with: Exception | None = None

    def tend(self, timeout_s: float) -> None:
        self.tended += 1
        if self.fails_with is not None:
            raise self.fails_with


def held_up() -> tuple[Source, TendingDriver, FakeDevice, RecordingSink]:
    """A source whose store has as much of it as it takes."""
    clock, device, sink = FakeClock(), FakeDevice(), RecordingSink()
    driver = TendingDriver(device, clock)
    source = Source(lambda: driver, SETTINGS, sink, clock=clock, random=Random(1))
    device.say(*(b"%d" % number for number in range(2 * MAX_SUBMISSIONS)))
    while sink.waiting < MAX_SUBMISSIONS:
        source.step(0.0)
    assert driver.tended == 0
    return source, driver, device, sink


def test_it_is_asked_in_place_of_a_poll_until_the_store_takes_on() -> None:
    source, driver, device, sink = held_up()
    polls = device.polls
    for _ in range(5):
        assert source.step(0.0) == 0.0
    assert (driver.tended, device.polls, sink.waiting) == (5, polls, MAX_SUBMISSIONS)
    sink.commit()
    source.step(0.0)
    assert (driver.tended, device.polls) == (5, polls + 1)


def test_what_it_raises_there_stays_in_its_source_too() -> None:
    source, driver, device, _ = held_up()
    driver.fails_with = DeviceLostError("the port is gone")
    source.step(0.0)
    assert (source.state, device.closed) == (SourceState.BACKOFF, 1)
