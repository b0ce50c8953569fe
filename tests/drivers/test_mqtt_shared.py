"""Shared subscriptions: two gateways that share the work of one, at a real mosquitto."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from drivers.mqtt import MqttConfig
from tests.drivers.running import Running
from tests.drivers.subscribing import killed, numbers, publish, running
from tests.servers.mosquitto import Mosquitto

MESSAGES = 100


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "mosquitto") as running:
        yield running


def sharing(broker: Mosquitto, name: str, protocol: Literal["3.1.1", "5"]) -> MqttConfig:
    return MqttConfig(broker=broker.url, topics=("$share/plant/site/+",), client_id=name, protocol=protocol)


def until_all(first: Running, second: Running, count: int) -> None:
    """Step both."""

    def both() -> bool:
        second.step()
        return len(first.sink.events) + len(second.sink.events) >= count

    first.until(both, f"{count} messages at either of both")
    first.for_a_while()
    second.for_a_while()


@pytest.mark.long
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_each_message_is_stored_by_one_of_two(broker: Mosquitto, protocol: Literal["3.1.1", "5"]) -> None:
    first, second = (running(sharing(broker, name, protocol)) for name in ("north", "south"))
    publish(broker, "site/a", numbers(MESSAGES))
    until_all(first, second, MESSAGES)
    halves = [source.sink.payloads() for source in (first, second)]
    assert sorted(halves[0] + halves[1], key=int) == numbers(MESSAGES)
    assert all(halves)
    assert halves == [sorted(half, key=int) for half in halves]
    assert {event.stream for event in first.sink.events} == {"site/a"}


@pytest.mark.long
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_what_one_had_not_on_disk_when_it_was_killed_is_stored_once(
    broker: Mosquitto, protocol: Literal["3.1.1", "5"]
) -> None:
    first, second = (running(sharing(broker, name, protocol)) for name in ("north", "south"))
    first.commits = False
    publish(broker, "site/a", numbers(MESSAGES))
    first.until(lambda: first.counter("good") > 0, "a share of it")
    back = running(sharing(broker, "north", protocol), killed(first))
    until_all(back, second, MESSAGES)
    assert sorted(back.sink.payloads() + second.sink.payloads(), key=int) == numbers(MESSAGES)
    assert back.sink.payloads()
