"""The listener over real sockets: what publishers send is on disk before they are answered."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.contract import DriverConfigError
from drivers.fake import RecordingSink
from drivers.listener import ListenerConfig, ListenerDriver
from drivers.listener.passwords import set_password
from drivers.listener.peer import MAX_OUTPUT_BYTES, READ_BYTES
from storage.clock import FakeClock, SystemClock
from storage.units import Size
from tests.drivers.listener.clients import SETTINGS, Listening, Publisher, Raw, joined, joined_5
from tests.drivers.listener.wire import ACCEPTED, DISCONNECT, PINGREQ, connect, publish, pubrel, text

TLS = Path(__file__).parents[2] / "sync" / "tls"
PERSISTENT = 0
"""The connect flags of a session that is kept."""


@pytest.fixture
def listening() -> Iterator[Listening]:
    with Listening(ListenerConfig(listen="127.0.0.1:0")) as running:
        yield running


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


def publishes(publisher: Publisher, listening: Listening, qos: int) -> None:
    """Publish and see everything stored and answered."""
    publisher.start()
    listening.until(publisher.client.is_connected, "the connection")
    sent = publisher.publish("site/a b", numbers(200), qos)
    listening.until(lambda: len(listening.sink.events) == 200, "200 events")
    listening.until(lambda: all(info.is_published() for info in sent), "every answer")
    publisher.close()
    assert listening.sink.payloads() == numbers(200)


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_paho_publishes_and_is_answered(listening: Listening, version: str, qos: int) -> None:
    publishes(Publisher(listening.port, version=version), listening, qos)
    first = listening.sink.events[0]
    assert (first.stream, first.routing_key) == ("devices/site", "site/a b")
    assert first.headers == (("mqtt.topic", b"site/a b"),)


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_paho_publishes_over_tls_with_a_certificate_of_its_own(version: str) -> None:
    config = ListenerConfig(
        listen="127.0.0.1:0",
        certificate=TLS / "hub.pem",
        certificate_key=TLS / "hub.key",
        client_ca=TLS / "ca.pem",
        allow={"gateway": ("site/#",)},
    )
    context = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
    context.load_cert_chain(TLS / "gateway.pem", TLS / "gateway.key")
    context.check_hostname = False
    with Listening(config) as listening:
        publishes(Publisher(listening.port, version=version, tls=context), listening, 1)


@pytest.mark.long
def test_over_tls_without_a_certificate_nobody_gets_in() -> None:
    config = ListenerConfig(
        listen="127.0.0.1:0", certificate=TLS / "hub.pem", certificate_key=TLS / "hub.key", client_ca=TLS / "ca.pem"
    )
    context = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
    context.check_hostname = False
    with Listening(config) as listening:
        publisher = Publisher(listening.port, tls=context)
        publisher.start()
        listening.until(lambda: listening.counter("connects") > 0, "the connection")
        listening.for_a_while()
        assert not publisher.client.is_connected()
        publisher.close()


def test_a_user_gets_in_with_the_right_password_and_publishes_what_it_may(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    set_password(path, "pump", b"secret")
    with Listening(
        ListenerConfig(listen="127.0.0.1:0", passwords=path, allow={"pump": ("site/{client}/#",)})
    ) as listening:
        for behind in (text("pump") + text("wrong"), text("nobody") + text("secret")):
            wrong = Raw(listening)
            wrong.send(connect(flags=0xC2, behind=behind))
            assert wrong.until_closed() == b"\x20\x02\0\x04"
        unnamed = Raw(listening)
        unnamed.send(connect())
        assert unnamed.until_closed() == b"\x20\x02\0\x05"
        right = joined(listening, "p1", flags=0xC2, behind=text("pump") + text("secret"))
        right.send(publish("site/p1/x", 1, b"x"))
        right.until(b"\x40\x02\0\x01")
        right.send(publish("site/p2/x", 2, b"x"))
        assert right.until_closed() == b""
        assert listening.sink.payloads() == [b"x"]
        assert (listening.counter("not_let_in"), listening.counter("not_allowed")) == (2, 2)


def test_an_address_that_others_reach_needs_credentials_or_a_word() -> None:
    for listen in ("0.0.0.0:1883", "[::]:1883", "192.0.2.1:1883"):
        with pytest.raises(DriverConfigError, match="allow_anonymous = true"):
            ListenerDriver(ListenerConfig(listen=listen), SETTINGS, SystemClock())
        ListenerDriver(ListenerConfig(listen=listen, allow_anonymous=True), SETTINGS, SystemClock()).close()
        ListenerDriver(ListenerConfig(listen=listen, passwords=Path("p")), SETTINGS, SystemClock()).close()


def test_no_answer_leaves_before_the_commit(listening: Listening) -> None:
    client = joined(listening)
    listening.commits = False
    client.send(publish("a", 7, b"x") + publish("a", 8, b"y", qos=2) + PINGREQ)
    client.until(b"\xd0\0")
    listening.for_a_while()
    assert client.look() == b""
    listening.commits = True
    client.until(b"\x40\x02\0\x07\x50\x02\0\x08")


@pytest.mark.long
def test_while_the_store_takes_nothing_pings_are_answered_and_what_comes_waits(listening: Listening) -> None:
    client, other = joined(listening, "one"), joined(listening, "other")
    client.send(publish("a", 1, b"x"))
    client.until(b"\x40\x02\0\x01")
    listening.commits = False
    client.send(b"".join(publish("a", number, b"x") for number in range(1, 501)))
    other.send(PINGREQ)
    other.until(b"\xd0\0")
    # 100 of the 500 are its share; the rest stays in its socket.
    listening.for_a_while()
    assert listening.counter("good") == 101
    client.send(PINGREQ)
    listening.for_a_while()
    assert client.look() == b""
    assert [peer.resting for peer in listening.driver._opened()[0].peers.values()] == [True, False]
    other.socket.close()
    listening.commits = True
    client.until(b"".join(b"\x40\x02" + number.to_bytes(2, "big") for number in range(1, 501)) + b"\xd0\0")
    assert len(listening.sink.events) == 501


def test_one_that_never_reads_its_answers_is_read_no_more_and_others_go_on() -> None:
    with Listening(ListenerConfig(listen="127.0.0.1:0", max_inflight=5000)) as listening:
        deaf, other = Raw(listening, receive_bytes=1024), joined(listening, "other")
        deaf.send(connect("deaf"))
        listening.until(lambda: len(listening.driver._clients) == 2, "the client")
        peer = next(iter(reversed(listening.driver._clients)))
        burst = publish("a", 1, b"") * 10_000
        unsent = b""

        def sends_on() -> bool:
            nonlocal unsent
            unsent = deaf.send_some(unsent or burst)
            return len(peer.unwritten) > MAX_OUTPUT_BYTES

        listening.until(sends_on, "too much that it has not read")
        answered = listening.counter("durable")
        for number in range(1, 20):
            sends_on()
            other.send(publish("b", number, b"x"))
            other.until(b"\x40\x02" + number.to_bytes(2, "big"))
        # What had been read of it already is all that is still taken in.
        assert listening.counter("good") <= answered + 5000 + READ_BYTES // 7 + 20


def test_one_that_floods_at_qos_0_does_not_stop_others(listening: Listening) -> None:
    flood, other = joined(listening, "flood"), joined(listening, "other")
    burst = publish("a", 0, b"x" * 1000, qos=0) * 2000
    unsent = burst
    for number in range(1, 50):
        unsent = flood.send_some(unsent or burst)
        other.send(publish("b", number, b"x"))
        other.until(b"\x40\x02" + number.to_bytes(2, "big"))
    assert listening.counter("good") > 1000


def test_a_thousand_connect_at_once_and_publish(listening: Listening) -> None:
    clients = [Raw(listening) for _ in range(1000)]
    for number, client in enumerate(clients):
        client.send(connect(f"c{number}") + publish("a", 1, b"%d" % number))
    for client in clients:
        client.until(ACCEPTED + b"\x40\x02\0\x01")
    assert sorted(listening.sink.payloads()) == sorted(numbers(1000))
    for client in clients:
        client.socket.close()
    listening.until(lambda: not listening.driver._clients, "the end of all connections")


def test_more_connections_than_there_may_be_are_turned_away() -> None:
    with Listening(ListenerConfig(listen="127.0.0.1:0", max_connections=2)) as listening:
        first, second, third = joined(listening, "1"), joined(listening, "2"), Raw(listening)
        assert third.until_closed() == b""
        assert listening.counter("no_room") == 1
        first.send(DISCONNECT)
        first.until_closed()
        joined(listening, "3")
        second.send(PINGREQ)
        second.until(b"\xd0\0")


def test_a_client_that_connects_anew_ends_its_earlier_connection(listening: Listening) -> None:
    old, new = joined_5(listening, "pump"), Raw(listening)
    new.send(connect("pump"))
    new.until(ACCEPTED)
    assert old.until_closed() == b"\xe0\x01\x8e"
    assert listening.counter("taken_over") == 1


def test_what_a_persistent_session_sends_again_after_our_end_is_not_stored_twice() -> None:
    config = ListenerConfig(listen="127.0.0.1:0")
    sent = publish("a", 1, b"x") + publish("a", 2, b"y", qos=2)
    with Listening(config) as listening:
        client = joined(listening, "pump", flags=PERSISTENT)
        listening.commits = False
        client.send(sent)
        listening.until(lambda: listening.counter("good") == 2, "both")
        listening.sink.commit()
        sink = listening.sink
    again = publish("a", 1, b"x", dup=True) + publish("a", 2, b"y", qos=2, dup=True) + publish("a", 3, b"new", dup=True)
    with Listening(config, sink) as listening:
        client = joined(listening, "pump", present=True, flags=PERSISTENT)
        client.send(again)
        client.until(b"\x40\x02\0\x01\x50\x02\0\x02\x40\x02\0\x03")
        client.send(pubrel(2))
        client.until(b"\x70\x02\0\x02")
        assert listening.sink.payloads() == [b"x", b"y", b"new"]
        assert listening.counter("duplicates") == 2


def test_a_release_is_answered_only_when_it_is_on_disk(listening: Listening) -> None:
    client = joined(listening, "pump", flags=PERSISTENT)
    client.send(publish("a", 2, b"y", qos=2))
    client.until(b"\x50\x02\0\x02")
    listening.commits = False
    client.send(pubrel(2) + PINGREQ)
    client.until(b"\xd0\0")
    listening.for_a_while()
    assert client.look() == b""
    listening.commits = True
    client.until(b"\x70\x02\0\x02")


def test_a_new_session_is_on_disk_before_the_client_is_let_in(listening: Listening) -> None:
    listening.commits = False
    client = Raw(listening)
    client.send(connect("pump", flags=PERSISTENT))
    listening.for_a_while()
    assert client.look() == b""
    listening.commits = True
    client.until(ACCEPTED)


def test_the_will_of_a_client_that_is_lost_is_an_event_and_so_is_a_retained_message(listening: Listening) -> None:
    behind = text("gone") + text("bye")
    lost, leaves = (joined(listening, name, flags=0x06, behind=behind) for name in ("lost", "leaves"))
    leaves.send(publish("a", 1, b"x", retain=True) + DISCONNECT)
    leaves.until_closed()
    lost.socket.close()
    listening.until(lambda: len(listening.sink.events) == 2, "the will")
    retained, will = listening.sink.events
    assert retained.headers == (("mqtt.topic", b"a"), ("mqtt.retain", b"1"))
    assert (will.payload, will.headers) == (b"bye", (("mqtt.topic", b"gone"), ("mqtt.will", b"1")))


def test_a_will_that_is_to_wait_is_left_only_when_its_client_stays_away() -> None:
    clock = FakeClock()
    session, delay = b"\x11\0\0\0\x63", b"\x18\0\0\0\x1e"
    asks = connect(
        "pump", version=5, flags=0x06, properties=session, behind=b"\x05" + delay + text("gone") + text("bye")
    )
    with Listening(ListenerConfig(listen="127.0.0.1:0"), clock=clock) as listening:
        for away_s in (20, 40):
            client = Raw(listening)
            client.send(asks)
            listening.until(lambda: b"\x20" in client.look(), "the answer")  # noqa: B023
            clock.advance(40)
            listening.for_a_while(0.1)
            assert listening.sink.events == []
            client.socket.close()
            listening.until(lambda: not listening.driver._clients, "the end of the connection")
            clock.advance(away_s)
        listening.until(lambda: listening.sink.payloads() == [b"bye"], "the will")


def test_whoever_is_connected_when_we_end_is_told_so(listening: Listening) -> None:
    client = joined_5(listening)
    listening.source.close()
    assert client.look() == b"\xe0\x01\x8b"


def test_packets_that_are_begun_and_not_ended_take_no_more_memory_than_stated(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.listener.sockets.MAX_HELD_BYTES", 300_000)
    other = joined(listening, "other")
    begun = publish("a", 1, b"x" * 100_000)[:-1]
    clients = [joined(listening, str(number)) for number in range(5)]
    for client in clients:
        client.send(begun)
    listening.until(
        lambda: sum(client.look() == b"" and client.closed for client in clients) == 3, "three of them to end"
    )
    other.send(publish("a", 1, b"x"))
    other.until(b"\x40\x02\0\x01")
    assert listening.counter("turned_away") == 3


def test_its_steps_are_named_when_they_are_taken() -> None:
    steps: list[tuple[str, bytes]] = []
    client: Raw | None = None

    def trace(step: str, details: dict[str, object]) -> None:
        if client is not None and step.startswith("listener."):
            steps.append((step, client.look()))

    with Listening(ListenerConfig(listen="127.0.0.1:0"), trace=trace) as listening:
        client = joined(listening)
        client.send(publish("a", 1, b"x"))
        listening.until(lambda: len(steps) == 3, "three steps")
    puback = b"\x40\x02\0\x01"
    assert steps == [("listener.received", b""), ("listener.acknowledging", b""), ("listener.acknowledged", puback)]


def test_one_that_is_silent_for_longer_than_it_said_is_gone_and_one_that_says_nothing_too() -> None:
    clock = FakeClock()
    with Listening(ListenerConfig(listen="127.0.0.1:0"), clock=clock) as listening:
        talking, silent, mute = joined(listening, "talking"), joined(listening, "silent"), Raw(listening)
        listening.until(lambda: listening.counter("connects") == 3, "three connections")
        for _ in range(10):
            clock.advance(10)
            talking.send(PINGREQ)
            talking.until(b"\xd0\0")
        assert silent.until_closed() == mute.until_closed() == b""
        assert (talking.closed, listening.counter("silent")) == (False, 2)


def test_a_packet_above_the_limit_ends_its_connection_alone() -> None:
    with Listening(ListenerConfig(listen="127.0.0.1:0", max_packet_bytes=Size(1000))) as listening:
        large, other = joined(listening, "large"), joined(listening, "other")
        large.send(publish("a", 1, b"x" * 1000))
        assert large.until_closed() == b""
        other.send(publish("a", 1, b"x" * 900))
        other.until(b"\x40\x02\0\x01")
        assert listening.counter("too_large") == 1


def test_a_port_that_is_taken_is_tried_again_until_it_is_free(listening: Listening) -> None:
    second = Listening.__new__(Listening)
    config = ListenerConfig(listen=f"127.0.0.1:{listening.port}")
    super(Listening, second).__init__(
        lambda settings, clock: ListenerDriver(config, settings, clock), SETTINGS, RecordingSink()
    )
    second.step()
    status = second.source.status()
    assert status.last_error is not None and "is another program there" in status.last_error
    listening.source.close()
    second.until(lambda: second.source.state.value == "running", "the port")
    second.source.close()
