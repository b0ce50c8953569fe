"""Packets as a client writes them, byte by byte: independent of the listener's own codec, so that both can't be wrong alike."""

from __future__ import annotations

import struct
from collections.abc import Iterator


def variable(value: int) -> bytes:
    made = bytearray()
    while True:
        value, digit = divmod(value, 128)
        made.append(digit + (128 if value else 0))
        if not value:
            return bytes(made)


def packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + variable(len(body)) + body


def text(content: str | bytes) -> bytes:
    raw = content.encode() if isinstance(content, str) else content
    return struct.pack(">H", len(raw)) + raw


def connect(
    client_id: str = "raw", *, version: int = 4, flags: int = 2, keep_alive_s: int = 60, behind: bytes = b"",
    properties: bytes = b"",
) -> bytes:  # fmt: skip
    """A CONNECT. `behind` is what follows the client id, `properties` what follows their length."""
    more = variable(len(properties)) + properties if version == 5 else b""
    head = text("MQTT") + bytes([version, flags]) + struct.pack(">H", keep_alive_s) + more
    return packet(0x10, head + text(client_id) + behind)


def publish(
    topic: str, packet_id: int, payload: bytes, *, qos: int = 1, version: int = 4, dup: bool = False, retain: bool = False,
    properties: bytes = b"",
) -> bytes:  # fmt: skip
    middle = struct.pack(">H", packet_id) if qos else b""
    more = variable(len(properties)) + properties if version == 5 else b""
    return packet(0x30 | dup << 3 | qos << 1 | retain, text(topic) + middle + more + payload)


def pubrel(packet_id: int) -> bytes:
    return packet(0x62, struct.pack(">H", packet_id))


def subscribe(packet_id: int, *filters: str, version: int = 4) -> bytes:
    body = struct.pack(">H", packet_id) + (b"\0" if version == 5 else b"")
    return packet(0x82, body + b"".join(text(each) + b"\1" for each in filters))


def unsubscribe(packet_id: int, *filters: str, version: int = 4) -> bytes:
    body = struct.pack(">H", packet_id) + (b"\0" if version == 5 else b"")
    return packet(0xA2, body + b"".join(text(each) for each in filters))


def take_packets(received: bytearray) -> Iterator[tuple[int, bytes]]:
    """First byte and body of each packet that is whole in `received`, and gone from it then."""
    while len(received) > 1:
        begin, length = 2, received[1]
        if length & 0x80:
            if len(received) < 3:
                return
            # Nothing that we are sent is longer than 16,383 bytes.
            begin, length = 3, length & 0x7F | received[2] << 7
        if len(received) < begin + length:
            return
        head, body = received[0], bytes(received[begin : begin + length])
        del received[: begin + length]
        yield head, body


PINGREQ = b"\xc0\0"
DISCONNECT = b"\xe0\0"
ACCEPTED = b"\x20\x02\0\0"
