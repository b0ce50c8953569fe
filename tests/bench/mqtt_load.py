"""`python -m tests.bench.mqtt_load PORT …`: many MQTT 3.1.1 publishers at QoS 1 in one process; prints what it saw as JSON.

It has to be faster than what it measures, so it does nothing per message: the packets of a publisher are made before, in
a ring of consecutive packet ids, what is sent is a slice of it, and PUBACKs are counted by their length (4 bytes each,
MQTT 3.1.1, 3.4). What the latencies need is kept per slice.

Two ways to send. With a window, each publisher sends on as soon as a PUBACK comes: how much the server takes. With a
rate, messages are due by the clock and each latency counts from then, so that a server that hesitates can't hide it.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from random import Random

from edge.demo.mqtt import packet

TIMEOUT_S = 30.0
WARM_UP_S = 0.5
RING_BYTES = 64 << 20
"""Of all publishers together; a ring is 65,535 packets at most and twice the window at least."""
TICK_S = 0.001
READ_BYTES = 1 << 16
FLOOD_BYTES = 1 << 16
"""A flooder writes so much at a time, as often as its socket takes it."""
KEEPALIVE_S = 60
USER, PASSWORD = b"bench", b"a secret of the bench"
"""A server that asks nobody is told them too."""
PUBACK_BYTES = 4
CONNACK_ACCEPTED = b"\x20\x02"
PUBLISH_QOS_1 = 0x32
PINGREQ = b"\xc0\x00"


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent. `per_s` 0: as fast as the window allows; otherwise all publishers together, a window full at a time."""

    publishers: int
    window: int
    size_bytes: int
    duration_s: float = 3.0
    per_s: float = 0.0
    flooders: int = 0
    """More publishers that send without waiting for anything."""
    deaf: int = 0
    """More publishers that flood and never read what comes back."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Acknowledged per second and latencies, of the publishers that are neither flooders nor deaf, after the warm-up."""

    per_s: float
    p50_ms: float
    p99_ms: float
    acknowledged: int
    """All that were, until the last PUBACK came; of flooders too."""
    unanswered: int
    """Still without a PUBACK at the end, of those that read."""


class Publisher:
    """One connection. `times` holds, for each slice sent, its due time and the count of messages it ended at."""

    def __init__(self, connection: socket.socket, number: int, load: Load, random: Random) -> None:
        self.socket = connection
        self.sent = self.acknowledged = self.noted = self._loose_bytes = 0
        self.times: deque[tuple[float, int]] = deque()
        topic = f"site/{number}/telemetry".encode()
        head = struct.pack(">H", len(topic)) + topic
        each = len(packet(PUBLISH_QOS_1, head + bytes(2 + load.size_bytes)))
        of_all = load.publishers + load.flooders + load.deaf
        most = min(65_535, max(RING_BYTES // (each * of_all), 2 * load.window, 128))
        self.ring = most - most % load.window
        self._each = each
        text = random.randbytes((load.size_bytes * self.ring + 1) // 2).hex().encode()
        self._packets = memoryview(
            b"".join(
                packet(
                    PUBLISH_QOS_1,
                    head + struct.pack(">H", index + 1) + text[index * load.size_bytes : (index + 1) * load.size_bytes],
                )
                for index in range(self.ring)
            )
        )
        self._unsent = memoryview(b"")

    def send(self, count: int, due_s: float) -> bool:
        """Send `count` more, up to the end of the ring. False where the socket did not take all: `flush` then."""
        start = self.sent % self.ring
        count = min(count, self.ring - start)
        self.sent += count
        self.times.append((due_s, self.sent))
        self._unsent = self._packets[start * self._each : (start + count) * self._each]
        return self.flush()

    def flush(self) -> bool:
        """True when nothing is left to write."""
        while self._unsent:
            try:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
            except BlockingIOError:
                return False
        return True

    @property
    def writing(self) -> bool:
        return bool(self._unsent)

    def read(self) -> None:
        """Count the PUBACKs that came. Raises ConnectionError where the server closed."""
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise ConnectionError(f"the server closed a connection after {self.acknowledged} of {self.sent} messages")
        came, self._loose_bytes = divmod(len(data) + self._loose_bytes, PUBACK_BYTES)
        self.acknowledged += came


def connect(address: tuple[str, int], count: int) -> list[socket.socket]:
    """So many clean sessions, none waiting for another. Raises ConnectionError where one is refused, or takes too long."""
    poll = select.epoll()
    made = {}
    for _ in range(count):
        one = socket.socket()
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.setblocking(False)
        one.connect_ex(address)
        poll.register(one.fileno(), select.EPOLLOUT)
        made[one.fileno()] = one
    waiting, until_s = count, time.perf_counter() + TIMEOUT_S
    while waiting:
        if time.perf_counter() > until_s:
            raise ConnectionError(f"{waiting} of {count} clients were not answered within {TIMEOUT_S:.0f} s")
        for number, events in poll.poll(0.1):
            if events & select.EPOLLIN:
                check_answer(made[number].recv(4))
                poll.unregister(number)
                waiting -= 1
            else:
                made[number].send(connect_packet(f"load-{os.getpid()}-{number}"))
                poll.modify(number, select.EPOLLIN)
    return list(made.values())


def connect_packet(name: str) -> bytes:
    """A CONNECT for a clean session (MQTT 3.1.1, 3.1)."""
    texts = (name.encode(), USER, PASSWORD)
    head = b"\x00\x04MQTT\x04\xc2" + struct.pack(">H", KEEPALIVE_S)
    return packet(0x10, head + b"".join(struct.pack(">H", len(text)) + text for text in texts))


def check_answer(answer: bytes) -> None:
    if answer[:2] != CONNACK_ACCEPTED or answer[3:] != b"\x00":
        raise ConnectionError(f"no connection was granted: {answer.hex(' ') or 'the server closed it'}")


class Generator:
    """Publishers in one epoll loop."""

    def __init__(self, address: tuple[str, int], load: Load) -> None:
        self._load = load
        random = Random(1)
        measured, flooders = load.publishers, load.publishers + load.flooders
        connections = connect(address, flooders + load.deaf)
        made = [Publisher(connection, number, load, random) for number, connection in enumerate(connections)]
        self._deaf = set(made[flooders:])
        self._measured = made[:measured]
        self._floods = made[measured:]
        self._reading = made[:flooders]
        self._poll = select.epoll()
        self._of = {one.socket.fileno(): one for one in made}
        self._timed = {one.socket.fileno() for one in self._measured}
        for one in made:
            self._poll.register(one.socket.fileno(), self._reads(one))
        self._latencies: list[tuple[float, int]] = []
        self._counts_from_s = 0.0

    def run(self) -> Seen:
        """Send for the warm-up and `duration_s`, then wait for what is unanswered."""
        begun_s = time.perf_counter()
        self._counts_from_s = begun_s + WARM_UP_S
        end_s = self._counts_from_s + self._load.duration_s
        if self._load.per_s:
            self._paced(begun_s, end_s)
        else:
            for publisher in self._measured:
                self._fill(publisher, begun_s)
            while time.perf_counter() < end_s:
                self._turn(0.1, refill=True)
        counted = sum(count for _, count in self._latencies)
        measured_s = time.perf_counter() - self._counts_from_s
        until_s = time.perf_counter() + TIMEOUT_S
        while self._unanswered() and time.perf_counter() < until_s:
            self._turn(0.1, refill=False)
        self._latencies.sort()
        return Seen(
            counted / measured_s,
            self._percentile_ms(0.5),
            self._percentile_ms(0.99),
            sum(one.acknowledged for one in self._reading),
            self._unanswered(),
        )

    def _paced(self, begun_s: float, end_s: float) -> None:
        """Publisher after publisher sends a window full, when so much is due."""
        per_s, window = self._load.per_s, self._load.window
        given = turn = 0
        while (now_s := time.perf_counter()) < end_s:
            for _ in range(int(((now_s - begun_s) * per_s - given) / window)):
                publisher = self._measured[turn % len(self._measured)]
                turn += 1
                if publisher.writing or publisher.sent - publisher.acknowledged + window > publisher.ring:
                    continue  # the next has its turn, and what is due stays due
                if not publisher.send(window, begun_s + given / per_s):
                    self._watch_writing(publisher)
                given += window
            self._flood()
            self._turn(TICK_S, refill=False)

    def _flood(self) -> None:
        count = max(1, FLOOD_BYTES // self._load.size_bytes)
        for one in self._floods:
            one.times.clear()
            room = one in self._deaf or one.sent + count - one.acknowledged <= one.ring
            if room and not one.writing and not one.send(count, 0.0):
                self._watch_writing(one)

    def _turn(self, timeout_s: float, *, refill: bool) -> None:
        """What is to be read and written now."""
        for number, events in self._poll.poll(timeout_s):
            publisher = self._of[number]
            if events & select.EPOLLOUT and publisher.flush():
                self._poll.modify(number, self._reads(publisher))
            if publisher in self._deaf and events & (select.EPOLLHUP | select.EPOLLERR):
                self._poll.unregister(number)  # the server has had enough of it
                self._floods.remove(publisher)
            elif events & ~select.EPOLLOUT:
                publisher.read()
                if number in self._timed:
                    now_s = time.perf_counter()
                    self._note(publisher, now_s)
                    if refill and not publisher.writing:
                        self._fill(publisher, now_s)

    def _fill(self, publisher: Publisher, now_s: float) -> None:
        room = self._load.window - (publisher.sent - publisher.acknowledged)
        if room > 0 and not publisher.send(room, now_s):
            self._watch_writing(publisher)

    def _watch_writing(self, publisher: Publisher) -> None:
        self._poll.modify(publisher.socket.fileno(), self._reads(publisher) | select.EPOLLOUT)

    def _reads(self, publisher: Publisher) -> int:
        return 0 if publisher in self._deaf else select.EPOLLIN

    def _note(self, publisher: Publisher, now_s: float) -> None:
        """The latencies of what has been acknowledged since, slice by slice."""
        counts = now_s >= self._counts_from_s
        while publisher.noted < publisher.acknowledged:
            due_s, ends_at = publisher.times[0]
            upto = min(ends_at, publisher.acknowledged)
            if counts:
                self._latencies.append((now_s - due_s, upto - publisher.noted))
            publisher.noted = upto
            if upto == ends_at:
                publisher.times.popleft()

    def _unanswered(self) -> int:
        return sum(one.sent - one.acknowledged for one in self._reading)

    def _percentile_ms(self, share: float) -> float:
        """Of the sorted latencies."""
        left = share * sum(count for _, count in self._latencies)
        for latency_s, count in self._latencies:
            left -= count
            if left <= 0:
                return latency_s * 1e3
        return 0.0


def idle(address: tuple[str, int], count: int, ping_every_s: float) -> None:
    """Hold `count` connections that only ping, until standard input closes. Prints a line when all are there."""
    begun_s = time.perf_counter()
    sockets = connect(address, count)
    print(json.dumps({"connected_s": time.perf_counter() - begun_s}), flush=True)
    turn = 0
    while not select.select([sys.stdin], [], [], ping_every_s / count)[0]:
        one = sockets[turn % count]
        turn += 1
        one.send(PINGREQ)
        try:
            one.recv(READ_BYTES)  # the answer to the ping before
        except BlockingIOError:
            continue


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.mqtt_load")
    parser.add_argument("port", type=int)
    parser.add_argument("--core", type=int, help="run on this core alone")
    parser.add_argument("--publishers", type=int, default=1)
    parser.add_argument("--window", type=int, default=20)
    parser.add_argument("--size-bytes", type=int, default=100)
    parser.add_argument("--duration-s", type=float, default=3.0)
    parser.add_argument("--per-s", type=float, default=0.0)
    parser.add_argument("--flooders", type=int, default=0)
    parser.add_argument("--deaf", type=int, default=0)
    parser.add_argument("--idle", type=int, default=0, help="connect so many and only ping, until standard input ends")
    given = parser.parse_args(arguments)
    address = ("127.0.0.1", given.port)
    if given.core is not None:
        os.sched_setaffinity(0, {given.core})
    if given.idle:
        idle(address, given.idle, KEEPALIVE_S / 2)
        return 0
    load = Load(
        given.publishers,
        given.window,
        given.size_bytes,
        given.duration_s,
        given.per_s,
        given.flooders,
        given.deaf,
    )
    print(json.dumps(asdict(Generator(address, load).run())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
