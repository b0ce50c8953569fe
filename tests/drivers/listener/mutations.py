"""What clients sent, made wrong: bytes, lengths, packets and their order. Everything follows from the seed of `Random`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from edge.demo.mqtt import packet

SEEDS = Path(__file__).parent / "seeds.txt"
MAX_BYTES = 1 << 18
"""Of what one connection sends."""
TELLING = (
    b"\x00", b"\x7f", b"\x80", b"\xff", b"\xff\xff", b"\x00\x00", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"#", b"+", b"/",
    b"\xc0\x80", b"\xed\xa0\x80", b"\xef\xbf\xbe", b"\x00\x04MQTT\x05", b"\x00\x06MQIsdp\x03",
    b"\x26\x00\x01a\x00\x01b", b"\x23\x00\x00",
)  # fmt: skip
"""Ends of ranges, wildcards, what is no UTF-8, other versions, properties."""

Packets = list[bytes]


def seeds() -> list[Packets]:
    """The connections of seeds.txt, cut into packets."""
    lines = SEEDS.read_text(encoding="ascii").splitlines()
    return [cut(bytes.fromhex(line.split(" ")[1])) for line in lines]


def cut(data: bytes) -> Packets:
    """Whole packets only (MQTT, 2.1.4)."""
    packets = []
    at = 0
    while at < len(data):
        length = place = 0
        while data[at + 1 + place] & 0x80:
            length |= (data[at + 1 + place] & 0x7F) << 7 * place
            place += 1
        length |= data[at + 1 + place] << 7 * place
        end = at + 2 + place + length
        packets.append(data[at:end])
        at = end
    return packets


def mutated(random: Random, corpus: Sequence[Packets]) -> bytes:
    """What one connection sends. Three of four begin with a CONNECT that was left alone, and so get further."""
    packets = list(random.choice(corpus))
    spared = packets.pop(0) if random.random() < 0.75 else b""
    for _ in range(random.choice((1, 1, 2, 3, 8))):
        random.choice(ON_CONNECTIONS)(random, packets, corpus)
    return (spared + b"".join(packets))[:MAX_BYTES]


# On one packet's body


def _flip(random: Random, body: bytearray) -> None:
    if body:
        body[random.randrange(len(body))] ^= 1 << random.randrange(8)


def _telling(random: Random, body: bytearray) -> None:
    at = random.randrange(len(body) + 1)
    told = random.choice(TELLING)
    body[at : at + random.choice((0, len(told)))] = told


def _remove(random: Random, body: bytearray) -> None:
    at = random.randrange(len(body) + 1)
    del body[at : at + random.choice((1, 2, 5, len(body)))]


def _repeat(random: Random, body: bytearray) -> None:
    at = random.randrange(len(body) + 1)
    body[at:at] = body[at : at + random.randrange(1, 40)] * random.choice((1, 1, 2, 50))


def _noise(random: Random, body: bytearray) -> None:
    at = random.randrange(len(body) + 1)
    body[at:at] = random.randbytes(random.choice((1, 4, 100, 5_000)))


ON_BODIES: Sequence[Callable[[Random, bytearray], None]] = (_flip, _flip, _telling, _telling, _remove, _repeat, _noise)


# On the packets of one connection


def _body(random: Random, packets: Packets, corpus: Sequence[Packets]) -> None:
    """Its length is made right again: what reads the body sees it."""
    if packets:
        at = random.randrange(len(packets))
        whole = packets[at]
        start = next((place + 1 for place in range(1, min(5, len(whole))) if not whole[place] & 0x80), len(whole))
        body = bytearray(whole[start:])
        random.choice(ON_BODIES)(random, body)
        packets[at] = packet(whole[0] if whole else 0x30, bytes(body))


def _bytes(random: Random, packets: Packets, corpus: Sequence[Packets]) -> None:
    """Its length is left wrong, or is what is made wrong."""
    if packets:
        at = random.randrange(len(packets))
        whole = bytearray(packets[at])
        random.choice(ON_BODIES)(random, whole)
        packets[at] = bytes(whole)


def _first(random: Random, packets: Packets, corpus: Sequence[Packets]) -> None:
    """Another type, other flags."""
    if packets:
        at = random.randrange(len(packets))
        packets[at] = bytes([random.randrange(256)]) + packets[at][1:]


def _length(random: Random, packets: Packets, corpus: Sequence[Packets]) -> None:
    if packets:
        at = random.randrange(len(packets))
        length = random.choice(
            (b"\x00", b"\x01", b"\x7f", b"\x80\x00", b"\xff\xff\xff\x7f", b"\x80\x80\x80\x80\x01", b"\x80\x80\x40")
        )
        packets[at] = packets[at][:1] + length + packets[at][2:]


def _swap(random: Random, packets: Packets, corpus: Sequence[Packets]) -> None:
    random.shuffle(packets)


def _again(random: Random, packets: Packets, corpus: Sequence[Packets]) -> None:
    if packets:
        again = random.choice(packets)
        if again and again[0] & 0xF0 == 0x30 and random.random() < 0.5:
            again = bytes([again[0] | 0x08]) + again[1:]  # DUP
        packets.insert(random.randrange(len(packets) + 1), again)


def _other(random: Random, packets: Packets, corpus: Sequence[Packets]) -> None:
    """A packet of another client, perhaps of the other version."""
    packets.insert(random.randrange(len(packets) + 1), random.choice(random.choice(corpus)))


def _lose(random: Random, packets: Packets, corpus: Sequence[Packets]) -> None:
    if packets:
        del packets[random.randrange(len(packets))]


def _many(random: Random, packets: Packets, corpus: Sequence[Packets]) -> None:
    if packets:
        packets += [random.choice(packets)] * random.choice((10, 200, 1_000))


def _end(random: Random, packets: Packets, corpus: Sequence[Packets]) -> None:
    """It stops in the middle of a packet."""
    if packets:
        at = random.randrange(len(packets))
        packets[at:] = [packets[at][: random.randrange(len(packets[at]) + 1)]]


ON_CONNECTIONS: Sequence[Callable[[Random, Packets, Sequence[Packets]], None]] = (
    _body, _body, _body, _body, _bytes, _bytes, _first, _length, _swap, _again, _again, _other, _lose, _many, _end,
)  # fmt: skip
