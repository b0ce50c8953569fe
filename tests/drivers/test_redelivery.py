"""The redelivery rule against a model of a broker: what comes again is recognised, what is new never taken for it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from drivers.contract import DriverError
from drivers.mqtt.redelivery import Redelivery, SessionState, Verdict

SESSION = "broker:1883/edge-a-b"


def digest_of(payload: int) -> bytes:
    return payload.to_bytes(4, "big")


class BrokerAndGateway(RuleBasedStateMachine):
    """A broker with a persistent session, a gateway that is killed at any moment, and a store that commits.

    Packet ids and payloads come from small ranges, so that both repeat often. What the protocol leaves open is left out:
    the connection does not end in the situation of exception 3 of the driver's specification. The broker sends again,
    with DUP set and in order, what has no PUBACK when the gateway connects; a PUBACK may be lost with the connection.
    """

    def __init__(self) -> None:
        super().__init__()
        self.serials = count()
        self.published: list[int] = []
        self.held: dict[int, tuple[int, int]] = {}  # at the broker, in flight: packet id -> (serial, payload)
        self.to_gateway: list[tuple[int, bool]] = []
        self.to_broker: list[int | None] = []  # PUBACKs, and None for the request of a proof, as written
        self.answer_under_way = False
        self.uncommitted: list[tuple[int, int]] = []  # (packet id, serial) in the order of arrival
        self.unacknowledged: list[int] = []
        self.stored: list[int] = []
        self.disk: Mapping[int, bytes] = {}
        self.redelivery = Redelivery()

    @rule(payload=st.integers(0, 2))
    @precondition(lambda self: self.free_ids())
    def publish(self, payload: int) -> None:
        serial = next(self.serials)
        self.published.append(serial)
        packet_id = self.free_ids()[0]
        self.held[packet_id] = (serial, payload)
        self.to_gateway.append((packet_id, False))

    def free_ids(self) -> list[int]:
        return [packet_id for packet_id in range(1, 6) if packet_id not in self.held]

    def ambiguous(self) -> bool:
        """A message not on disk is equal to a candidate that has its packet id: exception 3."""
        return any(
            serial not in self.stored and self.disk.get(packet_id) == digest_of(payload)
            for packet_id, (serial, payload) in self.held.items()
        )

    @rule()
    @precondition(lambda self: self.to_gateway)
    def receive(self) -> None:
        packet_id, dup = self.to_gateway.pop(0)
        serial, payload = self.held[packet_id]
        verdict = self.redelivery.received(packet_id, dup, digest_of(payload))
        assert verdict is not Verdict.UNDER_WAY
        if verdict is Verdict.NEW:
            self.uncommitted.append((packet_id, serial))
        else:
            self.unacknowledged.append(packet_id)

    @rule()
    def commit(self) -> None:
        """Data and candidates are one write."""
        self.stored += [serial for _, serial in self.uncommitted]
        self.unacknowledged += [packet_id for packet_id, _ in self.uncommitted]
        self.uncommitted.clear()
        self.disk = SessionState.from_bytes(
            SessionState(SESSION, (), self.redelivery.candidates()).to_bytes()
        ).candidates

    @rule()
    @precondition(lambda self: self.unacknowledged)
    def acknowledge(self) -> None:
        packet_id = self.unacknowledged.pop(0)
        self.redelivery.acknowledged([packet_id])
        self.to_broker.append(packet_id)

    @rule()
    @precondition(lambda self: not self.redelivery.asking)
    def ask(self) -> None:
        self.redelivery.ask(resent=not any(dup for _, dup in self.to_gateway))
        self.to_broker.append(None)

    @rule()
    @precondition(lambda self: self.to_broker)
    def broker_reads(self) -> None:
        """One packet, in the order in which the gateway wrote them."""
        packet_id = self.to_broker.pop(0)
        if packet_id is None:
            self.answer_under_way = True
        else:
            self.held.pop(packet_id, None)

    @rule()
    @precondition(lambda self: self.answer_under_way)
    def answer_arrives(self) -> None:
        self.redelivery.answered()
        self.answer_under_way = False

    @rule(killed=st.booleans())
    @precondition(lambda self: not self.ambiguous())
    def connection_ends(self, killed: bool) -> None:
        """With or without a kill: what is not committed is gone, and the next connection starts from the disk."""
        if not killed:
            self.commit()
        self.uncommitted.clear()
        self.unacknowledged.clear()
        self.to_broker.clear()
        self.answer_under_way = False
        self.redelivery = Redelivery(self.disk)
        sent_before = {packet_id for packet_id, _ in self.to_gateway}
        assert sent_before <= set(self.held)
        self.to_gateway = [(packet_id, True) for packet_id in self.held]

    @invariant()
    def nothing_is_stored_twice(self) -> None:
        assert len(self.stored) == len(set(self.stored))

    @invariant()
    def what_the_broker_has_let_go_of_is_stored(self) -> None:
        held = {serial for serial, _ in self.held.values()}
        assert set(self.published) - held <= set(self.stored)

    @invariant()
    def order_is_kept(self) -> None:
        assert self.stored == sorted(self.stored)

    def teardown(self) -> None:
        """Left alone, everything arrives."""
        for _ in range(3):
            while self.to_gateway:
                self.receive()
            self.commit()
            while self.unacknowledged:
                self.acknowledge()
            while self.to_broker:
                self.broker_reads()
        assert self.stored == self.published


TestBrokerAndGateway = BrokerAndGateway.TestCase
TestBrokerAndGateway.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)


def test_the_same_message_twice_on_one_connection_is_acknowledged_once() -> None:
    redelivery = Redelivery()
    assert redelivery.received(1, False, digest_of(1)) is Verdict.NEW
    assert redelivery.received(1, True, digest_of(1)) is Verdict.UNDER_WAY
    redelivery.acknowledged([1])
    assert redelivery.received(1, True, digest_of(1)) is Verdict.DUPLICATE


def test_without_dup_an_equal_message_under_the_same_id_is_new() -> None:
    assert Redelivery({1: digest_of(1)}).received(1, False, digest_of(1)) is Verdict.NEW


def test_with_dup_another_message_under_the_same_id_is_new() -> None:
    assert Redelivery({1: digest_of(1)}).received(1, True, digest_of(2)) is Verdict.NEW


def test_a_proof_covers_what_was_acknowledged_before_it_was_asked_for() -> None:
    redelivery = Redelivery()
    for packet_id in (1, 2, 3):
        redelivery.received(packet_id, False, digest_of(packet_id))
    redelivery.acknowledged([1, 2])
    redelivery.ask(resent=False)
    redelivery.acknowledged([3])
    redelivery.received(2, False, digest_of(9))
    assert redelivery.answered()
    assert redelivery.candidates() == {3: digest_of(3), 2: digest_of(9)}


def test_candidates_of_an_earlier_connection_wait_for_the_resending() -> None:
    redelivery = Redelivery({1: digest_of(1)})
    redelivery.ask(resent=False)
    redelivery.answered()
    assert redelivery.candidates() == {1: digest_of(1)}
    redelivery.ask(resent=True)
    redelivery.answered()
    assert redelivery.candidates() == {}


def test_the_state_survives_being_stored() -> None:
    state = SessionState(SESSION, ("site/+/ä", "b"), {1: digest_of(1), 65_535: b"\xff" * 4})
    assert SessionState.from_bytes(state.to_bytes()) == state


@pytest.mark.parametrize("raw", [b"", b"\x02" + bytes(8), SessionState(SESSION).to_bytes() + b"123"])
def test_a_state_that_cannot_be_read_says_what_to_do(raw: bytes) -> None:
    with pytest.raises(DriverError, match="give the source another name"):
        SessionState.from_bytes(raw)
