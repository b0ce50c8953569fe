"""The listener over real sockets: what publishers send is on disk before they are answered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drivers.listener import ListenerConfig
from tests.drivers.listener.clients import Listening, Publisher, Raw
from tests.drivers.listener.wire import connect, publish


@pytest.fixture
def listening() -> Iterator[Listening]:
    with Listening(ListenerConfig(listen="127.0.0.1:0")) as running:
        yield running


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_paho_publishes_and_is_answered(listening: Listening, version: str, qos: int) -> None:
    publisher = Publisher(listening.port, version=version)
    publisher.start()
    listening.until(publisher.client.is_connected, "the connection")
    sent = publisher.publish("site/a b", [b"%d" % number for number in range(500)], qos)
    listening.until(lambda: len(listening.sink.events) == 500, "500 events")
    listening.until(lambda: all(info.is_published() for info in sent), "every answer")
    publisher.close()
    assert listening.sink.payloads() == [b"%d" % number for number in range(500)]
    first = listening.sink.events[0]
    assert (first.stream, first.routing_key) == ("devices/site", "site/a b")
    assert first.headers == (("mqtt.topic", b"site/a b"),)


def test_no_answer_leaves_before_the_commit(listening: Listening) -> None:
    client = Raw(listening)
    client.send(connect())
    client.until(b"\x20\x02\0\0")
    listening.commits = False
    client.send(publish("a", 7, b"x") + publish("a", 8, b"y", qos=2) + b"\xc0\0")
    client.until(b"\xd0\0")
    listening.for_a_while()
    assert client.look() == b""
    listening.commits = True
    client.until(b"\x40\x02\0\x07\x50\x02\0\x08")
