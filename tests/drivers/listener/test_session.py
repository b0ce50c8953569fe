"""Sessions: what is sent again is recognised, what is new is stored, and what is remembered survives and is bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from drivers.contract import MAX_PART_BYTES, DriverError
from drivers.listener.session import MAX_INFLIGHT, MAX_UNRELEASED, Session, SessionError, Taken
from drivers.listener.sessions import NEVER_EXPIRES, Sessions, part_name


@dataclass
class SomeRun:
    qos: int
    dup: bool
    packet_ids: Sequence[int]
    digests: Sequence[int]


def run(qos: int, *messages: tuple[int, int], dup: bool = False) -> SomeRun:
    """Messages as (packet id, digest)."""
    return SomeRun(qos, dup, [packet_id for packet_id, _ in messages], [digest for _, digest in messages])


class Client:
    """One client and its listener's memory. `crash` goes on from what was committed."""

    def __init__(self, *, expiry_s: int = NEVER_EXPIRES, max_inflight: int = 10) -> None:
        self.expiry_s = expiry_s
        self.max_inflight = max_inflight
        self.parts: dict[str, bytes] = {}
        self.sessions = Sessions({}, 0, max_inflight=max_inflight)
        self.session = self.connect()

    def connect(self) -> Session:
        self.session, self.present = self.sessions.connect(
            "pump", clean_start=not self.expiry_s, expiry_s=self.expiry_s
        )
        return self.session

    def reconnect(self) -> None:
        self.sessions.disconnect(self.session, 0)
        self.connect()

    def commit(self) -> None:
        moved = self.parts | self.sessions.parts()
        self.parts = {name: state for name, state in moved.items() if state}

    def crash(self) -> None:
        self.sessions = Sessions(self.parts, 0, max_inflight=self.max_inflight)
        self.connect()

    def sends(self, qos: int, *messages: tuple[int, int], dup: bool = False, answer: bool = True) -> Taken:
        taken = self.session.received(run(qos, *messages, dup=dup))
        if answer:
            self.commit()
            self.session.answered(taken.upto)
        return taken


def is_new(taken: Taken, *packet_ids: int) -> bool:
    stored = range(len(packet_ids)) if taken.stored is None else taken.stored
    return list(stored) == list(range(len(packet_ids))) and taken.answered == list(packet_ids) and not taken.duplicates


def is_known(taken: Taken, *packet_ids: int) -> bool:
    return taken.stored == [] and taken.answered == list(packet_ids) and taken.duplicates == len(packet_ids)


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("lost", ["the connection", "the power"])
def test_what_is_sent_again_with_dup_is_recognised_and_answered(qos: int, lost: str) -> None:
    client = Client()
    assert is_new(client.sends(qos, (1, 0xFFFFFFFF), (65535, 0), (2, 7)), 1, 65535, 2)
    client.crash() if lost == "the power" else client.reconnect()
    assert client.present
    assert is_known(client.sends(qos, (1, 0xFFFFFFFF), (65535, 0), (2, 7), dup=True), 1, 65535, 2)
    assert is_known(client.sends(qos, (1, 0xFFFFFFFF), dup=True), 1)


@pytest.mark.parametrize("qos", [1, 2])
def test_without_dup_or_with_other_bytes_it_is_new(qos: int) -> None:
    client = Client()
    client.sends(qos, (1, 7), (2, 7))
    client.reconnect()
    assert is_new(client.sends(qos, (1, 7)), 1), "the id is used again for an equal message"
    assert is_new(client.sends(qos, (2, 8), dup=True), 2)
    assert is_new(client.sends(qos, (3, 7), dup=True), 3)
    mixed = client.sends(qos, (2, 8), (4, 4), (2, 7), (2, 7), dup=True)
    assert mixed == Taken([1, 2], mixed.answered, mixed.upto, duplicates=2)


def test_the_newest_entry_of_a_packet_id_counts() -> None:
    client = Client()
    client.sends(1, (1, 7), (2, 2), (1, 8))
    client.crash()
    assert is_new(client.sends(1, (1, 7), dup=True), 1)


@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_taken_in_and_not_committed_is_new_after_a_crash(qos: int) -> None:
    client = Client()
    client.sends(qos, (1, 7))
    client.sends(qos, (2, 7), answer=False)
    client.crash()
    assert is_new(client.sends(qos, (2, 7), dup=True), 2)
    assert is_known(client.sends(qos, (1, 7), dup=True), 1)


def test_under_way_on_the_same_connection_one_puback_answers_both() -> None:
    client = Client()
    under_way = client.sends(1, (1, 7), answer=False)
    again = client.sends(1, (1, 7), dup=True, answer=False)
    assert (again.stored, again.answered, again.duplicates) == ([], [], 1)
    client.session.answered(under_way.upto)
    assert is_known(client.sends(1, (1, 7), dup=True), 1)


@pytest.mark.parametrize("qos", [1, 2])
def test_under_way_from_a_connection_that_was_taken_over_it_is_answered_on_the_new_one(qos: int) -> None:
    client = Client()
    client.sends(qos, (1, 7), answer=False)
    client.reconnect()
    assert is_known(client.sends(qos, (1, 7), dup=True, answer=False), 1)
    assert is_new(client.sends(qos, (2, 7), dup=True), 2)


@pytest.mark.parametrize("max_inflight", [1, 3, 10])
def test_the_newest_messages_are_remembered_and_no_more_than_twice_as_many(max_inflight: int) -> None:
    client = Client(max_inflight=max_inflight)
    empty = len(client.session.state())
    for packet_id in range(1, 50 * max_inflight):
        client.sends(1, (packet_id, packet_id))
        assert len(client.session.state()) == empty + 6 * min(packet_id, max_inflight)
        assert len(client.session._ids) <= 2 * max_inflight
    client.crash()
    newest = [(packet_id, packet_id) for packet_id in range(49 * max_inflight, 50 * max_inflight)]
    assert is_known(client.sends(1, *newest, dup=True), *(packet_id for packet_id, _ in newest))
    older = 49 * max_inflight - 1
    assert is_new(client.sends(1, (older, older), dup=True), older)


def test_a_packet_id_is_not_found_across_two_others() -> None:
    client = Client()
    client.sends(1, (0x0201, 1), (0x0403, 2), (0x0605, 3))
    assert is_new(client.sends(1, (0x0302, 1), (0x0504, 2), dup=True), 0x0302, 0x0504)


def test_pubrel_ends_what_is_known_and_is_committed_like_a_message() -> None:
    client = Client()
    client.sends(2, (1, 7), (2, 7))
    assert client.session.released([1, 9]) == [9]
    assert client.session.released([1]) == [1], "the second time it is not known"
    uncommitted = dict(client.parts)
    client.commit()
    assert client.parts != uncommitted
    client.crash()
    assert is_new(client.sends(2, (1, 7), dup=True), 1), "its first sending was lost with us"
    assert is_known(client.sends(2, (2, 7), dup=True), 2)


def test_qos_1_and_2_do_not_know_each_others_messages() -> None:
    client = Client()
    client.sends(1, (1, 7))
    client.sends(2, (2, 7))
    assert is_new(client.sends(2, (1, 7), dup=True), 1)
    assert is_new(client.sends(1, (2, 7), dup=True), 2)


def test_a_client_that_releases_nothing_is_stopped_before_anything_is_taken_in() -> None:
    client = Client()
    client.sends(2, *((packet_id, 0) for packet_id in range(1, MAX_UNRELEASED + 1)))
    assert is_new(client.sends(2, (1, 1)), 1), "no more than there were"
    state = client.session.state()
    with pytest.raises(SessionError, match=r"5000 QoS 2 messages.*PUBREL"):
        client.sends(2, (2, 1), (MAX_UNRELEASED + 1, 0))
    assert client.session.state() == state


def test_the_largest_state_fits_into_a_part() -> None:
    client = Client(max_inflight=MAX_INFLIGHT)
    client.sends(2, *((packet_id, 0) for packet_id in range(1, MAX_UNRELEASED + 1)))
    client.sends(1, *((packet_id, 0) for packet_id in range(1, MAX_INFLIGHT + 1)))
    assert max(map(len, client.parts.values())) <= MAX_PART_BYTES


def test_a_client_without_a_persistent_session_that_repeats_is_believed_and_counted() -> None:
    client = Client(expiry_s=0)
    client.sends(1, (1, 7))
    assert is_known(client.sends(1, (1, 7), dup=True), 1), "on one connection it is certain"
    client.reconnect()
    repeated = client.sends(1, (1, 7), (2, 7), dup=True)
    assert is_new(repeated, 1, 2)
    assert repeated.repeats == 2
    assert client.parts == {}
    assert not client.present


def test_a_persistent_session_counts_no_repeats() -> None:
    client = Client()
    assert client.sends(1, (1, 7), dup=True).repeats == 0


@pytest.mark.parametrize("raw", [b"", b"\x01", b"\x02" + bytes(16), b"\x01" + bytes(17)], ids=range(4))
def test_a_state_that_can_not_be_read_says_so(raw: bytes) -> None:
    with pytest.raises(DriverError, match=r"MQTT session.*newer version; install"):
        Sessions({"x": raw}, 0, max_inflight=10)


# The table


def connect(sessions: Sessions, name: str, *, clean_start: bool = False, expiry_s: int = NEVER_EXPIRES) -> bool:
    """A short visit. Whether the session was present."""
    session, present = sessions.connect(name, clean_start=clean_start, expiry_s=expiry_s)
    sessions.disconnect(session, 0)
    return present


def test_a_session_is_present_after_a_visit_and_after_a_restart_until_a_clean_start() -> None:
    sessions = Sessions({}, 0, max_inflight=10)
    assert not connect(sessions, "a")
    assert connect(sessions, "a")
    parts = sessions.parts()
    assert set(parts) == {part_name("a")}, "committed before it said anything"
    assert sessions.parts() == {}
    sessions = Sessions(parts, 0, max_inflight=10)
    assert connect(sessions, "a")
    assert not connect(sessions, "a", clean_start=True)
    assert set(sessions.parts().values()) != {b""}, "begun anew: replaced"
    assert not connect(sessions, "a", clean_start=True, expiry_s=0)
    assert sessions.parts() == {part_name("a"): b""}
    assert not connect(sessions, "a")


def test_who_begins_anew_is_taken_for_nobody_it_was() -> None:
    sessions = Sessions({}, 0, max_inflight=10)
    old, _ = sessions.connect("a", clean_start=False, expiry_s=60)
    old.received(run(1, (1, 7)))
    sessions.disconnect(old, 0)
    new, _ = sessions.connect("a", clean_start=True, expiry_s=60)
    assert is_new(new.received(run(1, (1, 7), dup=True)), 1)


def test_what_an_ended_session_still_says_is_not_committed() -> None:
    sessions = Sessions({}, 0, max_inflight=10)
    old, _ = sessions.connect("a", clean_start=False, expiry_s=NEVER_EXPIRES)
    old.received(run(1, (1, 7)))
    sessions.disconnect(old, 0)
    sessions.connect("a", clean_start=True, expiry_s=0)
    assert sessions.parts() == {part_name("a"): b""}
    sessions.disconnect(old, 0)
    assert len(sessions) == 0


def test_a_session_that_is_resumed_for_one_connection_ends_with_it() -> None:
    sessions = Sessions({}, 0, max_inflight=10)
    first, _ = sessions.connect("a", clean_start=False, expiry_s=60)
    first.received(run(1, (1, 7)))
    sessions.disconnect(first, 0)
    session, present = sessions.connect("a", clean_start=False, expiry_s=0)
    assert present
    assert session.received(run(1, (1, 7), dup=True)).duplicates == 1
    assert sessions.parts() == {part_name("a"): b""}
    sessions.disconnect(session, 0)
    assert not connect(sessions, "a")


def test_sessions_expire_by_the_time_that_they_asked_for() -> None:
    sessions = Sessions({}, 0, max_inflight=10)
    visits = {}
    for name, expiry_s in {"short": 60, "long": 600, "ever": NEVER_EXPIRES, "there": 60, "changed": 600}.items():
        visits[name], _ = sessions.connect(name, clean_start=False, expiry_s=expiry_s)
    for name in ("short", "long", "ever"):
        sessions.disconnect(visits[name], 1000)
    sessions.disconnect(visits["changed"], 1000, 60)
    parts = sessions.parts()
    sessions.expire(1059)
    assert sessions.parts() == {}
    sessions.expire(1060)
    assert sessions.parts() == {part_name("short"): b"", part_name("changed"): b""}
    again = Sessions(parts, 5000, max_inflight=10)
    again.expire(5060)
    assert set(again.parts()) == {part_name("short"), part_name("changed"), part_name("there")}
    sessions.expire(1e12)
    assert len(sessions) == 2


def test_a_disconnect_that_asks_for_no_session_ends_it() -> None:
    sessions = Sessions({}, 0, max_inflight=10)
    session, _ = sessions.connect("a", clean_start=False, expiry_s=60)
    sessions.disconnect(session, 0, 0)
    assert sessions.parts() == {part_name("a"): b""}


def test_above_the_limit_the_session_unseen_for_longest_is_forgotten() -> None:
    sessions = Sessions({}, 0, max_inflight=10, limit=3)
    there, _ = sessions.connect("there", clean_start=False, expiry_s=NEVER_EXPIRES)
    connect(sessions, "a")
    connect(sessions, "b")
    parts = sessions.parts()
    connect(sessions, "a")
    connect(sessions, "c")
    assert sessions.forgotten == 1
    parts |= sessions.parts()
    assert parts[part_name("b")] == b""
    assert not connect(sessions, "b")
    assert there.connected
    assert not connect(sessions, "a")
    del parts[part_name("b")]
    again = Sessions(parts, 0, max_inflight=10, limit=2)
    assert again.forgotten == 1
    assert connect(again, "c")
    assert connect(again, "a")
    assert not connect(again, "there")


def test_a_connection_is_seen_until_it_ends() -> None:
    sessions = Sessions({}, 0, max_inflight=10, limit=2)
    stays, _ = sessions.connect("stays", clean_start=False, expiry_s=NEVER_EXPIRES)
    connect(sessions, "visits")
    sessions.disconnect(stays, 0)
    connect(sessions, "one more")
    assert connect(sessions, "stays")


def test_where_all_sessions_are_connected_another_is_refused() -> None:
    sessions = Sessions({}, 0, max_inflight=10, limit=2)
    for name in ("a", "b"):
        sessions.connect(name, clean_start=False, expiry_s=NEVER_EXPIRES)
    with pytest.raises(SessionError, match="2 clients"):
        sessions.connect("c", clean_start=False, expiry_s=NEVER_EXPIRES)
    sessions.connect("d", clean_start=True, expiry_s=0)
    assert len(sessions) == 2


@pytest.mark.parametrize("client_id", ["", "a/b", "ü" * 30_000, "\0", "\udc80"])
def test_any_client_id_has_a_name_of_its_own(client_id: str) -> None:
    assert len(part_name(client_id)) == 32
    assert part_name(client_id) != part_name(client_id + "x")
