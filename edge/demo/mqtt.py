"""As much of MQTT 3.1.1 as a device needs that publishes at QoS 1, counts for itself, and comes back after a break."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator

from edge.demo.feed import Feed
from edge.demo.numbering import stamp

CONNACK, PUBLISH, PUBACK = 2, 3, 4
WINDOW = 50
"""Messages that a device has under way."""
RETRY_S = 0.1
TIMEOUT_S = 10.0


def packet(head: int, body: bytes) -> bytes:
    """A control packet (MQTT 3.1.1, section 2.2)."""
    length = bytearray()
    left = len(body)
    while True:
        left, digit = divmod(left, 128)
        length.append(digit | (0x80 if left else 0))
        if not left:
            return bytes([head]) + bytes(length) + body


def text(content: str) -> bytes:
    """Text behind its length."""
    return struct.pack(">H", len(content.encode())) + content.encode()


class PacketReader:
    """Cuts a stream of bytes into control packets."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """First byte and body of each packet that `data` completes."""
        self._buffer += data
        while (end := self._end()) is not None:
            start, stop = end
            head, body = self._buffer[0], bytes(self._buffer[start:stop])
            del self._buffer[:stop]
            yield head, body

    def _end(self) -> tuple[int, int] | None:
        length = 0
        for place in range(1, min(len(self._buffer), 5)):
            length |= (self._buffer[place] & 0x7F) << 7 * (place - 1)
            if not self._buffer[place] & 0x80:
                stop = place + 1 + length
                return (place + 1, stop) if len(self._buffer) >= stop else None
        return None


class Device(Feed):
    """Publishes numbered messages on one topic at QoS 1, in a session that is kept: what was not answered when the
    connection broke is sent again, marked so, before anything new.

    `told` holds the numbers whose PUBACK has come.
    """

    def __init__(self, who: str, topic: str, port: int, rate_per_s: float) -> None:
        super().__init__(who)
        self._topic = text(topic)
        self._port = port
        self._rate_per_s = rate_per_s
        self._lock = threading.Lock()
        self._told: set[int] = set()
        self._unanswered: dict[int, int] = {}
        self.repeated = 0
        """Messages sent again."""

    def told(self) -> set[int]:
        with self._lock:
            return set(self._told)

    def run(self) -> None:
        began_s = time.monotonic()
        ending_s: float | None = None
        while self._unanswered or not self.stopping.is_set():
            if self.stopping.is_set():
                ending_s = ending_s or time.monotonic() + TIMEOUT_S
                if time.monotonic() > ending_s:
                    raise TimeoutError(f"{len(self._unanswered)} messages of {self.name} were not answered")
            try:
                with self._connect() as connection:
                    self._talk(connection, began_s)
            except OSError:
                # The gateway is away, or was killed.
                time.sleep(RETRY_S)

    def _talk(self, connection: socket.socket, began_s: float) -> None:
        """Send and hear, until it is told to stop and everything is answered, or the connection breaks."""
        reader = PacketReader()
        connection.sendall(b"".join(self._message(*pair, again=True) for pair in self._unanswered.items()))
        self.repeated += len(self._unanswered)
        silent_s = time.monotonic()
        while self._unanswered or not self.stopping.is_set():
            now_s = time.monotonic()
            due = int((now_s - began_s) * self._rate_per_s) + 1
            count = 0 if self.stopping.is_set() else min(due - self.sent, WINDOW - len(self._unanswered))
            if count > 0:
                connection.sendall(b"".join(self._next() for _ in range(count)))
            if self._take_answers(connection, reader) or not self._unanswered:
                silent_s = now_s
            elif now_s - silent_s > TIMEOUT_S:
                raise OSError("no answer")
        connection.sendall(b"\xe0\x00")

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), TIMEOUT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(packet(0x10, text("MQTT") + b"\x04\x00\x00\x00" + text(f"device-{self.name}")))
        answer = connection.recv(4)
        if len(answer) != 4 or answer[3]:
            connection.close()
            raise ConnectionError(f"the gateway at port {self._port} does not let device {self.name} in: {answer!r}")
        return connection

    def _next(self) -> bytes:
        packet_id = self.sent % 65535 + 1
        self._unanswered[packet_id] = self.sent
        self.sent += 1
        return self._message(packet_id, self.sent - 1, again=False)

    def _message(self, packet_id: int, number: int, *, again: bool) -> bytes:
        body = self._topic + struct.pack(">H", packet_id) + stamp(self.name, number)
        return packet(0x3A if again else 0x32, body)

    def _take_answers(self, connection: socket.socket, reader: PacketReader) -> bool:
        connection.settimeout(0.02)
        try:
            data = connection.recv(1 << 16)
        except TimeoutError:
            return False
        finally:
            connection.settimeout(TIMEOUT_S)
        if not data:
            raise ConnectionError("the gateway closed the connection")
        for head, body in reader.feed(data):
            if head >> 4 == PUBACK:
                number = self._unanswered.pop(struct.unpack(">H", body)[0])
                with self._lock:
                    self._told.add(number)
        return True
