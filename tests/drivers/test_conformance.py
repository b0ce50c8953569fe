"""The conformance suite: what every driver of the registration table must keep, with a real device of its kind.

An acknowledged or cursored driver: each reading once and in order, whatever happens. A memoryless one: nothing twice and
nothing out of order, and all that it is told while it is open.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.contract import DeviceLostError, Shape
from drivers.fake import RecordingSink
from drivers.outbox import MAX_SUBMISSIONS
from drivers.registry import driver_names
from drivers.status import SourceState
from storage.clock import SystemClock
from tests.drivers.kinds import DEVICES, READINGS, README_DRIVER, Device
from tests.drivers.running import Running

pytestmark = pytest.mark.long
FEW = READINGS // 4


@pytest.fixture(params=[*driver_names(), README_DRIVER])
def kind(request: pytest.FixtureRequest) -> str:
    assert request.param in DEVICES, f"tests/drivers/kinds.py has no device for {request.param}: add one"
    return str(request.param)


@pytest.fixture
def device(kind: str, tmp_path: Path) -> Iterator[Device]:
    made = DEVICES[kind](tmp_path)
    yield made
    made.close()


class Case:
    """A device and the source that reads it; gateways may follow each other."""

    def __init__(self, device: Device) -> None:
        self.device = device
        unopened = device.driver(device.settings, SystemClock())
        self.memoryless = unopened.shape is Shape.MEMORYLESS
        unopened.close()
        self.running = self._start(RecordingSink())

    def _start(self, sink: RecordingSink) -> Running:
        return Running(self.device.driver, self.device.settings, sink)

    @property
    def stored(self) -> list[bytes]:
        return self.running.sink.payloads()

    def until_running(self) -> None:
        self.running.until(lambda: self.running.source.state is SourceState.RUNNING, "the device")

    def until_stored(self, since: int = 0) -> None:
        """All that was said from reading `since` on; of a driver that forgets nothing, all."""
        wanted = self.device.expected[since if self.memoryless else 0 :]
        self.running.until(lambda: set(wanted) <= set(self.stored), f"{len(wanted)} readings")

    def power_cut(self) -> None:
        """What was not committed is gone, and another gateway starts with what is left."""
        self.running.sink.lose_power()
        self.running.source.close()
        self.running = self._start(self.running.sink)

    def judge(self) -> None:
        """What is stored is what was said; of a memoryless device some may be missing."""
        expected = self.device.expected
        stored = self.stored
        assert stored == ([reading for reading in expected if reading in stored] if self.memoryless else expected)


@pytest.fixture
def case(device: Device) -> Iterator[Case]:
    device.plug_in()
    made = Case(device)
    made.until_running()
    yield made
    made.running.source.close()


def test_every_reading_is_stored_once_and_in_order(case: Case) -> None:
    for _ in range(4):
        case.device.say(FEW)
        case.until_stored()
    case.running.for_a_while()
    assert case.stored == case.device.expected
    assert case.running.counter("durable") == case.running.counter("good") == len(case.stored)
    assert case.running.counter("bytes") == sum(map(len, case.stored))


def test_a_device_that_goes_and_comes_back(case: Case) -> None:
    if not case.device.comes_and_goes:
        return
    for _ in range(2):
        case.device.say(FEW)
        case.until_stored()
        case.device.unplug()
        case.running.for_a_while()
        since = len(case.device.expected)
        case.device.plug_in()
        case.running.for_a_while()
        case.until_running()
        case.device.say(FEW)
        case.until_stored(since)
    case.judge()


def test_a_power_cut_before_the_commit(case: Case) -> None:
    case.device.say(FEW)
    case.until_stored()
    case.running.commits = False
    case.device.say(FEW)
    case.running.for_a_while()
    case.power_cut()
    case.until_running()
    since = len(case.device.expected)
    case.device.say(FEW)
    case.until_stored(since)
    case.judge()


def test_a_store_that_takes_nothing_for_a_while(case: Case) -> None:
    case.running.commits = False
    before = case.stored
    for _ in range(4):
        case.device.say(FEW)
        case.running.for_a_while(0.1)
    assert case.running.sink.waiting <= MAX_SUBMISSIONS
    assert case.stored == before
    case.running.commits = True
    case.running.until(
        lambda: len(case.stored) + case.running.counter("lost") >= len(case.device.expected), "all that was said"
    )
    case.judge()


def test_pause_and_resume(case: Case) -> None:
    case.device.say(FEW)
    case.until_stored()
    case.running.source.pause()
    case.running.until(lambda: case.running.source.state is SourceState.PAUSED, "the pause")
    before = case.stored
    case.running.for_a_while(0.1)
    assert case.stored == before
    case.running.source.resume()
    case.until_running()
    since = len(case.device.expected)
    case.device.say(FEW)
    case.until_stored(since)
    case.judge()


def test_restart(case: Case) -> None:
    for _ in range(3):
        case.device.say(FEW)
        case.until_stored()
        case.running.source.restart()
        case.running.step()
        case.until_running()
    case.running.for_a_while()
    case.judge()


def test_a_device_that_is_not_there_is_lost_and_never_an_unknown_error(kind: str, device: Device) -> None:
    """Whoever waits for a device says so, and can be closed all the same."""
    driver = device.driver(device.settings, SystemClock())
    try:
        driver.open(None)
        for _ in range(5):
            driver.poll(0.01)
    except DeviceLostError as error:
        assert len(str(error)) > 20
    driver.close()


def test_each_name_has_its_device() -> None:
    assert set(DEVICES) == {*driver_names(), README_DRIVER}
