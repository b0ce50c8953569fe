"""A driver that waits for its device is told when the store has answered: acknowledgements don't wait for the device."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import Event, Thread, Timer

import pytest

from drivers.contract import Delivery, SourceSettings
from drivers.fake import FakeConfig, FakeDevice, FakeDriver, RecordingSink
from drivers.mqtt import MqttConfig, MqttDriver
from drivers.source import Source
from drivers.waking import Waker
from storage.clock import SystemClock
from tests.drivers.running import PATIENCE_S
from tests.servers.mosquitto import Mosquitto

SETTINGS = SourceSettings(name="flow", driver="fake", stream="plant/flow")
LONG_S = 60.0


class WaitingDriver(FakeDriver):
    """Its device says one thing at first; after that it waits."""

    waits_in_poll = True

    def __init__(self, device: FakeDevice) -> None:
        super().__init__(device, SETTINGS, SystemClock(), FakeConfig())
        self._interrupted = Event()
        self.waits = Event()
        self.ended_by_interrupt: list[bool] = []

    def poll(self, timeout_s: float) -> Delivery | None:
        delivery = super().poll(timeout_s)
        if delivery is None:
            self.waits.set()
            self.ended_by_interrupt.append(self._interrupted.wait(min(timeout_s, PATIENCE_S)))
            self._interrupted.clear()
        return delivery

    def interrupt(self) -> None:
        self._interrupted.set()


def test_the_poll_that_waits_ends_when_the_store_has_answered() -> None:
    device, sink = FakeDevice(), RecordingSink()
    driver = WaitingDriver(device)
    woken = Event()
    source = Source(lambda: driver, SETTINGS, sink, clock=SystemClock(), random=Random(1), wake=woken.set)
    device.say(b"1")
    source.step(LONG_S)
    committing = Thread(target=lambda: driver.waits.wait(PATIENCE_S) and sink.commit())
    committing.start()
    source.step(LONG_S)
    committing.join()
    assert driver.ended_by_interrupt == [True]
    assert woken.is_set()
    device.say(b"2")
    source.step(LONG_S)
    assert device.acknowledged == [b"1"]


def test_an_answer_to_a_driver_that_is_closed_interrupts_nothing() -> None:
    device, sink = FakeDevice(), RecordingSink()
    driver = WaitingDriver(device)
    source = Source(lambda: driver, SETTINGS, sink, clock=SystemClock(), random=Random(1))
    device.say(b"1")
    source.step(0)
    source.close()
    sink.commit()
    assert not driver._interrupted.is_set()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "mosquitto") as running:
        yield running


@pytest.mark.parametrize("when", ["before the poll", "during it"])
def test_the_mqtt_subscriber_can_be_interrupted(broker: Mosquitto, when: str) -> None:
    driver = MqttDriver(MqttConfig(broker=broker.url), SETTINGS, SystemClock())
    driver.open(None)
    while driver.poll(0.05) is None:
        pass
    if when == "before the poll":
        driver.interrupt()
        driver.interrupt()
    else:
        Timer(0.1, driver.interrupt).start()
    began_s = time.monotonic()
    assert driver.poll(30) is None
    assert time.monotonic() - began_s < PATIENCE_S
    driver.close()
    driver.interrupt()


def test_a_waker_is_awake_until_it_is_drained() -> None:
    waker = Waker()
    for _ in range(3):
        assert select.select([waker], [], [], 0)[0] == []
        waker.wake()
        waker.wake()
        assert select.select([waker], [], [], 0)[0] == [waker]
        waker.drain()
        waker.drain()
    waker.close()
    waker.wake()
