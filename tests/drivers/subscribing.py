"""An MQTT source under test, what is left of it after a kill, and a publisher."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from drivers.contract import Driver, SourceSettings
from drivers.fake import RecordingSink
from drivers.mqtt import MqttConfig, MqttDriver
from drivers.status import SourceState
from storage.clock import Clock
from tests.drivers.running import Running
from tests.servers.mosquitto import Mosquitto
from tests.waiting import until

CLIENT_ID = "edge-pump-7-field"
SETTINGS = SourceSettings(name="field", driver="mqtt", stream="site/{1}", key="{topic}", node="pump-7")


def running(config: MqttConfig, sink: RecordingSink | None = None) -> Running:
    def make(settings: SourceSettings, clock: Clock) -> Driver:
        return MqttDriver(config, settings, clock)

    source = Running(make, SETTINGS, sink)
    source.until(lambda: source.source.state is SourceState.RUNNING, "the connection")
    source.until(lambda: source.sink.cursor(SETTINGS.cursor_name) is not None, "the subscription in the cursor")
    return source


def killed(source: Running) -> RecordingSink:
    """What is left of the source after a kill: what the store has on disk. The connection just ends."""
    source.sink.lose_power()
    driver = source.source._driver
    assert isinstance(driver, MqttDriver)
    assert driver._connection is not None
    sock = driver._connection._client.socket()
    assert sock is not None
    sock.close()
    return source.sink


@dataclass(frozen=True, kw_only=True)
class Login:
    """How a publisher gets in."""

    user: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None


def publish(
    broker: Mosquitto,
    topic: str,
    payloads: Sequence[bytes],
    *,
    qos: int = 1,
    retain: bool = False,
    properties: Properties | None = None,
    login: Login = Login(),
) -> None:
    """Returns when the broker has acknowledged all of it."""
    version = MQTTProtocolVersion.MQTTv311 if properties is None else MQTTProtocolVersion.MQTTv5
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
    client.max_inflight_messages = 0
    client.username_pw_set(login.user, login.password)
    if login.tls is not None:
        client.tls_set_context(login.tls)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        sent = [client.publish(topic, payload, qos=qos, retain=retain, properties=properties) for payload in payloads]
        for info in sent:
            info.wait_for_publish(timeout=20)
            assert info.is_published()
    finally:
        client.disconnect()
        client.loop_stop()


def forget_subscription(broker: Mosquitto, protocol: str) -> None:
    """Leave the broker with a session of the source, which must be closed, that has no subscription."""
    if protocol == "5":
        client = paho.Client(CallbackAPIVersion.VERSION2, CLIENT_ID, protocol=MQTTProtocolVersion.MQTTv5)
        keep = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        keep.SessionExpiryInterval = 3600
        client.connect("127.0.0.1", broker.port, clean_start=False, properties=keep)
    else:
        client = paho.Client(CallbackAPIVersion.VERSION2, CLIENT_ID, clean_session=False)
        client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.unsubscribe("site/#")
    until(lambda: f"UNSUBSCRIBE from {CLIENT_ID}" in broker.log, "the end of the subscription")
    client.disconnect()
    client.loop_stop()


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]
