"""A listener under test, stepped by the test, and clients of it: paho's, and one that speaks bytes."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from drivers.contract import Driver, SourceSettings
from drivers.fake import RecordingSink
from drivers.listener import ListenerConfig, ListenerDriver
from drivers.status import SourceState
from storage.clock import Clock
from storage.trace import Trace, no_trace
from tests.drivers.listener.wire import ACCEPTED, connect
from tests.drivers.running import Running

SETTINGS = SourceSettings(name="local", driver="mqtt-listener", stream="devices/{0}", key="{topic}", node="pump-7")


class Listening(Running):
    """A source with the listener as its driver, at a port of its own."""

    def __init__(
        self,
        config: ListenerConfig,
        sink: RecordingSink | None = None,
        *,
        clock: Clock | None = None,
        trace: Trace = no_trace,
    ) -> None:
        def make(settings: SourceSettings, clock: Clock) -> Driver:
            return ListenerDriver(config, settings, clock)

        super().__init__(make, SETTINGS, sink, clock=clock, trace=trace)
        self.until(lambda: self.source.state is SourceState.RUNNING, "the listener")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.source.close()

    @property
    def driver(self) -> ListenerDriver:
        driver = self.source._driver
        assert isinstance(driver, ListenerDriver)
        return driver

    @property
    def port(self) -> int:
        return self.driver.address[1]


class Raw:
    """A client that speaks bytes, while the test steps the listener."""

    def __init__(self, listening: Listening, *, receive_bytes: int = 0) -> None:
        self._listening = listening
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect(("127.0.0.1", listening.port))
        self.socket.setblocking(False)
        self.got = b""
        self.closed = False

    def send(self, data: bytes) -> None:
        self.socket.setblocking(True)
        self.socket.sendall(data)
        self.socket.setblocking(False)

    def send_some(self, data: bytes) -> bytes:
        """As much as the socket takes. The rest."""
        try:
            return data[self.socket.send(data) :]
        except BlockingIOError:
            return data

    def look(self) -> bytes:
        """What has come so far."""
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return self.got
        except ConnectionError:
            data = b""
        self.closed = self.closed or not data
        self.got += data
        return self.got

    def until(self, expected: bytes) -> None:
        """Step the listener until exactly this has come."""
        self._listening.until(
            lambda: len(self.look()) >= len(expected), f"{expected.hex(' ')} (there is {self.got.hex(' ')})"
        )
        assert self.got[: len(expected)] == expected, self.got.hex(" ")
        self.got = self.got[len(expected) :]

    def until_closed(self) -> bytes:
        """Step the listener until it has ended the connection. What came before."""

        def over() -> bool:
            self.look()
            return self.closed

        self._listening.until(over, "the end of the connection")
        return self.got


def joined(
    listening: Listening, client_id: str = "raw", *, flags: int = 2, present: bool = False, behind: bytes = b""
) -> Raw:
    """A client of 3.1.1 that was let in."""
    client = Raw(listening)
    client.send(connect(client_id, flags=flags, behind=behind))
    client.until(b"\x20\x02\x01\0" if present else ACCEPTED)
    return client


def joined_5(listening: Listening, client_id: str = "raw") -> Raw:
    """A client of MQTT 5 that was let in."""
    client = Raw(listening)
    client.send(connect(client_id, version=5))
    listening.until(lambda: len(client.look()) > 4, "the answer")
    client.got = b""
    return client


class Publisher:
    """paho, in a thread of its own."""

    def __init__(
        self, port: int, *, version: str = "3.1.1", client_id: str = "paho", tls: ssl.SSLContext | None = None,
        clean: bool = True, user: tuple[str, str] | None = None,
    ) -> None:  # fmt: skip
        protocol = MQTTProtocolVersion.MQTTv5 if version == "5" else MQTTProtocolVersion.MQTTv311
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, None if version == "5" else clean, protocol=protocol
        )
        if user is not None:
            self.client.username_pw_set(*user)
        if tls is not None:
            self.client.tls_set_context(tls)
        self._port = port

    def start(self) -> None:
        """Begin to connect."""
        self.client.connect_async("127.0.0.1", self._port)
        self.client.loop_start()

    def publish(
        self, topic: str, payloads: Sequence[bytes], qos: int = 1, *, retain: bool = False
    ) -> list[paho.MQTTMessageInfo]:
        return [self.client.publish(topic, payload, qos, retain) for payload in payloads]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
