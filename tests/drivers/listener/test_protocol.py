"""One connection, bytes in and bytes out: what is answered, what is refused, and that nothing a client sends does more."""

from __future__ import annotations

import pytest

from drivers.listener.labels import Labels
from drivers.listener.packets import Reason
from drivers.listener.protocol import Connection, Limits
from drivers.listener.run import Release, Run
from drivers.template import Router
from tests.drivers.listener.wire import (
    DISCONNECT,
    PINGREQ,
    connect,
    packet,
    publish,
    pubrel,
    subscribe,
    text,
    unsubscribe,
)

LIMITS = Limits(max_packet_bytes=1000, max_inflight=3)


def labels() -> Labels:
    return Labels(Router("devices/{0}", "{topic}", "local").route)


def connected(version: int = 4, *, limits: Limits = LIMITS, **asked: bytes | int) -> Connection:
    connection = Connection(limits, labels())
    connection.receive(connect(version=version, **asked))  # type: ignore[arg-type]
    connection.accept(lambda topic: topic != "forbidden", session_present=False)
    assert connection.take_output()[:1] == b"\x20"
    return connection


def runs(connection: Connection) -> list[Run]:
    return [item for item in connection.received if isinstance(item, Run)]


def answered(connection: Connection) -> bytes:
    """Answer everything that came, as the driver does when it is on disk."""
    for run in runs(connection):
        run.answered = run.packet_ids
    items, connection.received = connection.received, []
    connection.acknowledge(items)
    return connection.take_output()


def test_a_client_is_let_in_only_when_it_is_accepted() -> None:
    connection = Connection(LIMITS, labels())
    connection.receive(connect("pump") + publish("a", 1, b"x"))
    assert connection.connect is not None
    assert (connection.connect.client_id, connection.take_output(), connection.received) == ("pump", b"", [])
    connection.accept(lambda topic: True, session_present=True)
    assert connection.take_output() == b"\x20\x02\x01\0"
    assert runs(connection)[0].payloads == [b"x"]


def test_one_that_is_refused_is_told_why() -> None:
    old, new = Connection(LIMITS, labels()), Connection(LIMITS, labels())
    old.receive(connect())
    old.refuse(Reason.BAD_USER_OR_PASSWORD, "wrong password")
    new.receive(connect(version=5))
    new.refuse(Reason.BAD_USER_OR_PASSWORD, "wrong password")
    assert (old.take_output(), new.take_output()) == (b"\x20\x02\0\x04", b"\x20\x03\0\x86\0")
    assert old.ended and new.ended


def test_messages_alike_that_follow_each_other_are_one_run() -> None:
    connection = connected(limits=Limits(1000, 100))
    same = b"".join(publish("a", number, b"%03d" % number) for number in range(1, 11))
    connection.receive(
        same + publish("b", 11, b"x") + publish("b", 12, b"longer") + publish("a", 13, b"y", retain=True)
    )
    found = runs(connection)
    assert [len(run.payloads) for run in found] == [10, 1, 1, 1]
    assert found[0].packet_ids == list(range(1, 11))
    assert found[0].payloads == [b"%03d" % number for number in range(1, 11)]
    assert [run.label.topic for run in found] == ["a", "b", "b", "a"]
    assert [run.retain for run in found] == [False, False, False, True]


def test_every_split_of_the_bytes_says_the_same() -> None:
    whole = b"".join(
        [
            publish("a", 1, b"x"),
            publish("a", 2, b"y" * 200),
            PINGREQ,
            publish("b", 3, b"", qos=2),
            pubrel(3),
            publish("c", 0, b"z", qos=0),
        ]
    )
    expected = connected()
    expected.receive(whole)
    for cut in range(len(whole)):
        connection = connected()
        connection.receive(whole[:cut])
        connection.receive(whole[cut:])
        assert connection.received == expected.received
    bytewise = connected()
    for at in range(len(whole)):
        bytewise.receive(whole[at : at + 1])
    assert bytewise.received == expected.received
    assert bytewise.take_output() == expected.take_output() == b"\xd0\0"


def said(connection: Connection) -> list[tuple[str, int, bool, bool, int, bytes, int]]:
    """Each message that came, whatever run it is of."""
    return [
        (run.label.topic + str(run.label.headers), run.qos, run.dup, run.retain, packet_id, payload, run.refusal)
        for run in runs(connection)
        for packet_id, payload in zip(run.packet_ids or [0] * len(run.payloads), run.payloads, strict=True)
    ]


@pytest.mark.parametrize("version", [4, 5])
def test_one_packet_in_a_read_says_the_same_as_many(version: int) -> None:
    def user(name: str) -> bytes:
        return b"\x26" + text(name) + text("v") if version == 5 else b""

    packets = [
        publish("a", 1, b"x", version=version, properties=user("k")),
        publish("a", 2, b"y", version=version, properties=user("k")),
        publish("a", 3, b"y", version=version, properties=user("l")),
        publish("a", 4, b"z", version=version, properties=user("l"), dup=True),
        publish("a", 5, b"z", version=version, properties=user("l"), retain=True),
        publish("a", 6, b"z", version=version, properties=user("l"), qos=2),
        publish("a", 7, b"zz", version=version, properties=user("l"), qos=2),
        publish("b", 8, b"zz", version=version, properties=user("l"), qos=2),
        publish("b", 0, b"zzzz", version=version, properties=user("l"), qos=0),
        publish("b", 0, b"zzzz", version=version, properties=user("l"), qos=0),
        publish("b", 9, b"", version=version, properties=user("l")),
        publish("b", 10, b"", version=version, properties=user("l")),
    ]
    together, apart = (connected(version, limits=Limits(1000, 100)) for _ in range(2))
    together.receive(b"".join(packets))
    for each in packets:
        apart.receive(each)
    assert len(said(apart)) == len(packets)
    assert said(apart) == said(together)
    assert (apart.unanswered, apart.waiting_bytes) == (together.unanswered, together.waiting_bytes)


@pytest.mark.parametrize(("version", "ends"), [(4, True), (5, False)])
def test_a_topic_that_is_not_allowed_is_not_allowed_twice(version: int, ends: bool) -> None:
    connection = connected(version, limits=Limits(1000, 100))
    for packet_id in (1, 2):
        connection.receive(publish("forbidden", packet_id, b"x", version=version))
    assert bool(connection.ended) == ends
    assert [run.refusal for run in runs(connection)] == ([] if ends else [Reason.NOT_AUTHORIZED] * 2)


def test_packet_id_0_is_none_also_in_the_second_message() -> None:
    connection = connected(limits=Limits(1000, 100))
    connection.receive(publish("a", 1, b"x"))
    connection.receive(publish("a", 0, b"x"))
    assert connection.ended is not None and connection.ended.code == Reason.PROTOCOL_ERROR


def test_the_share_holds_for_messages_that_come_one_by_one() -> None:
    connection = connected()
    for packet_id in range(1, 6):
        connection.receive(publish("a", packet_id, b"x"))
    assert len(runs(connection)) == LIMITS.max_inflight
    assert len(answered(connection)) == 4 * LIMITS.max_inflight
    connection.resume()
    assert [run.packet_ids for run in runs(connection)] == [[4, 5]]


def test_answers_come_in_the_order_of_the_messages() -> None:
    connection = connected(limits=Limits(1000, 100))
    connection.receive(
        publish("a", 1, b"x")
        + publish("a", 2, b"x", qos=2)
        + publish("a", 3, b"x")
        + publish("a", 0, b"x", qos=0)
        + pubrel(2)
    )
    assert answered(connection) == b"\x40\x02\0\x01\x50\x02\0\x02\x40\x02\0\x03\x70\x02\0\x02"
    assert (connection.unanswered, connection.waiting_bytes) == (0, 0)


def test_properties_count_in_what_waits_for_the_store() -> None:
    large = b"\x26" + text("name") + text("v" * 600)
    for together in (True, False):
        connection = connected(5, limits=Limits(1000, 100))
        packets = [publish("a", packet_id, b"x", version=5, properties=large) for packet_id in (1, 2, 3)]
        for each in [b"".join(packets)] if together else packets:
            connection.receive(each)
        assert connection.waiting_bytes > 3 * 600


def test_a_release_of_something_unknown_is_answered_and_under_mqtt_5_said() -> None:
    old, new = connected(), connected(5)
    for connection in (old, new):
        connection.receive(pubrel(7) + pubrel(8))
        release = connection.received[0]
        assert isinstance(release, Release)
        release.unknown = [7]
    assert answered(old) == b"\x70\x02\0\x07\x70\x02\0\x08"
    assert answered(new) == b"\x70\x03\0\x07\x92\x70\x02\0\x08"


def test_nobody_subscribes_here_and_the_connection_stays() -> None:
    old, new = connected(), connected(5)
    old.receive(subscribe(5, "a/#", "b") + unsubscribe(6, "a/#") + PINGREQ)
    new.receive(subscribe(5, "a/#", "b", version=5) + unsubscribe(6, "a/#", version=5) + PINGREQ)
    assert old.take_output() == b"\x90\x04\0\x05\x80\x80\xb0\x02\0\x06\xd0\0"
    assert new.take_output() == b"\x90\x05\0\x05\0\x8f\x8f\xb0\x04\0\x06\0\x11\xd0\0"
    assert old.ended is None and new.ended is None


@pytest.mark.parametrize("version", [4, 5])
def test_a_client_is_read_no_further_than_its_share(version: int) -> None:
    connection = connected(version)
    connection.receive(b"".join(publish("a", number, b"x", version=version) for number in range(1, 6)) + PINGREQ)
    assert connection.full
    assert runs(connection)[0].packet_ids == [1, 2, 3]
    assert connection.take_output() == b""
    assert answered(connection) == b"\x40\x02\0\x01\x40\x02\0\x02\x40\x02\0\x03"
    connection.resume()
    assert runs(connection)[0].packet_ids == [4, 5]
    assert connection.take_output() == b"\xd0\0"


def test_under_mqtt_5_a_client_is_told_the_limits() -> None:
    connection = Connection(LIMITS, labels())
    connection.receive(connect(version=5, keep_alive_s=0))
    connection.accept(lambda topic: True, session_present=False, assigned_client_id="pump-1")
    said = connection.take_output()
    assert said[:4] == bytes([0x20, len(said) - 2, 0, 0])
    for one in (
        b"\x21\0\x03",
        b"\x27\0\0\x03\xe8",
        b"\x22\0\x20",
        b"\x13\x0e\x10",
        b"\x12\0\x06pump-1",
        b"\x28\0\x29\0\x2a\0",
    ):
        assert one in said
    assert connection.keep_alive_s == 3600


def test_properties_become_headers_and_what_differs_in_them_is_another_run() -> None:
    connection = connected(5, limits=Limits(1000, 100))
    unit = b"\x26" + text("unit") + text("bar")
    more = unit + b"\x03" + text("text/csv") + b"\x08" + text("re") + b"\x09" + text(b"\0\1")
    plain = publish("a", 1, b"x", version=5)
    connection.receive(plain + publish("a", 2, b"x", version=5, properties=more) + publish("a", 3, b"x", version=5))
    first, second, third = runs(connection)
    assert first.label.headers == (("mqtt.topic", b"a"),)
    assert (second.label.content_type, second.label.headers) == (
        "text/csv",
        (
            ("mqtt.topic", b"a"),
            ("mqtt.response_topic", b"re"),
            ("mqtt.correlation_data", b"\0\1"),
            ("mqtt.user.unit", b"bar"),
        ),
    )
    assert first.digests == third.digests != second.digests


def test_a_topic_alias_stands_for_the_topic_it_was_given_with() -> None:
    connection = connected(5, limits=Limits(1000, 100))
    alias = b"\x23\0\x01"
    named = publish("a", 1, b"x", version=5, properties=alias)
    connection.receive(named + publish("", 2, b"y", version=5, properties=alias) * 2)
    connection.receive(
        publish("b", 3, b"x", version=5, properties=alias) + publish("", 4, b"y", version=5, properties=alias)
    )
    assert [(run.label.topic, len(run.payloads)) for run in runs(connection)] == [
        ("a", 1),
        ("a", 2),
        ("b", 1),
        ("b", 1),
    ]


def test_a_will_is_left_only_by_a_client_that_takes_its_leave() -> None:
    behind = text("gone") + text(b"bye")
    leaving, leaving_with_will, lost = (
        connected(version, flags=0x2E, behind=b"\0" * (version == 5) + behind) for version in (4, 5, 4)
    )
    leaving.receive(DISCONNECT)
    leaving_with_will.receive(b"\xe0\x01\x04")
    assert lost.will is not None
    assert (lost.will.topic, lost.will.payload, lost.will.qos, lost.will.retain) == (b"gone", b"bye", 1, True)
    assert leaving.will is None and leaving.ended and leaving.ended.code == 0
    assert leaving_with_will.will is not None and leaving_with_will.ended


def test_a_topic_that_is_not_allowed_ends_3_1_1_and_is_answered_under_5() -> None:
    old, new = connected(), connected(5)
    old.receive(publish("a", 1, b"x") + publish("forbidden", 2, b"x"))
    new.receive(publish("forbidden", 2, b"x", version=5) + publish("forbidden", 3, b"x", version=5, qos=2))
    assert old.ended is not None and old.ended.code == 0x87
    assert [run.label.topic for run in runs(old)] == ["a"]
    assert [run.refusal for run in runs(new)] == [0x87, 0x87]
    assert answered(new) == b"\x40\x03\0\x02\x87\x50\x03\0\x03\x87"
    assert new.ended is None


def test_what_no_stream_can_be_named_after_is_not_answered_as_if_it_were_stored() -> None:
    connection = connected(5, limits=Limits(10_000, 10))
    connection.receive(publish("k" * 1100, 2, b"x", version=5))
    assert answered(connection) == b"\x40\x03\0\x02\x90"


MALFORMED = {
    "no CONNECT first": (None, publish("a", 1, b"x"), 0x82),
    "a ping first": (None, PINGREQ, 0x82),
    "another protocol": (None, packet(0x10, text("MQIsdp") + b"\x03\x02\0\x3c" + text("c")), 0x84),
    "another version": (None, connect(version=6), 0x84),
    "a reserved connect flag": (None, connect(flags=3), 0x81),
    "will flags without a will": (None, connect(flags=0x0A), 0x81),
    "a will of QoS 3": (None, connect(flags=0x1E, behind=text("t") + text("p")), 0x81),
    "a password without a user": (None, connect(flags=0x42, behind=text("p")), 0x81),
    "a will on a filter": (None, connect(flags=0x06, behind=text("t/#") + text("p")), 0x90),
    "a CONNECT that ends early": (None, packet(0x10, text("MQTT") + b"\x04\x02\0"), 0x81),
    "a CONNECT with more behind it": (None, connect(behind=b"x"), 0x81),
    "a client id that is no UTF-8": (None, packet(0x10, text("MQTT") + b"\x04\x02\0\x3c" + text(b"\xff")), 0x81),
    "an authentication method": (None, connect(version=5, properties=b"\x15" + text("SCRAM")), 0x8C),
    "a property twice": (None, connect(version=5, properties=b"\x21\0\x01" * 2), 0x82),
    "a receive maximum of 0": (None, connect(version=5, properties=b"\x21\0\0"), 0x82),
    "a property of another packet": (None, connect(version=5, properties=b"\x23\0\x01"), 0x82),
    "an unknown property": (None, connect(version=5, properties=b"\x7f"), 0x81),
    "CONNECT twice": (4, connect(), 0x82),
    "packet type 0": (4, b"\0\0", 0x82),
    "a PUBACK from a client": (4, packet(0x40, b"\0\1"), 0x82),
    "AUTH": (5, packet(0xF0, b""), 0x82),
    "QoS 3": (4, packet(0x36, text("a") + b"\0\1x"), 0x81),
    "DUP at QoS 0": (4, packet(0x38, text("a") + b"x"), 0x81),
    "packet id 0": (4, publish("a", 0, b"x"), 0x82),
    "packet id 0 among others": (4, publish("a", 1, b"x") + publish("a", 0, b"x"), 0x82),
    "an empty topic": (4, publish("", 1, b"x"), 0x90),
    "a wildcard in a topic": (4, publish("a/+", 1, b"x"), 0x90),
    "a topic with U+0000": (4, publish("a\0b", 1, b"x"), 0x81),
    "a topic longer than its packet": (4, packet(0x32, b"\xff\xffab"), 0x81),
    "a PUBLISH without a packet id": (4, packet(0x32, text("a")), 0x81),
    "properties longer than their packet": (5, packet(0x32, text("a") + b"\0\1\x7f"), 0x81),
    "a subscription identifier from a client": (5, publish("a", 1, b"x", version=5, properties=b"\x0b\x01"), 0x82),
    "no topic and no alias": (5, publish("", 1, b"x", version=5), 0x82),
    "an alias for nothing": (5, publish("", 1, b"x", version=5, properties=b"\x23\0\x01"), 0x82),
    "alias 0": (5, publish("a", 1, b"x", version=5, properties=b"\x23\0\0"), 0x94),
    "an alias too high": (5, publish("a", 1, b"x", version=5, properties=b"\x23\xff\xff"), 0x94),
    "a length of five bytes": (4, b"\x32\xff\xff\xff\xff\x01", 0x81),
    "a packet that is too large": (4, b"\x32\xff\x7f", 0x95),
    "a PUBREL with wrong flags": (4, packet(0x60, b"\0\1"), 0x81),
    "a PUBREL of packet id 0": (4, pubrel(0), 0x82),
    "a SUBSCRIBE with wrong flags": (4, packet(0x80, b"\0\1" + text("a") + b"\1"), 0x81),
    "a SUBSCRIBE of nothing": (4, packet(0x82, b"\0\1"), 0x82),
    "a SUBSCRIBE with QoS 3": (4, packet(0x82, b"\0\1" + text("a") + b"\3"), 0x81),
    "an UNSUBSCRIBE of nothing": (4, packet(0xA2, b"\0\1"), 0x82),
    "a PINGREQ with a body": (4, packet(0xC0, b"x"), 0x81),
    "a DISCONNECT with a body": (4, packet(0xE0, b"\0"), 0x81),
    "a session that begins with its end": (5, packet(0xE0, b"\0\x05\x11\0\0\0\x01"), 0x82),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_breaks_the_protocol_ends_the_connection(name: str) -> None:
    version, sent, code = MALFORMED[name]
    connection = Connection(LIMITS, labels()) if version is None else connected(version)
    connection.receive(sent)
    assert connection.ended is not None
    assert connection.ended.code == code, connection.ended
    if version == 5:
        assert connection.take_output() == bytes([0xE0, 1, code])


@pytest.mark.parametrize("name", MALFORMED)
def test_what_breaks_the_protocol_is_found_however_it_is_cut(name: str) -> None:
    version, sent, code = MALFORMED[name]
    for cut in range(1, len(sent)):
        connection = Connection(LIMITS, labels()) if version is None else connected(version)
        connection.receive(sent[:cut])
        connection.receive(sent[cut:])
        assert connection.ended is not None
        assert connection.ended.code == code, connection.ended
