"""`python -m tests.drivers.listener.fuzz [--seconds S] [--seed N]`: a running gateway hears what no client should say.

The gateway has two doors: one that is open, and one with TLS, passwords and topics that a user may publish on. At each a
well-behaved client publishes at QoS 1 all the time, beside the connections that the fuzzer makes. At the end, and every
second: the gateway runs, no source was restarted, neither client was disconnected, and each of their messages was
acknowledged and is stored, once and in order. Whatever the gateway answers has to be packets of MQTT that a server may
send. A finding is printed as the bytes that were sent on the last connections, each chunk apart, and the seed.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from drivers.listener.passwords import set_password
from edge.demo.mqtt import PacketReader, packet
from edge.demo.nodes import NodeError, NodeProcess
from edge.errors import EdgeError
from tests.bench.figures import memory_bytes
from tests.drivers.listener.mutations import mutated, seeds
from tests.servers.process import free_port

SHOWN_CONNECTIONS = 5
SHOWN_CHARACTERS = 2_000
LOOK_EVERY_S = 1.0
ANSWERED_WITHIN_S = 20.0
QUIET_S = 0.003
"""A fuzzed connection that hears nothing for so long is left."""
MAX_MEMORY_BYTES = 1 << 30
WINDOW = 20
GOOD_TOPIC = "good/client"
FROM_A_SERVER = {0x20, 0x40, 0x50, 0x70, 0x90, 0xB0, 0xD0, 0xE0, 0xF0}
"""First bytes of CONNACK, PUBACK, PUBREC, PUBCOMP, SUBACK, UNSUBACK, PINGRESP, and of MQTT 5 DISCONNECT and AUTH."""

GATEWAY = """
[node]
name = "fuzzed"
data_dir = "{folder}"
socket = "{folder}/edge.sock"

[[source]]
name = "open"
driver = "mqtt-listener"
listen = "127.0.0.1:{open}"
stream = "devices/{{0}}"
key = "{{topic}}"

[[source]]
name = "guarded"
driver = "mqtt-listener"
listen = "127.0.0.1:{guarded}"
certificate = "{tls}/hub.pem"
certificate_key = "{tls}/hub.key"
passwords = "{folder}/passwords"
allow = {{ good = ["good/#"], user = ["site/#"] }}
stream = "guarded/{{0}}"
key = "{{topic}}"
"""
TLS = Path(__file__).parents[2] / "sync" / "tls"
USERS = {"good": b"behaved", "user": b"secret"}
"""The second is in the seeds."""


class FindingError(Exception):
    """The gateway did what it must not."""


@dataclass(frozen=True, slots=True)
class Door:
    """A way in."""

    name: str
    port: int
    stream: str
    """Where messages on `good/client` go."""
    tls: ssl.SSLContext | None = None

    def connect(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), ANSWERED_WITHIN_S)
        return plain if self.tls is None else self.tls.wrap_socket(plain, server_hostname="127.0.0.1")


class GoodClient(threading.Thread):
    """Publishes numbers at QoS 1, some hundred a second, and minds its own business."""

    def __init__(self, door: Door) -> None:
        super().__init__(daemon=True)
        self.door = door
        self._enough = threading.Event()
        self.sent = self.answered = 0
        self.answered_at_s = time.monotonic()
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._publish()
        except (OSError, FindingError) as error:
            self.error = error

    def finish(self) -> None:
        """Returns when all is answered, or nothing came for long."""
        self._enough.set()
        self.join(2 * ANSWERED_WITHIN_S)

    def _publish(self) -> None:
        with self.door.connect() as connection:
            texts = (b"good", b"good", USERS["good"])
            named = b"".join(struct.pack(">H", len(text)) + text for text in texts)
            connection.sendall(packet(0x10, b"\x00\x04MQTT\x04\xc2\x00\x3c" + named))
            if _exactly(connection, 4) != b"\x20\x02\x00\x00":
                raise FindingError("the well-behaved client was not let in")
            topic = struct.pack(">H", len(GOOD_TOPIC)) + GOOD_TOPIC.encode()
            while not self._enough.is_set():
                for _ in range(WINDOW):
                    self.sent += 1
                    numbered = struct.pack(">H", (self.sent - 1) % 65_535 + 1) + b"%d" % self.sent
                    connection.sendall(packet(0x32, topic + numbered))
                for number in range(self.sent - WINDOW, self.sent):
                    answer = _exactly(connection, 4)
                    if answer != b"\x40\x02" + struct.pack(">H", number % 65_535 + 1):
                        raise FindingError(f"message {number + 1} was answered with {answer.hex(' ')}")
                    self.answered += 1
                self.answered_at_s = time.monotonic()
                self._enough.wait(0.05)


class Fuzzer:
    """Makes one connection after another, each from its own number."""

    def __init__(self, node: NodeProcess, doors: Sequence[Door], seed: int) -> None:
        self._node = node
        self._doors = doors
        self._seed = seed
        self._corpus = seeds()
        self._last: deque[str] = deque(maxlen=SHOWN_CONNECTIONS)
        self._deaf: deque[socket.socket] = deque(maxlen=20)
        """Kept open, never read."""
        self.rounds = 0
        self.answers = 0

    def run(self, seconds: float) -> str:
        """What was done, where nothing was found. Raises FindingError."""
        good = [GoodClient(door) for door in self._doors]
        for client in good:
            client.start()
        begun_s = looked_s = time.monotonic()
        while time.monotonic() - begun_s < seconds:
            self._round()
            if time.monotonic() - looked_s > LOOK_EVERY_S:
                self._look(good)
                looked_s = time.monotonic()
        for client in good:
            client.finish()
        self._look(good)
        for client in good:
            self._stored(client)
        return (
            f"{self.rounds} connections, {self.answers} answers to them, {sum(client.answered for client in good)} messages "
            "of well-behaved clients: nothing found"
        )

    def found(self) -> str:
        """The newest connections, for who looks for the cause."""
        return "\n".join([f"seed {self._seed}; the newest connections, the newest last:", *self._last])

    def _round(self) -> None:
        self.rounds += 1
        random = Random(f"{self._seed}:{self.rounds}")
        data = mutated(random, self._corpus)
        chunks = chunked(random, data)
        shown = " | ".join(chunk.hex() for chunk in chunks)
        door = random.choice(self._doors) if random.random() < 0.2 else self._doors[0]
        spoken = door if random.random() < 0.5 else replace(door, tls=None)
        said = "TLS" if spoken.tls else "plain"
        self._last.append(
            f"{self.rounds}, {door.name}, {said}: {shown[:SHOWN_CHARACTERS]}{' …' if len(shown) > SHOWN_CHARACTERS else ''}"
        )
        connection = spoken.connect()
        if random.random() < 0.02:
            with suppress(OSError):
                connection.settimeout(0.01)
                connection.sendall(data)
            self._deaf.append(connection)
            return
        with connection, suppress(OSError):  # it may be closed at any moment
            for chunk in chunks:
                connection.sendall(chunk)
                if random.random() < 0.2:
                    self._hear(connection, spoken == door)
            if random.random() < 0.2:
                # A reset in place of an end.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            if random.random() < 0.2 and spoken.tls is None:
                connection.shutdown(socket.SHUT_WR)
            self._hear(connection, spoken == door)

    def _hear(self, connection: socket.socket, mqtt: bool) -> None:
        """What comes has to be packets that a server may send; an alert of TLS, where it was not `mqtt` that we spoke."""
        connection.settimeout(QUIET_S)
        heard = b""
        with suppress(OSError):
            while data := connection.recv(1 << 16):
                heard += data
        connection.settimeout(ANSWERED_WITHIN_S)
        for first, _ in PacketReader().feed(heard if mqtt else b""):
            self.answers += 1
            if first not in FROM_A_SERVER:
                raise FindingError(f"a server does not send this: {heard.hex(' ')[:SHOWN_CHARACTERS]}")

    def _look(self, good: Sequence[GoodClient]) -> None:
        if not self._node.alive:
            raise FindingError(f"the gateway is gone: {self._node.log_end()}")
        for client in good:
            if client.error is not None:
                raise FindingError(f"the well-behaved client at {client.door.name}: {client.error}")
            if client.is_alive() and time.monotonic() - client.answered_at_s > ANSWERED_WITHIN_S:
                raise FindingError(f"no answer at {client.door.name} for {ANSWERED_WITHIN_S:.0f} s")
        try:
            sources = self._node.client.sources()
        except EdgeError as error:
            raise FindingError(f"the gateway does not answer: {error}") from error
        for source in sources:
            if source.restarts:
                raise FindingError(f"source {source.name} failed: {source.detail}")
        assert self._node.pid is not None
        if (resident := memory_bytes(self._node.pid, "VmRSS")) > MAX_MEMORY_BYTES:
            raise FindingError(f"the gateway takes {resident >> 20} MiB")

    def _stored(self, client: GoodClient) -> None:
        events = self._node.client.read(client.door.stream, start="head", follow=False)
        stored = [event.payload for event in events if event.routing_key == GOOD_TOPIC]
        expected = [b"%d" % number for number in range(1, client.sent + 1)]
        if stored != expected:
            wrong = next((at for at, pair in enumerate(zip(stored, expected, strict=False)) if pair[0] != pair[1]), -1)
            raise FindingError(
                f"at {client.door.name} {client.answered} of {client.sent} messages acknowledged, {len(stored)} stored; the "
                f"first that differs: {wrong}"
            )


def chunked(random: Random, data: bytes) -> list[bytes]:
    """As the network might hand it over."""
    if len(data) < 2 or random.random() < 0.5:
        return [data]
    if len(data) < 200 and random.random() < 0.1:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(random.sample(range(1, len(data)), min(random.choice((1, 2, 5)), len(data) - 1)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        came = connection.recv(count - len(data))
        if not came:
            raise FindingError("the well-behaved client was disconnected")
        data += came
    return data


def campaign(folder: Path, seconds: float, seed: int) -> str:
    """A gateway in `folder`, fuzzed. What was done. Raises FindingError with all that is needed to repeat it."""
    doors = (
        Door("open", free_port(), "devices/good"),
        Door("guarded", free_port(), "guarded/good", ssl.create_default_context(cafile=TLS / "ca.pem")),
    )
    ports = {door.name: door.port for door in doors}
    node = NodeProcess(folder, GATEWAY.format(folder=folder, tls=TLS, **ports))
    for name, password in USERS.items():
        set_password(folder / "passwords", name, password)
    node.start()
    try:
        node.ready()
        fuzzer = Fuzzer(node, doors, seed)
        try:
            return fuzzer.run(seconds)
        except (FindingError, OSError, NodeError) as error:
            raise FindingError(f"{error}\n{fuzzer.found()}\n{node.log_end()}") from error
    finally:
        node.kill()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drivers.listener.fuzz")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edge-fuzz-") as folder:
        try:
            print(campaign(Path(folder), given.seconds, given.seed))
        except FindingError as error:
            print(error)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
