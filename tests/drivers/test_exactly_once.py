"""Drivers into the real store on its twin that loses power: each event exactly once, in order, whenever it is cut."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from drivers.contract import Driver, SourceSettings
from drivers.fake import CursoredFakeDriver, FakeConfig, FakeDevice
from drivers.mqtt import MqttConfig, MqttDriver
from drivers.source import Source
from drivers.synthetic import SyntheticConfig, SyntheticDriver
from storage import Clock, FakeClock, SegmentStore, SystemClock
from storage.kv.memory import MemoryTwin
from tests.drivers.running import PATIENCE_S
from tests.servers.mosquitto import Mosquitto

SETTINGS = SourceSettings(name="field", driver="any", stream="site/a", node="pump-7")


class Gateway:
    """One source and its store, from a boot to a power cut; the twin's disk outlives it."""

    def __init__(self, twin: MemoryTwin, make: Callable[[Clock], Driver], clock: Clock, seed: int) -> None:
        self.store = SegmentStore.in_memory(twin, clock=clock)
        self.store.own_commits()
        self.source = Source(lambda: make(clock), SETTINGS, self.store, clock=clock, random=random.Random(seed))

    def step(self, *, commit: bool) -> None:
        if not self.store.has_stream(SETTINGS.stream):
            self.store.own_commits(False)
            self.store.create_stream(SETTINGS.stream)
            self.store.own_commits()
        self.source.step(0.005)
        if commit:
            self.store.commit()

    def payloads(self) -> list[bytes]:
        return [event.payload for event in self.store.read(SETTINGS.stream, follow=False)]


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_synthetic_samples_are_stored_once_each_through_power_cuts(seed: int) -> None:
    chance = random.Random(seed)
    twin, clock = MemoryTwin(), FakeClock()
    config = SyntheticConfig(signal="walk", rate_per_s=200, count=500, payload="json")
    for _ in range(12):
        gateway = Gateway(twin, lambda clock: SyntheticDriver(config, SETTINGS, clock), clock, seed)
        for _ in range(chance.randrange(40)):
            gateway.step(commit=chance.random() < 0.4)
            clock.advance(chance.random() * 0.05)
        twin.power_cut()
        clock.reboot()
    gateway = Gateway(twin, lambda clock: SyntheticDriver(config, SETTINGS, clock), clock, seed)
    for _ in range(20):
        gateway.step(commit=True)
        clock.advance(1)
    whole = SyntheticDriver(config, SETTINGS, clock)
    whole.open(None)
    clock.advance(10)
    delivery = whole.poll(0)
    assert delivery is not None
    assert gateway.payloads() == list(delivery.appends[0].frames[0].payloads)


class Publisher:
    """Publishes numbers at QoS 1 and knows which of them the broker has acknowledged."""

    def __init__(self, broker: Mosquitto) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.max_inflight_messages = 0
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        self._sent: list[paho.MQTTMessageInfo] = []

    def publish(self, count: int) -> None:
        start = len(self._sent)
        self._sent += [self._client.publish("site/a", b"%d" % number, qos=1) for number in range(start, start + count)]

    def finish(self) -> int:
        for info in self._sent:
            info.wait_for_publish(PATIENCE_S)
            assert info.is_published()
        self._client.disconnect()
        self._client.loop_stop()
        return len(self._sent)


@pytest.mark.long
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
@pytest.mark.parametrize("max_inflight", [0, 20])
def test_mqtt_messages_are_stored_once_each_through_power_cuts(
    protocol: str, max_inflight: int, tmp_path: Path
) -> None:
    chance = random.Random(f"{protocol} {max_inflight}")
    twin, clock = MemoryTwin(), SystemClock()
    duplicates = 0
    with Mosquitto(tmp_path / "mosquitto", max_inflight=max_inflight) as broker:
        config = MqttConfig(broker=broker.url, topics=("site/#",), protocol="5" if protocol == "5" else "3.1.1")
        drivers: list[MqttDriver] = []

        def make(clock: Clock) -> MqttDriver:
            drivers.append(MqttDriver(config, SETTINGS, clock))
            return drivers[-1]

        gateway = Gateway(twin, make, clock, 0)
        while gateway.store.cursor(SETTINGS.cursor_name) is None:
            gateway.step(commit=True)
        publisher = Publisher(broker)
        for life in range(15):
            for _ in range(chance.randrange(5, 40)):
                if chance.random() < 0.3:
                    publisher.publish(chance.randrange(1, 40))
                gateway.step(commit=chance.random() < 0.5)
            duplicates += gateway.source.status().counters["duplicates"]
            twin.power_cut()
            hang_up(drivers[-1])
            gateway = Gateway(twin, make, clock, life)
        total = publisher.finish()
        deadline = time.monotonic() + PATIENCE_S
        while len(gateway.payloads()) < total and time.monotonic() < deadline:
            for _ in range(20):
                gateway.step(commit=True)
        for _ in range(50):
            gateway.step(commit=True)
        assert gateway.payloads() == [b"%d" % number for number in range(total)]
        assert duplicates > 0, "the schedule never made the broker send anything again: it shows nothing"
        gateway.source.close()


def hang_up(driver: MqttDriver) -> None:
    """The connection of a process that was killed: it ends without a word."""
    assert driver._connection is not None
    sock = driver._connection._client.socket()
    if sock is not None:
        sock.close()


def test_a_store_that_cannot_sync_never_acknowledges_to_the_device() -> None:
    device = FakeDevice()
    device.say(b"1", b"2")
    clock = FakeClock()
    gateway = Gateway(
        MemoryTwin(), lambda clock: CursoredFakeDriver(device, SETTINGS, clock, FakeConfig()), clock, seed=1
    )
    for _ in range(20):
        gateway.step(commit=False)
    assert device.acknowledged == []
    gateway.step(commit=True)
    gateway.step(commit=True)
    assert device.acknowledged == [b"1", b"2"]
