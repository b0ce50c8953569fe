"""What no client should say, a little of it: the fuzzer's long run is `python -m tests.drivers.listener.fuzz`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from drivers.listener.labels import Labels
from drivers.listener.protocol import Connection, Limits
from drivers.listener.run import Release, Run
from tests.drivers.listener.fuzz import campaign, chunked
from tests.drivers.listener.mutations import cut, mutated, seeds

LIMITS = Limits(max_packet_bytes=1 << 20, max_inflight=65_535)


@pytest.mark.long
def test_neither_the_gateway_nor_another_client_minds_what_a_client_says(tmp_path: Path) -> None:
    assert "nothing found" in campaign(tmp_path, seconds=5.0, seed=1)


def test_it_does_not_matter_how_the_bytes_are_cut_on_their_way() -> None:
    corpus = seeds()
    for number in range(2_000):
        random = Random(number)
        data = mutated(random, corpus)
        assert _said([data]) == _said(chunked(random, data)), (number, data.hex())


def _said(chunks: Sequence[bytes]) -> tuple[int | None, list[tuple[str, int, int, bytes]], list[bytes]]:
    """How the connection ended, the messages taken from it, and the packets that it was answered, sorted by their bytes."""
    connection = Connection(LIMITS, Labels(lambda topic: ("stream", topic)))
    output = b""
    messages: list[tuple[str, int, int, bytes]] = []
    for chunk in chunks:
        connection.receive(chunk)
        if connection.connect is not None and not connection.accepted and connection.ended is None:
            connection.accept(lambda topic: True, session_present=False)
        received, connection.received = connection.received, []
        messages += [message for item in received for message in _messages(item)]
        connection.acknowledge(received)
        connection.resume()
        output += connection.take_output()
    return (None if connection.ended is None else connection.ended.code), messages, sorted(cut(output))


def _messages(item: Run | Release) -> list[tuple[str, int, int, bytes]]:
    if isinstance(item, Release):
        return [("released", 0, packet_id, b"") for packet_id in item.packet_ids]
    packet_ids = item.packet_ids or [0] * len(item.payloads)
    return [
        (item.label.topic, item.qos, packet_id, payload)
        for packet_id, payload in zip(packet_ids, item.payloads, strict=True)
    ]
