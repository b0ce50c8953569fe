"""What can't be stored is never answered as if it were, whenever that is found out, and what is beside it goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drivers.listener import ListenerConfig
from storage.errors import TooLargeError
from tests.drivers.listener.clients import Listening, joined, joined_5
from tests.drivers.listener.wire import publish, text

CONFIG = ListenerConfig(listen="127.0.0.1:0")
PERSISTENT = 0
"""The connect flags of a session that is kept."""
PUBACK, PUBREC = b"\x40\x02\0\x01", b"\x50\x02\0\x01"


@pytest.fixture
def listening() -> Iterator[Listening]:
    with Listening(CONFIG) as running:
        yield running


def sealed_on_the_way(listening: Listening, events: int) -> None:
    """The stream `devices/old` ends when `events` have been handed over and none of them is durable."""
    listening.until(lambda: listening.counter("good") == events, "all that was sent")
    listening.sink.sealed.add("devices/old")
    listening.commits = True


def test_what_needs_no_store_is_answered_behind_what_does(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.listener.intake.GATHERED_BYTES", 0)
    client = joined_5(listening)
    listening.commits = False
    client.send(publish("a", 1, b"x", version=5))
    listening.until(lambda: listening.counter("good") == 1, "the first")
    client.send(publish("k" * 1100, 2, b"x", version=5))
    listening.until(lambda: listening.counter("refused") == 1, "the second")
    listening.for_a_while(0.1)
    assert client.look() == b""
    listening.commits = True
    client.until(b"\x40\x02\0\x01\x40\x03\0\x02\x90")


def test_streams_have_a_limit_and_a_message_for_one_too_many_is_not_answered_as_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("drivers.listener.labels.MAX_STREAMS", 2)
    with Listening(ListenerConfig(listen="127.0.0.1:0")) as listening:
        client = joined(listening)
        client.send(publish("a", 1, b"x") + publish("b", 2, b"x") + publish("a/b", 3, b"x"))
        client.until(b"\x40\x02\0\x01\x40\x02\0\x02\x40\x02\0\x03")
        client.send(publish("c", 4, b"x"))
        assert client.until_closed() == b""


def test_what_is_for_a_sealed_stream_is_not_answered_as_stored_and_others_go_on(listening: Listening) -> None:
    listening.sink.sealed.add("devices/old")
    old, other, new = joined(listening, "old"), joined(listening, "other"), joined_5(listening, "new")
    old.send(publish("old/x", 1, b"x"))
    other.send(publish("b", 1, b"y"))
    new.send(publish("old/x", 1, b"x", version=5))
    other.until(PUBACK)
    new.until(b"\x40\x03\0\x01\x87")
    assert old.until_closed() == b""
    assert listening.sink.payloads() == [b"y"]


@pytest.mark.parametrize("qos", [1, 2])
def test_what_is_on_its_way_when_its_stream_is_sealed_is_not_either_and_others_are_stored(
    listening: Listening, qos: int
) -> None:
    old, other, new = joined(listening, "old"), joined(listening, "other"), joined_5(listening, "new")
    listening.commits = False
    old.send(publish("old/x", 1, b"x", qos=qos))
    other.send(publish("b", 1, b"y", qos=qos))
    new.send(publish("old/x", 1, b"x", version=5, qos=qos) + publish("b", 2, b"z", version=5, qos=qos))
    sealed_on_the_way(listening, 4)
    answer = 0x40 if qos == 1 else 0x50
    other.until(bytes([answer, 2, 0, 1]))
    new.until(bytes([answer, 3, 0, 1, 0x87, answer, 2, 0, 2]))
    assert old.until_closed() == b""
    assert sorted(listening.sink.payloads()) == [b"y", b"z"]
    assert (listening.counter("durable"), listening.counter("refused")) == (2, 2)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("qos", [1, 2])
def test_such_a_message_is_not_acknowledged_when_it_is_sent_again(qos: int, restarted: bool) -> None:
    with Listening(CONFIG) as listening:
        client = joined(listening, "pump", flags=PERSISTENT)
        listening.commits = False
        client.send(publish("old/x", 1, b"x", qos=qos))
        sealed_on_the_way(listening, 1)
        assert client.until_closed() == b""
        again = publish("old/x", 1, b"x", qos=qos, dup=True)
        if not restarted:
            client = joined(listening, "pump", flags=PERSISTENT, present=True)
            client.send(again)
            assert client.until_closed() == b""
            return
        sink = listening.sink
    with Listening(CONFIG, sink) as listening:
        client = joined(listening, "pump", flags=PERSISTENT, present=True)
        client.send(again)
        assert client.until_closed() == b""


def test_nor_when_it_was_sent_again_before_that(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.listener.intake.GATHERED_BYTES", 0)
    client = joined_5(listening)
    listening.commits = False
    client.send(publish("old/x", 1, b"x", version=5, qos=2))
    listening.until(lambda: listening.counter("good") == 1, "the first")
    client.send(publish("old/x", 1, b"x", version=5, qos=2, dup=True) + publish("b", 2, b"y", version=5, qos=2))
    sealed_on_the_way(listening, 2)
    client.until(b"\x50\x03\0\x01\x87\x50\x03\0\x01\x87\x50\x02\0\x02")


@pytest.mark.parametrize("qos", [1, 2])
def test_what_the_store_refused_is_new_when_it_is_sent_again(listening: Listening, qos: int) -> None:
    client = joined(listening, "pump", flags=PERSISTENT)
    listening.sink.refuse_payload = (b"x", TooLargeError("headers of 9 GB"))
    client.send(publish("a", 1, b"x", qos=qos))
    assert client.until_closed() == b""
    listening.sink.refuse_payload = None
    client = joined(listening, "pump", flags=PERSISTENT, present=True)
    client.send(publish("a", 1, b"x", qos=qos, dup=True))
    client.until(PUBACK if qos == 1 else PUBREC)
    assert listening.sink.payloads() == [b"x"]


def test_the_longest_property_name_that_is_taken_is_one_that_a_header_can_have(listening: Listening) -> None:
    client = joined_5(listening)
    for packet_id, length in ((1, 1014), (2, 1015)):
        name = b"\x26" + text("n" * length) + text("v")
        client.send(publish("a", packet_id, b"%d" % length, version=5, properties=name))
    client.until(b"\x40\x02\0\x01\x40\x03\0\x02\x97")
    assert listening.sink.payloads() == [b"1014"]
