"""The MQTT driver at a real mosquitto: acknowledged after the commit, and what comes again is recognised."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from drivers.mqtt import MqttConfig
from drivers.mqtt.redelivery import SessionState
from drivers.status import SourceState
from storage.units import Size
from tests.drivers.subscribing import SETTINGS, forget_subscription, killed, numbers, publish, running
from tests.servers.mosquitto import Mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "mosquitto") as running:
        yield running


@pytest.fixture(params=["3.1.1", "5"])
def config(broker: Mosquitto, request: pytest.FixtureRequest) -> MqttConfig:
    return MqttConfig(broker=broker.url, topics=("site/#",), protocol=request.param)


def test_messages_become_events_with_topic_words_as_stream_and_key(broker: Mosquitto, config: MqttConfig) -> None:
    source = running(config)
    publish(broker, "site/a b/telemetry", [b"1", b"2"])
    source.until(lambda: len(source.sink.events) == 2, "two events")
    first = source.sink.events[0]
    assert (first.stream, first.routing_key) == ("site/a_b", "site/a b/telemetry")
    assert first.headers == (("mqtt.topic", b"site/a b/telemetry"),)
    assert source.sink.payloads() == [b"1", b"2"]


def test_the_broker_hears_of_it_only_after_the_commit(broker: Mosquitto, config: MqttConfig) -> None:
    source = running(config)
    source.commits = False
    publish(broker, "site/a", numbers(10))
    source.until(lambda: source.counter("good") == 10, "ten messages")
    source.for_a_while()
    assert "Received PUBACK from edge-pump-7-field" not in broker.log
    source.commits = True
    source.until(lambda: broker.log.count("Received PUBACK from edge-pump-7-field") == 10, "ten acknowledgements")


def test_what_was_not_committed_comes_again_after_a_kill(broker: Mosquitto, config: MqttConfig) -> None:
    source = running(config)
    source.commits = False
    publish(broker, "site/a", numbers(10))
    source.until(lambda: source.counter("good") == 10, "ten messages")
    after = running(config, killed(source))
    after.until(lambda: len(after.sink.events) == 10, "the redelivery")
    assert after.sink.payloads() == numbers(10)
    assert after.counter("duplicates") == 0


def test_what_was_committed_and_not_acknowledged_is_not_stored_again(broker: Mosquitto, config: MqttConfig) -> None:
    source = running(config)
    source.commits = False
    publish(broker, "site/a", numbers(10))
    source.until(lambda: source.counter("good") == 10, "ten messages")
    source.sink.commit()
    after = running(config, killed(source))
    publish(broker, "site/a", numbers(3, start=10))
    after.until(lambda: len(after.sink.events) == 13, "the new messages")
    assert after.sink.payloads() == numbers(13)
    assert after.counter("duplicates") == 10


def test_a_connection_lost_while_the_store_was_busy_costs_nothing(broker: Mosquitto, config: MqttConfig) -> None:
    source = running(config)
    source.commits = False
    publish(broker, "site/a", numbers(10))
    source.until(lambda: source.counter("good") == 10, "ten messages")
    broker.kill()
    source.for_a_while(0.1)
    broker.start()
    source.commits = True
    source.until(lambda: source.counter("durable") == 10, "the commits")
    source.until(lambda: broker.log.count("Sending SUBACK to edge-pump-7-field") == 2, "the subscription")
    publish(broker, "site/a", numbers(3, start=10))
    source.until(lambda: len(source.sink.events) >= 13, "the rest")
    source.for_a_while(0.1)
    assert source.sink.payloads() == numbers(13)


def test_equal_readings_are_all_kept_across_a_kill(broker: Mosquitto, config: MqttConfig) -> None:
    source = running(config)
    source.commits = False
    publish(broker, "site/a", [b"12.7"] * 6)
    source.until(lambda: source.counter("good") == 6, "six messages")
    source.sink.commit()
    left = killed(source)
    publish(broker, "site/a", [b"12.7"] * 5)
    after = running(config, left)
    after.until(lambda: len(after.sink.events) == 11, "eleven events")
    after.for_a_while()
    assert after.sink.payloads() == [b"12.7"] * 11
    assert after.counter("duplicates") == 6


@pytest.mark.long
def test_proofs_shrink_the_candidates_on_disk(broker: Mosquitto, config: MqttConfig) -> None:
    source = running(config)
    publish(broker, "site/a", numbers(50))
    source.until(lambda: len(source.sink.events) == 50, "fifty events")

    def candidates() -> int:
        state = source.sink.cursor(SETTINGS.cursor_name)
        assert state is not None
        return len(SessionState.from_bytes(state).candidates)

    assert candidates() > 0
    source.until(lambda: candidates() == 0, "the proof on disk")


@pytest.mark.long
def test_retained_messages_come_once_although_the_source_restarts(broker: Mosquitto, config: MqttConfig) -> None:
    publish(broker, "site/a", [b"21"], retain=True)
    source = running(config)
    source.until(lambda: len(source.sink.events) == 1, "the retained message")
    assert dict(source.sink.events[0].headers)["mqtt.retain"] == b"1"
    source.source.restart()
    source.step()
    publish(broker, "site/a", [b"22"])
    source.until(lambda: len(source.sink.events) == 2, "the next one")
    source.for_a_while()
    assert source.sink.payloads() == [b"21", b"22"]


def test_under_mqtt_5_a_session_that_was_saved_without_its_subscription_is_subscribed_anew(broker: Mosquitto) -> None:
    source = running(MqttConfig(broker=broker.url, topics=("site/#",), protocol="5"))
    source.source.close()
    forget_subscription(broker, "5")
    after = running(MqttConfig(broker=broker.url, topics=("site/#",), protocol="5"), source.sink)
    publish(broker, "site/a", [b"heard"])
    after.until(lambda: after.sink.payloads() == [b"heard"], "the message")


@pytest.mark.long
def test_topics_added_and_taken_away_take_effect(broker: Mosquitto, config: MqttConfig) -> None:
    source = running(config)
    source.source.close()
    changed = MqttConfig(broker=config.broker, topics=("plant/#",), protocol=config.protocol)
    after = running(changed, source.sink)
    after.until(lambda: "UNSUBSCRIBE from edge-pump-7-field" in broker.log, "the old topic's end")
    publish(broker, "site/a", [b"old"])
    publish(broker, "plant/a", [b"new"])
    after.until(lambda: len(after.sink.events) == 1, "the new topic's event")
    after.for_a_while()
    assert after.sink.payloads() == [b"new"]


def test_a_message_of_no_bytes_is_an_event_of_no_bytes(broker: Mosquitto, config: MqttConfig) -> None:
    source = running(config)
    publish(broker, "site/a", [b"", b"x"])
    source.until(lambda: len(source.sink.events) == 2, "two events")
    assert source.sink.payloads() == [b"", b"x"]


def test_a_message_above_the_limit_is_refused_and_the_rest_moves_on(
    broker: Mosquitto, config: MqttConfig, caplog: pytest.LogCaptureFixture
) -> None:
    small = MqttConfig(
        broker=config.broker, topics=config.topics, protocol=config.protocol, max_message_bytes=Size(1000)
    )
    source = running(small)
    publish(broker, "site/a", [b"before", b"x" * 1001, b"after"])
    source.until(lambda: len(source.sink.events) == 2, "the two around it")
    source.until(lambda: broker.log.count("Received PUBACK from edge-pump-7-field") == 3, "all acknowledged")
    assert source.sink.payloads() == [b"before", b"after"]
    assert source.counter("refused") == 1
    assert "a message of 1001 bytes on site/a" in caplog.text


def test_a_broker_that_went_away_and_forgot_is_subscribed_anew(broker: Mosquitto, config: MqttConfig) -> None:
    source = running(config)
    publish(broker, "site/a", [b"1"])
    source.until(lambda: len(source.sink.events) == 1, "the first")
    broker.kill()
    source.until(lambda: source.source.state is SourceState.BACKOFF, "the loss noticed")
    assert broker.url in str(source.source.status().last_error)
    broker.start()
    source.until(lambda: source.source.state is SourceState.RUNNING, "the way back")
    source.until(lambda: broker.log.count("Sending SUBACK to edge-pump-7-field") == 2, "the subscription")
    publish(broker, "site/a", [b"1"])
    source.until(lambda: len(source.sink.events) == 2, "the second, though it equals the first")


def test_a_broker_that_keeps_its_sessions_delivers_what_came_meanwhile(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "mosquitto", persistence=True) as broker:
        config = MqttConfig(broker=broker.url, topics=("site/#",))
        source = running(config)
        source.source.close()
        publish(broker, "site/a", numbers(20))
        broker.stop()
        broker.start()
        after = running(config, source.sink)
        after.until(lambda: len(after.sink.events) == 20, "what came meanwhile")
        assert after.sink.payloads() == numbers(20)


@pytest.mark.long
def test_no_more_than_max_unacked_are_under_way(broker: Mosquitto, config: MqttConfig) -> None:
    narrow = MqttConfig(broker=config.broker, topics=config.topics, protocol=config.protocol, max_unacked=5)
    source = running(narrow)
    source.commits = False
    publish(broker, "site/a", numbers(50))
    source.until(lambda: source.counter("good") >= 5, "the first messages")
    source.for_a_while()
    assert source.counter("good") == 5
    if config.protocol == "5":
        # Receive Maximum. Under 3.1.1 the broker goes on as far as the socket takes it, and we do not read.
        assert broker.log.count("Sending PUBLISH to edge-pump-7-field") == 5
    source.commits = True
    source.until(lambda: len(source.sink.events) == 50, "all of them")
    assert source.sink.payloads() == numbers(50)


def test_properties_of_mqtt_5_become_headers_and_content_type(broker: Mosquitto) -> None:
    source = running(MqttConfig(broker=broker.url, topics=("site/#",), protocol="5"))
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ContentType = "application/json"
    properties.ResponseTopic = "answers/1"
    properties.CorrelationData = b"\x00\x01"
    properties.UserProperty = [("unit", "bar"), ("unit", "psi")]
    publish(broker, "site/a", [b"{}"], properties=properties)
    source.until(lambda: len(source.sink.events) == 1, "the event")
    (event,) = source.sink.events
    assert event.content_type == "application/json"
    assert event.headers == (
        ("mqtt.topic", b"site/a"),
        ("mqtt.response_topic", b"answers/1"),
        ("mqtt.correlation_data", b"\x00\x01"),
        ("mqtt.user.unit", b"bar"),
        ("mqtt.user.unit", b"psi"),
    )
