"""Around a broker: publishers that count for themselves, and an observer between gateway and broker."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress

from edge.demo.feed import Feed
from edge.demo.mqtt import PUBACK, PUBLISH, TIMEOUT_S, PacketReader, packet, text
from edge.demo.numbering import read_number, stamp

SUBACK = 9
WINDOW = 500
"""Messages that a publisher has under way to the broker."""


class Tap:
    """What the gateway acknowledged to the broker, as seen on the wire between the two.

    A PUBACK that left the gateway counts, whether or not the broker got it: it said that the message is safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: dict[str, set[int]] = {}
        self.subscribed = threading.Event()
        self.redelivered = 0
        """PUBLISH packets marked as sent before."""

    def observe(self) -> TapConnection:
        """For one connection."""
        return TapConnection(self)

    def told(self) -> dict[str, set[int]]:
        with self._lock:
            return {who: set(numbers) for who, numbers in self._told.items()}

    def acknowledged(self, payload: bytes) -> None:
        number = read_number(payload)
        if number is not None:
            with self._lock:
                self._told.setdefault(number[0], set()).add(number[1])


class TapConnection:
    """One connection of the gateway to the broker. A PUBACK answers a PUBLISH of the same connection."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._up, self._down = PacketReader(), PacketReader()
        self._open: dict[int, bytes] = {}

    def upward(self, data: bytes) -> None:
        for head, body in self._up.feed(data):
            if head >> 4 == PUBACK:
                payload = self._open.pop(struct.unpack_from(">H", body)[0], None)
                if payload is not None:
                    self._tap.acknowledged(payload)

    def downward(self, data: bytes) -> None:
        for head, body in self._down.feed(data):
            if head >> 4 == SUBACK:
                self._tap.subscribed.set()
            elif head >> 4 == PUBLISH and head & 0x06:
                topic_end = 2 + struct.unpack_from(">H", body)[0]
                self._tap.redelivered += bool(head & 0x08)
                self._open[struct.unpack_from(">H", body, topic_end)[0]] = body[topic_end + 2 :]


class MqttPublisher(Feed):
    """Publishes numbered messages on one topic at QoS 1. `taken` counts what the broker answered for."""

    def __init__(self, who: str, topic: str, port: int, rate_per_s: float) -> None:
        super().__init__(who)
        self._topic = text(topic)
        self._port = port
        self._rate_per_s = rate_per_s
        self._reader = PacketReader()
        self._packet_id = 0
        self.taken = 0

    def run(self) -> None:
        with self._connect() as connection:
            began_s = time.monotonic()
            while not self.stopping.is_set():
                due = int((time.monotonic() - began_s) * self._rate_per_s) + 1
                count = min(due - self.sent, WINDOW - (self.sent - self.taken))
                if count > 0:
                    connection.sendall(b"".join(self._next() for _ in range(count)))
                self._take_answers(connection, wait_s=0.0)
                self.stopping.wait(0.02)
            deadline_s = time.monotonic() + TIMEOUT_S
            while self.taken < self.sent and time.monotonic() < deadline_s:
                self._take_answers(connection, wait_s=0.1)
            connection.sendall(b"\xe0\x00")

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), TIMEOUT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(packet(0x10, text("MQTT") + b"\x04\x02\x00\x00" + text(f"publisher-{self.name}")))
        answer = connection.recv(4)
        if answer != b"\x20\x02\x00\x00":
            raise ConnectionError(f"the broker at port {self._port} does not let publisher {self.name} in: {answer!r}")
        return connection

    def _next(self) -> bytes:
        self._packet_id = self._packet_id % 65535 + 1
        body = self._topic + struct.pack(">H", self._packet_id) + stamp(self.name, self.sent)
        self.sent += 1
        return packet(0x32, body)

    def _take_answers(self, connection: socket.socket, wait_s: float) -> None:
        connection.settimeout(wait_s or 1e-6)
        with suppress(TimeoutError):
            data = connection.recv(1 << 16)
            if not data:
                raise ConnectionError(f"the broker closed the connection of publisher {self.name}")
            self.taken += sum(head >> 4 == PUBACK for head, _ in self._reader.feed(data))
        connection.settimeout(TIMEOUT_S)
