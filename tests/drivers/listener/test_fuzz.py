"""Whatever bytes come, in whatever pieces: a connection goes on or is ended, and nothing else happens.

`python -m tests.drivers.listener.test_fuzz SECONDS` goes on for longer.
"""

from __future__ import annotations

import sys
import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.listener.labels import Labels
from drivers.listener.protocol import Connection, Limits
from drivers.listener.run import Items, Run
from drivers.template import Router
from tests.drivers.listener.wire import DISCONNECT, PINGREQ, connect, publish, pubrel, subscribe, text, unsubscribe

MAX_PACKET_BYTES = 2000
ALIAS = b"\x23\0\x01"
USER = b"\x26" + text("unit") + text("bar")


def real(version: int) -> list[bytes]:
    """Packets that a client sends."""
    return [
        connect("pump", version=version),
        connect(
            "",
            version=version,
            flags=0xEE,
            behind=b"\0" * (version == 5) + text("t") + text("w") + text("u") + text("p"),
        ),
        publish("site/a", 1, b"12.7", version=version),
        publish("site/a", 2, b"12.8", version=version, dup=True, retain=True),
        publish("site/a", 3, b"", version=version, qos=2),
        publish("site/b", 0, b"x" * 300, version=version, qos=0),
        publish("site/a", 4, b"x", version=version, properties=ALIAS + USER),
        publish("" if version == 5 else "s", 5, b"x", version=version, properties=ALIAS),
        pubrel(3),
        subscribe(6, "a/#", "+/b", version=version),
        unsubscribe(7, "a/#", version=version),
        PINGREQ,
        DISCONNECT,
    ]


@st.composite
def streams(draw: st.DrawFn) -> tuple[int, bytes]:
    """A connection's bytes: real packets in any order, some bytes changed, cut out or put in."""
    version = draw(st.sampled_from([4, 5]))
    packets = real(version)
    picked = draw(st.lists(st.sampled_from(packets[2:]), max_size=8))
    raw = bytearray(b"".join([draw(st.sampled_from(packets[:2])), *picked]))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(raw)))
        change = draw(st.sampled_from(["set", "cut", "insert"]))
        if change == "set" and at < len(raw):
            raw[at] = draw(st.integers(0, 255))
        elif change == "cut":
            del raw[at : at + draw(st.integers(1, 20))]
        else:
            raw[at:at] = draw(st.binary(max_size=20))
    return version, bytes(raw)


def heard(pieces: list[bytes]) -> tuple[list[tuple[str, int, bytes]], bytes, int | None]:
    """What a connection makes of `pieces`: the messages, what it writes, and why it ended."""
    # Answered after each piece, a client of MQTT 5 may send more in two pieces than in one.
    share = 100 if b"MQTT\x05" in b"".join(pieces) else 3
    connection = Connection(Limits(MAX_PACKET_BYTES, share), Labels(Router("devices/{0}", "{topic}", "local").route))
    received: Items = []
    written = b""
    for piece in pieces:
        connection.receive(piece)
        while True:
            if connection.connect is not None and not connection.accepted and connection.ended is None:
                connection.accept(lambda topic: True, session_present=False)
            items, connection.received = connection.received, []
            for item in items:
                if isinstance(item, Run):
                    item.answered = item.packet_ids
            received += items
            connection.acknowledge(items)
            written += connection.take_output()
            if not items:
                break
            connection.resume()
        assert connection.held_bytes <= MAX_PACKET_BYTES + len(piece)
        assert connection.unanswered == connection.waiting_bytes == 0
    messages = [
        (item.label.topic, item.qos, payload) for item in received if isinstance(item, Run) for payload in item.payloads
    ]
    return messages, written, None if connection.ended is None else connection.ended.code


def pieces_of(raw: bytes, random: Random) -> list[bytes]:
    cuts = sorted(random.randrange(len(raw) + 1) for _ in range(random.randrange(6)))
    return [raw[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True)]


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(streams(), st.randoms(use_true_random=False))
def test_a_connection_goes_on_or_is_ended_and_says_the_same_however_its_bytes_are_cut(
    stream: tuple[int, bytes], random: Random
) -> None:
    _, raw = stream
    messages, _, ended = heard([raw[at : at + 1] for at in range(len(raw))])
    assert heard(pieces_of(raw, random))[0] == messages
    assert heard(pieces_of(raw, random))[2] == ended


def campaign(duration_s: float, seed: int) -> int:
    """The same without Hypothesis, which is too slow for a long run. How many connections there were."""
    random = Random(seed)
    until_s = time.monotonic() + duration_s
    count = 0
    while time.monotonic() < until_s:
        version = random.choice((4, 5))
        packets = real(version)
        raw = bytearray(packets[random.randrange(2)] + b"".join(random.choices(packets[2:], k=random.randrange(9))))
        for _ in range(random.randrange(5)):
            at = random.randrange(len(raw) + 1)
            raw[at : at + random.choice((0, 1, 1, 1, 9))] = random.randbytes(random.choice((0, 1, 1, 1, 7)))
        whole = bytes(raw)
        one, other = heard(pieces_of(whole, random)), heard(pieces_of(whole, random))
        assert (one[0], one[2]) == (other[0], other[2]), (seed, count, whole.hex())
        count += 1
    return count


if __name__ == "__main__":
    seed = time.time_ns()
    print(f"seed {seed}: {campaign(float(sys.argv[1]), seed)} connections, nothing found")
