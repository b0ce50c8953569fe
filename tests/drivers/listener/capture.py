"""`python -m tests.drivers.listener.capture`: writes seeds.txt, what real clients send, for the fuzzer to begin with.

One line for each connection: its name, and its bytes in hexadecimal. The clients talk to a mosquitto, through a socket
that listens along.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.servers.mosquitto import Mosquitto
from tests.servers.publishers import Command, Publishing, gmqtt, mosquitto_pub

SEEDS = Path(__file__).parent / "seeds.txt"
LINES = b"1\n\n21.5\n" + b"x" * 200 + b"\n"
TIMEOUT_S = 20.0


class Tap:
    """Passes one connection on to `port`, and keeps what the client sends."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.heard = b""
        self._thread = threading.Thread(target=self._pass_on, args=(port,), daemon=True)
        self._thread.start()

    def _pass_on(self, port: int) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        back = threading.Thread(target=self._copy, args=(server, client, lambda data: None), daemon=True)
        back.start()
        self._copy(client, server, self._hear)

    def _hear(self, data: bytes) -> None:
        self.heard += data

    @staticmethod
    def _copy(one: socket.socket, other: socket.socket, hear: Callable[[bytes], None]) -> None:
        with suppress(OSError):  # one of the two has gone
            while data := one.recv(1 << 16):
                hear(data)
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def close(self) -> bytes:
        """All that it heard, once the client has gone."""
        self._thread.join(TIMEOUT_S)
        self._listener.close()
        return self.heard


def program(command: Callable[[Publishing], Command], version: str, qos: int) -> Callable[[int], None]:
    def run(port: int) -> None:
        argv, environment = command(Publishing(port, version, qos, "site/a/telemetry"))
        subprocess.run(argv, env=environment, input=LINES, check=True, timeout=TIMEOUT_S)

    return run


def everything_of_paho(version: str) -> Callable[[int], None]:
    """A will, a user, a kept session, a subscription, every QoS, retained, and under MQTT 5 every property there is."""

    def properties(kind: int, **values: object) -> Properties | None:
        if version != "5":
            return None
        made = Properties(kind)  # type: ignore[no-untyped-call]
        for name, value in values.items():
            setattr(made, name, value)
        return made

    def run(port: int) -> None:
        five = version == "5"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            "pump-7",
            None if five else False,
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
        )
        client.username_pw_set("user", "secret")
        client.will_set(
            "site/a/will",
            b"gone",
            1,
            True,
            properties(PacketTypes.WILLMESSAGE, WillDelayInterval=5, ContentType="text/plain", UserProperty=("a", "b")),
        )
        connected, subscribed = threading.Event(), threading.Event()
        client.on_connect = lambda *_: connected.set()
        client.on_subscribe = lambda *_: subscribed.set()
        asked = properties(
            PacketTypes.CONNECT,
            SessionExpiryInterval=60,
            ReceiveMaximum=10,
            MaximumPacketSize=4096,
            TopicAliasMaximum=5,
        )
        if five:
            client.connect("127.0.0.1", port, clean_start=False, properties=asked)
        else:
            client.connect("127.0.0.1", port)
        client.loop_start()
        assert connected.wait(TIMEOUT_S)
        client.subscribe("site/#", 1)
        assert subscribed.wait(TIMEOUT_S)
        described = {
            "PayloadFormatIndicator": 1,
            "MessageExpiryInterval": 60,
            "ContentType": "text/plain",
            "ResponseTopic": "answers/here",
            "CorrelationData": b"\x00\x01",
            "UserProperty": [("unit", "m3/h"), ("unit", "ä")],
        }
        for qos in (0, 1, 2):
            sent = client.publish(
                "site/ä/telemetry", b"12.7", qos, True, properties(PacketTypes.PUBLISH, TopicAlias=1, **described)
            )
            sent.wait_for_publish(TIMEOUT_S)
        if five:
            # By its alias alone.
            client.publish("", b"12.8", 1, False, properties(PacketTypes.PUBLISH, TopicAlias=1)).wait_for_publish(
                TIMEOUT_S
            )
        client.unsubscribe("site/#")
        client.disconnect()
        client.loop_stop()

    return run


def clients() -> Iterator[tuple[str, Callable[[int], None]]]:
    for version in ("3.1.1", "5"):
        yield f"paho-{version}", everything_of_paho(version)
        for qos in (0, 1, 2):
            yield f"mosquitto_pub-{version}-{qos}", program(mosquitto_pub, version, qos)
            yield f"gmqtt-{version}-{qos}", program(gmqtt, version, qos)


def main() -> None:
    lines = []
    with tempfile.TemporaryDirectory() as folder, Mosquitto(Path(folder)) as broker:
        for name, run in clients():
            tap = Tap(broker.port)
            run(tap.port)
            lines.append(f"{name} {tap.close().hex()}")
    SEEDS.write_text("\n".join([*lines, ""]), encoding="ascii")
    print(f"{len(lines)} connections in {SEEDS}")


if __name__ == "__main__":
    main()
