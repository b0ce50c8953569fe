"""`python -m tests.bench.publish PORT COUNT`: publishes at QoS 1 as fast as the broker takes it."""

from __future__ import annotations

import socket
import struct
import sys

from edge.demo.mqtt import packet
from tests.bench.figures import payloads

SIZE_BYTES = 100
TOPIC = b"site/north/telemetry"
WINDOW = 2_000
AT_ONCE = 200
TIMEOUT_S = 60.0
PUBACK_BYTES = 4


def publish(port: int, count: int) -> None:
    """Returns when the broker has acknowledged all."""
    head = struct.pack(">H", len(TOPIC)) + TOPIC
    tails = payloads(AT_ONCE, SIZE_BYTES)
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        name = b"bench-publisher"
        connection.sendall(packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack(">H", len(name)) + name))
        connection.recv(4)
        sent = answered = 0
        while answered < count * PUBACK_BYTES:
            while sent < count and sent - answered // PUBACK_BYTES < WINDOW:
                numbers = range(sent, min(sent + AT_ONCE, count))
                messages = (
                    packet(0x32, head + struct.pack(">H", number % 65535 + 1) + tails[number % AT_ONCE])
                    for number in numbers
                )
                connection.sendall(b"".join(messages))
                sent = numbers.stop
            answer = connection.recv(1 << 16)
            if not answer:
                raise ConnectionError("the broker closed the connection")
            answered += len(answer)


if __name__ == "__main__":
    publish(int(sys.argv[1]), int(sys.argv[2]))
