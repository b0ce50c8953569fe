"""What the judge of the campaign asks for, and what it notices."""

from __future__ import annotations

import pytest

from tests.drivers.judging import judge
from tests.drivers.subscriber_campaign.book import Book, Conversation, Counts, Session

TOPIC = "site/a"


def connected(session: Session, *, present: bool = True) -> Conversation:
    conversation = Conversation(session)
    conversation.connected(present=present)
    return conversation


@pytest.fixture
def conversation() -> Conversation:
    """Three messages, of which the gateway has answered two."""
    conversation = connected(Session(), present=False)
    for packet_id, payload in enumerate([b"1", b"2", b"3"], start=1):
        conversation.published(packet_id, False, TOPIC, payload)
    conversation.acknowledged(1)
    conversation.acknowledged(2)
    return conversation


@pytest.mark.parametrize("stored", [[b"1", b"2"], [b"1", b"2", b"3"]])
def test_what_was_answered_is_owed_and_the_rest_may_be_there(conversation: Conversation, stored: list[bytes]) -> None:
    assert judge(conversation.session.sent(TOPIC), stored).clean


@pytest.mark.parametrize(
    ("stored", "lost", "duplicate", "out_of_order"),
    [
        ([b"1", b"3"], 1, 0, False),
        ([b"1", b"2", b"2"], 0, 1, False),
        ([b"2", b"1"], 0, 0, True),
        ([b"1", b"2", b"4"], 0, 1, False),
        ([], 2, 0, False),
    ],
)
def test_what_is_wrong_is_noticed(
    conversation: Conversation, stored: list[bytes], lost: int, duplicate: int, out_of_order: bool
) -> None:
    verdict = judge(conversation.session.sent(TOPIC), stored)
    assert (verdict.lost, verdict.duplicate, verdict.out_of_order) == (lost, duplicate, out_of_order)
    assert verdict.example


def test_a_redelivery_is_the_same_message_and_an_equal_one_another(conversation: Conversation) -> None:
    again = connected(conversation.session)
    again.published(3, True, TOPIC, b"3")
    again.published(4, False, TOPIC, b"3")
    again.acknowledged(3)
    again.acknowledged(4)
    assert judge(conversation.session.sent(TOPIC), [b"1", b"2", b"3", b"3"]).clean
    assert judge(conversation.session.sent(TOPIC), [b"1", b"2", b"3"]).lost == 1


def test_what_was_answered_and_comes_again_before_the_proof_is_the_same(conversation: Conversation) -> None:
    again = connected(conversation.session)
    again.published(2, True, TOPIC, b"2")
    assert again.session.counts == Counts(redelivered=1, after_puback=1, new_sessions=1)
    assert judge(conversation.session.sent(TOPIC), [b"1", b"2", b"2"]).duplicate == 1


def test_what_a_broker_sends_again_after_its_proof_may_be_there_twice(conversation: Conversation) -> None:
    conversation.asked(9)
    conversation.proved(9)
    again = connected(conversation.session)
    again.published(2, True, TOPIC, b"2")
    assert again.session.counts.forgotten == 1
    for stored in ([b"1", b"2"], [b"1", b"2", b"2"]):
        assert judge(conversation.session.sent(TOPIC), stored).clean


def test_the_proof_covers_what_was_answered_before_it_was_asked_for(conversation: Conversation) -> None:
    conversation.asked(9)
    conversation.acknowledged(3)
    conversation.proved(9)
    assert [message.closed for message in conversation.session.messages] == [True, True, False]


def test_what_was_not_sent_again_is_proved_by_the_next_connection(conversation: Conversation) -> None:
    again = connected(conversation.session)
    again.published(2, True, TOPIC, b"2")
    again.asked(9)
    again.proved(9)
    assert [message.closed for message in conversation.session.messages] == [True, False, False]


def test_an_equal_message_on_a_reused_id_that_is_sent_again_may_be_taken_for_the_first(
    conversation: Conversation,
) -> None:
    conversation.published(1, False, TOPIC, b"1")
    again = connected(conversation.session)
    again.published(1, True, TOPIC, b"1")
    again.acknowledged(1)
    assert again.session.counts.ambiguous == 1
    for stored in ([b"1", b"2"], [b"1", b"2", b"1"]):
        assert judge(conversation.session.sent(TOPIC), stored).clean


def test_in_a_new_session_nothing_is_a_redelivery(conversation: Conversation) -> None:
    again = connected(conversation.session, present=False)
    again.published(2, True, TOPIC, b"2")
    again.acknowledged(2)
    assert judge(conversation.session.sent(TOPIC), [b"1", b"2", b"2"]).clean


def test_an_answer_to_nothing_is_noticed() -> None:
    assert not Book().conversation("edge").acknowledged(7)
