"""`python -m tests.drivers.listener.fuzz [--seconds S] [--seed N]`: a running gateway hears what no client should say.

Beside the connections that the fuzzer makes, one well-behaved client publishes at QoS 1 all the time. At the end, and every
second: the gateway runs, its source was never restarted, the client was never disconnected, and each of its messages was
acknowledged and is stored, once and in order. Whatever the gateway answers has to be packets of MQTT that a server may
send. A finding is printed as the bytes that were sent on the last connections, each chunk apart, and the seed.
"""

from __future__ import annotations

import argparse
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from random import Random

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
FROM_A_SERVER = {0x20, 0x40, 0x50, 0x70, 0x90, 0xB0, 0xD0, 0xE0, 0xF0}
"""First bytes of CONNACK, PUBACK, PUBREC, PUBCOMP, SUBACK, UNSUBACK, PINGRESP, and of MQTT 5 DISCONNECT and AUTH."""

GATEWAY = """
[node]
name = "fuzzed"
data_dir = "{folder}"
socket = "{folder}/edge.sock"

[[source]]
name = "local"
driver = "mqtt-listener"
listen = "127.0.0.1:{port}"
stream = "devices/{{0}}"
key = "{{topic}}"
"""


class FindingError(Exception):
    """The gateway did what it must not."""


class GoodClient(threading.Thread):
    """Publishes numbers at QoS 1, some hundred a second, and minds its own business."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
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
        with socket.create_connection(("127.0.0.1", self._port), ANSWERED_WITHIN_S) as connection:
            connection.sendall(packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x04good"))
            if connection.recv(4) != b"\x20\x02\x00\x00":
                raise FindingError("the well-behaved client was not let in")
            topic = struct.pack(">H", len("good/client")) + b"good/client"
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

    def __init__(self, node: NodeProcess, port: int, seed: int) -> None:
        self._node = node
        self._port = port
        self._seed = seed
        self._corpus = seeds()
        self._last: deque[str] = deque(maxlen=SHOWN_CONNECTIONS)
        self._deaf: deque[socket.socket] = deque(maxlen=20)
        """Kept open, never read."""
        self.rounds = 0
        self.answers = 0

    def run(self, seconds: float) -> str:
        """What was done, where nothing was found. Raises FindingError."""
        good = GoodClient(self._port)
        good.start()
        begun_s = looked_s = time.monotonic()
        while time.monotonic() - begun_s < seconds:
            self._round()
            if time.monotonic() - looked_s > LOOK_EVERY_S:
                self._look(good)
                looked_s = time.monotonic()
        good.finish()
        self._look(good)
        self._stored(good.sent)
        return (
            f"{self.rounds} connections, {self.answers} answers to them, {good.answered} messages of the well-behaved "
            "client: nothing found"
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
        self._last.append(f"{self.rounds}: {shown[:SHOWN_CHARACTERS]}{' …' if len(shown) > SHOWN_CHARACTERS else ''}")
        connection = socket.create_connection(("127.0.0.1", self._port), ANSWERED_WITHIN_S)
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
                    self._read(connection, QUIET_S)
            if random.random() < 0.2:
                # A reset in place of an end.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            if random.random() < 0.2:
                connection.shutdown(socket.SHUT_WR)
            self._read(connection, QUIET_S)

    def _read(self, connection: socket.socket, quiet_s: float) -> None:
        """What comes has to be packets that a server may send."""
        connection.settimeout(quiet_s)
        heard = b""
        with suppress(OSError):
            while data := connection.recv(1 << 16):
                heard += data
        connection.settimeout(ANSWERED_WITHIN_S)
        for first, _ in PacketReader().feed(heard):
            self.answers += 1
            if first not in FROM_A_SERVER:
                raise FindingError(f"a server does not send this: {heard.hex(' ')[:SHOWN_CHARACTERS]}")

    def _look(self, good: GoodClient) -> None:
        if not self._node.alive:
            raise FindingError(f"the gateway is gone: {self._node.log_end()}")
        if good.error is not None:
            raise FindingError(f"the well-behaved client: {good.error}")
        if good.is_alive() and time.monotonic() - good.answered_at_s > ANSWERED_WITHIN_S:
            raise FindingError(f"the well-behaved client has had no answer for {ANSWERED_WITHIN_S:.0f} s")
        try:
            status = next(source for source in self._node.client.sources() if source.name == "local")
        except EdgeError as error:
            raise FindingError(f"the gateway does not answer: {error}") from error
        if status.restarts:
            raise FindingError(f"the source failed: {status.detail}\n{self._node.log_end()}")
        assert self._node.pid is not None
        if (resident := memory_bytes(self._node.pid, "VmRSS")) > MAX_MEMORY_BYTES:
            raise FindingError(f"the gateway takes {resident >> 20} MiB")

    def _stored(self, count: int) -> None:
        events = self._node.client.read("devices/good", start="head", follow=False)
        stored = [event.payload for event in events if event.routing_key == "good/client"]
        expected = [b"%d" % number for number in range(1, count + 1)]
        if stored != expected:
            wrong = next((at for at, pair in enumerate(zip(stored, expected, strict=False)) if pair[0] != pair[1]), -1)
            raise FindingError(f"{count} messages acknowledged, {len(stored)} stored; the first that differs: {wrong}")


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
    port = free_port()
    node = NodeProcess(folder, GATEWAY.format(folder=folder, port=port))
    node.start()
    try:
        node.ready()
        fuzzer = Fuzzer(node, port, seed)
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
