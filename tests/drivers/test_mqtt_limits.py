"""How far exactly once goes over MQTT: what the protocol makes impossible, each as the README lists it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.mqtt import MqttConfig, MqttDriver
from drivers.mqtt.redelivery import SessionState
from drivers.status import SourceState
from tests.drivers.running import Running
from tests.drivers.scripted_broker import ScriptedBroker
from tests.drivers.subscriber_campaign.publisher import connect, publish_packet
from tests.drivers.subscribing import SETTINGS, forget_subscription, killed, numbers, publish, running
from tests.servers.mosquitto import Mosquitto

TOPIC = "site/a"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "mosquitto", persistence=True) as running:
        yield running


@pytest.fixture
def scripted() -> Iterator[ScriptedBroker]:
    broker = ScriptedBroker()
    yield broker
    broker.close()


@pytest.fixture
def config(broker: Mosquitto) -> MqttConfig:
    return MqttConfig(broker=broker.url, topics=("site/#",))


def candidates(source: Running) -> int:
    """On disk."""
    state = source.sink.cursor(SETTINGS.cursor_name)
    return 0 if state is None else len(SessionState.from_bytes(state).candidates)


def test_a_publisher_that_repeats_itself_makes_two_messages_of_one(broker: Mosquitto, config: MqttConfig) -> None:
    source = running(config)
    for dup in (False, True):
        # The answer to the first is never read: the device died, or the link did.
        with connect(broker.port, "device") as device:
            device.sendall(publish_packet(1, TOPIC, b"12.7", dup=dup))
            source.until(lambda: len(source.sink.events) == 1 + dup, "the message")  # noqa: B023
    source.for_a_while()
    assert source.sink.payloads() == [b"12.7", b"12.7"]
    assert source.counter("duplicates") == 0


def test_what_a_broker_without_persistence_had_queued_is_gone_with_it(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "mosquitto") as broker:
        source = running(MqttConfig(broker=broker.url, topics=("site/#",)))
        source.source.close()
        publish(broker, TOPIC, [b"while we are away"])
        broker.kill()
        broker.start()
        after = running(MqttConfig(broker=broker.url, topics=("site/#",)), source.sink)
        after.until(lambda: "Sending SUBACK" in broker.log.rpartition("New connection")[2], "the new subscription")
        publish(broker, TOPIC, [b"after it"])
        after.until(lambda: len(after.sink.events) == 1, "the next message")
        assert after.sink.payloads() == [b"after it"]


@pytest.mark.long
def test_what_a_broker_forgot_the_puback_of_comes_again_as_new(broker: Mosquitto, config: MqttConfig) -> None:
    source = running(config)
    source.commits = False
    publish(broker, TOPIC, numbers(3))
    source.until(lambda: source.counter("good") == 3, "three messages")
    broker.save()
    source.commits = True
    source.until(lambda: source.counter("durable") == 3, "the commit")
    source.until(lambda: candidates(source) == 0, "the proof on disk")
    broker.kill()
    broker.start()
    source.until(lambda: len(source.sink.events) == 6, "what the broker has in its file")
    assert source.sink.payloads() == numbers(3) * 2


@pytest.mark.long
def test_what_a_broker_forgot_the_puback_of_is_known_until_its_proof_is_on_disk(
    broker: Mosquitto, config: MqttConfig
) -> None:
    source = running(config)
    source.commits = False
    publish(broker, TOPIC, numbers(3))
    source.until(lambda: source.counter("good") == 3, "three messages")
    broker.save()
    source.sink.commit()
    source.until(lambda: broker.log.count("Received PUBACK from edge-pump-7-field") == 3, "the acknowledgements")
    broker.kill()
    broker.start()
    after = running(config, killed(source))
    after.until(lambda: after.counter("duplicates") == 3, "what the broker has in its file")
    assert after.sink.payloads() == numbers(3)


def subscribed(scripted: ScriptedBroker) -> Running:
    source = running(MqttConfig(broker=scripted.url, topics=("site/#",)))
    scripted.await_client()
    return source


def stored_and_answered(scripted: ScriptedBroker) -> Running:
    """One message is on disk and its PUBACK has arrived; the broker has not proved it."""
    source = subscribed(scripted)
    scripted.proves = False
    scripted.send(1, b"12.7", dup=False)
    source.until(lambda: not scripted.pubacks.empty(), "the answer")
    assert (scripted.pubacks.get(), source.sink.payloads()) == (1, [b"12.7"])
    return source


def again(scripted: ScriptedBroker, source: Running) -> Running:
    """The same gateway after a kill."""
    after = running(MqttConfig(broker=scripted.url, topics=("site/#",)), killed(source))
    scripted.await_client()
    return after


def test_an_equal_message_on_the_same_id_before_the_proof_is_taken_for_the_first_when_it_is_sent_again(
    scripted: ScriptedBroker,
) -> None:
    source = stored_and_answered(scripted)
    source.commits = False
    scripted.send(1, b"12.7", dup=False)
    source.until(lambda: source.counter("good") == 2, "the second, which is not on disk")
    after = again(scripted, source)
    scripted.send(1, b"12.7", dup=True)
    after.until(lambda: not scripted.pubacks.empty(), "the answer")
    assert after.sink.payloads() == [b"12.7"]
    assert after.counter("duplicates") == 1


@pytest.mark.parametrize("payload", [b"12.7", b"12.8"])
def test_it_is_kept_where_it_differs_or_comes_without_dup(scripted: ScriptedBroker, payload: bytes) -> None:
    after = again(scripted, stored_and_answered(scripted))
    scripted.send(1, payload, dup=payload != b"12.7")
    after.until(lambda: not scripted.pubacks.empty(), "the answer")
    assert after.sink.payloads() == [b"12.7", payload]
    assert after.counter("duplicates") == 0


@pytest.mark.long
def test_an_equal_message_on_the_same_id_after_the_proof_is_kept(scripted: ScriptedBroker) -> None:
    source = subscribed(scripted)
    scripted.send(1, b"12.7", dup=False)
    source.until(lambda: not scripted.pubacks.empty(), "the answer")
    scripted.pubacks.get()
    source.until(lambda: candidates(source) == 0, "the proof on disk")
    source.commits = False
    scripted.send(1, b"12.7", dup=False)
    source.until(lambda: source.counter("good") == 2, "the second, which is not on disk")
    after = again(scripted, source)
    scripted.send(1, b"12.7", dup=True)
    after.until(lambda: not scripted.pubacks.empty(), "the answer")
    assert after.sink.payloads() == [b"12.7", b"12.7"]


def test_a_redelivery_without_dup_is_stored_twice(scripted: ScriptedBroker) -> None:
    source = subscribed(scripted)
    source.commits = False
    scripted.send(1, b"12.7", dup=False)
    source.until(lambda: source.counter("good") == 1, "the message")
    source.sink.commit()
    after = again(scripted, source)
    scripted.send(1, b"12.7", dup=False)
    after.until(lambda: not scripted.pubacks.empty(), "the answer")
    assert after.sink.payloads() == [b"12.7", b"12.7"]


@pytest.mark.parametrize(("protocol", "times"), [("3.1.1", 2), ("5", 1)])
def test_retained_messages_of_a_first_subscription_that_was_not_on_disk_come_twice_under_3_1_1(
    broker: Mosquitto, protocol: str, times: int
) -> None:
    publish(broker, TOPIC, [b"21"], retain=True)
    config = MqttConfig(broker=broker.url, topics=("site/#",), protocol="5" if protocol == "5" else "3.1.1")
    source = Running(lambda settings, clock: MqttDriver(config, settings, clock), SETTINGS)
    source.commits = False
    source.until(lambda: source.source.state is SourceState.RUNNING, "the connection")
    source.until(lambda: source.counter("good") == 1, "the retained message")
    after = running(config, killed(source))
    after.until(lambda: broker.log.count("Sending SUBACK") == 2, "the second subscription")
    publish(broker, TOPIC, [b"22"])
    after.until(lambda: after.sink.payloads()[-1:] == [b"22"], "the next message")
    assert after.sink.payloads() == [b"21"] * times + [b"22"]
    assert all(dict(event.headers)["mqtt.retain"] == b"1" for event in after.sink.events[:-1])


def test_what_is_published_at_qos_0_is_lost_when_it_was_not_on_disk(broker: Mosquitto, config: MqttConfig) -> None:
    source = running(config)
    source.commits = False
    publish(broker, TOPIC, [b"0"], qos=0)
    source.until(lambda: source.counter("good") == 1, "the message")
    after = running(config, killed(source))
    publish(broker, TOPIC, [b"1"])
    after.until(lambda: len(after.sink.events) >= 1, "the next message")
    assert after.sink.payloads() == [b"1"]


def test_a_shared_message_that_the_broker_gives_to_another_is_stored_by_both(scripted: ScriptedBroker) -> None:
    def member(name: str) -> MqttConfig:
        return MqttConfig(broker=scripted.url, topics=("$share/plant/site/+",), client_id=name)

    first = running(member("north"))
    scripted.await_client()
    first.commits = False
    scripted.send(1, b"12.7", dup=False)
    first.until(lambda: first.counter("good") == 1, "the message")
    first.sink.commit()
    held = killed(first)
    second = running(member("south"))
    scripted.await_client()
    scripted.send(1, b"12.7", dup=True)
    second.until(lambda: not scripted.pubacks.empty(), "the answer")
    assert held.payloads() == second.sink.payloads() == [b"12.7"]


def test_under_another_address_what_was_under_way_comes_again_as_new(broker: Mosquitto, config: MqttConfig) -> None:
    source = running(config)
    source.commits = False
    publish(broker, TOPIC, [b"12.7"])
    source.until(lambda: source.counter("good") == 1, "the message")
    source.sink.commit()
    elsewhere = MqttConfig(broker=f"mqtt://localhost:{broker.port}", topics=config.topics)
    after = running(elsewhere, killed(source))
    after.until(lambda: len(after.sink.events) == 2, "the redelivery")
    assert after.sink.payloads() == [b"12.7", b"12.7"]


def test_under_3_1_1_a_session_that_was_saved_without_its_subscription_hears_nothing(
    broker: Mosquitto, config: MqttConfig
) -> None:
    source = running(config)
    source.source.close()
    forget_subscription(broker, "3.1.1")
    after = running(config, source.sink)
    publish(broker, TOPIC, [b"unheard"])
    after.for_a_while()
    assert after.sink.payloads() == []
