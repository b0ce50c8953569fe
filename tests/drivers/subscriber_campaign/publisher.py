"""`python -m tests.drivers.subscriber_campaign.publisher PORT JOURNAL WHO RATE_PER_S`: a device, until it is killed.

It publishes at QoS 1 on two topics in turn: readings that are numbered, and readings that are all equal. The journal says
what was sent and what the broker answered for, so that the next process goes on with the next number, after it has repeated
what had no answer, with DUP set, as a device does. SIGTERM: it waits for its answers and ends with 0.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from edge.demo.mqtt import PUBACK, PacketReader, packet
from edge.demo.numbering import stamp

EQUAL_TOPIC = "site/equal"
EQUAL = b"12.7"
TICK_S = 0.03
RETRY_S = 0.1
MOST_OPEN = 1_000
FINISHED_WITHIN_S = 60.0


def reading(who: str, number: int) -> tuple[str, bytes]:
    """Topic and payload of what `who` sends as its `number`."""
    return (EQUAL_TOPIC, EQUAL) if number % 2 else (f"site/{who}", stamp(who, number))


def connect(port: int, client_id: str) -> socket.socket:
    """A clean session at the broker on loopback `port`. Raises OSError."""
    connection = socket.create_connection(("127.0.0.1", port), 5.0)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    name = client_id.encode()
    connection.sendall(packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack(">H", len(name)) + name))
    if connection.recv(4) != b"\x20\x02\x00\x00":
        connection.close()
        raise ConnectionError(f"the broker does not let {client_id} in")
    return connection


def publish_packet(packet_id: int, topic: str, payload: bytes, *, dup: bool = False) -> bytes:
    """A PUBLISH at QoS 1 (MQTT 3.1.1, 3.3)."""
    words = topic.encode()
    body = struct.pack(">H", len(words)) + words + struct.pack(">H", packet_id) + payload
    return packet(0x3A if dup else 0x32, body)


class Journal:
    """What was sent and what was answered, one line each, in the file at `path`."""

    def __init__(self, path: Path) -> None:
        self.sent, self.answered = read_journal(path)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note_sent(self, numbers: Iterable[int]) -> None:
        """Before they are sent."""
        self._note("s", self.sent, numbers)

    def note_answered(self, numbers: Iterable[int]) -> None:
        self._note("a", self.answered, numbers)

    def _note(self, what: str, known: set[int], numbers: Iterable[int]) -> None:
        numbers = list(numbers)
        known.update(numbers)
        os.write(self._file, "".join(f"{what} {number}\n" for number in numbers).encode())


def read_journal(path: Path) -> tuple[set[int], set[int]]:
    """Numbers sent, and those that the broker answered for. A line torn by a kill does not count."""
    sent: set[int] = set()
    answered: set[int] = set()
    if path.exists():
        for line in path.read_text(encoding="ascii").split("\n")[:-1]:
            what, _, number = line.partition(" ")
            (sent if what == "s" else answered).add(int(number))
    return sent, answered


class Publisher:
    def __init__(self, port: int, journal: Journal, who: str, rate_per_s: float) -> None:
        self._port = port
        self._journal = journal
        self._who = who
        self._rate_per_s = rate_per_s
        self._next = max(journal.sent, default=-1) + 1
        self._repeat = sorted(journal.sent - journal.answered)
        self._open: dict[int, int] = {}
        self._packet_id = 0
        self.stopping = False

    def run(self) -> bool:
        """Until it is told to stop. True where everything was answered for."""
        deadline_s: float | None = None
        while deadline_s is None or (time.monotonic() < deadline_s and self._journal.sent != self._journal.answered):
            with suppress(OSError):
                self._converse()
            self._repeat = sorted(self._journal.sent - self._journal.answered)
            if self.stopping and deadline_s is None:
                deadline_s = time.monotonic() + FINISHED_WITHIN_S
            time.sleep(RETRY_S)
        return self._journal.sent == self._journal.answered

    def _converse(self) -> None:
        """One connection. Raises OSError when it ends before its time."""
        self._open.clear()
        reader = PacketReader()
        with connect(self._port, f"device-{self._who}") as connection:
            connection.sendall(b"".join(self._publish(number, dup=True) for number in self._repeat))
            connection.settimeout(TICK_S)
            since_s = time.monotonic()
            while not self.stopping or self._open:
                now_s = time.monotonic()
                count = min(int((now_s - since_s) * self._rate_per_s), MOST_OPEN - len(self._open))
                if count > 0 and not self.stopping:
                    since_s = now_s
                    numbers = range(self._next, self._next + count)
                    self._next += count
                    self._journal.note_sent(numbers)
                    connection.sendall(b"".join(self._publish(number, dup=False) for number in numbers))
                with suppress(TimeoutError):
                    data = connection.recv(1 << 16)
                    if not data:
                        raise ConnectionError("the broker closed the connection")
                    answers = [
                        struct.unpack(">H", body[:2])[0] for head, body in reader.feed(data) if head >> 4 == PUBACK
                    ]
                    self._journal.note_answered(self._open.pop(packet_id) for packet_id in answers)
            connection.sendall(b"\xe0\x00")

    def _publish(self, number: int, *, dup: bool) -> bytes:
        self._packet_id = self._packet_id % 65_535 + 1
        self._open[self._packet_id] = number
        topic, payload = reading(self._who, number)
        return publish_packet(self._packet_id, topic, payload, dup=dup)


def main() -> int:
    port, journal, who, rate_per_s = sys.argv[1:]
    publisher = Publisher(int(port), Journal(Path(journal)), who, float(rate_per_s))

    def stop(*_: object) -> None:
        publisher.stopping = True

    signal.signal(signal.SIGTERM, stop)
    return 0 if publisher.run() else 1


if __name__ == "__main__":
    sys.exit(main())
