"""What a transaction holds is readable together or not at all, in one piece, whatever happens around it."""

from __future__ import annotations

from uuid import UUID

import pytest

from storage import Append, FakeClock, Frame, SegmentStore, StreamConfig, Ticket
from storage.errors import (
    StorageError,
    StreamSealedError,
    TooLargeError,
    TransactionEndedError,
    UnknownStreamError,
    UnknownTransactionError,
    WriterNumberGapError,
)
from storage.model import Position, TransactionState
from storage.transactions import transactions
from storage.transactions.transaction import Transaction
from tests.storage.conftest import Reopen

ABORTED, COMMITTED, COMMITTING, OPEN = (
    TransactionState.ABORTED,
    TransactionState.COMMITTED,
    TransactionState.COMMITTING,
    TransactionState.OPEN,
)


def append(store: SegmentStore, payload: bytes, stream: str = "s", key: str = "") -> Ticket:
    return store.submit([Append(stream, [Frame([payload], key)])])


def payloads(store: SegmentStore, stream: str = "s") -> list[bytes]:
    return [event.payload for event in store.read(stream)]


def fill(transaction: Transaction, store: SegmentStore, *payloads: bytes) -> None:
    """Each in a commit of its own."""
    for payload in payloads:
        transaction.append(payload).result()


@pytest.mark.usefixtures("pointers")
def test_it_is_seen_by_nobody_until_its_commit_and_then_in_one_piece(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("s")
    store.create_stream("t")
    with store.transaction("s", "t") as transaction:
        transaction.append(b"1", stream="s").result()
        append(store, b"between").result()
        transaction.append(b"2", stream="s").result()
        transaction.append(b"other", stream="t").result()
        assert (payloads(store), payloads(store, "t")) == ([b"between"], [])
        assert store.stream("s").segments[0].events == 1
        assert store.check().findings == []
    for _ in range(2):
        assert (payloads(store), payloads(store, "t")) == ([b"between", b"1", b"2"], [b"other"])
        assert store.transaction_state(transaction.id) is COMMITTED
        assert store.check().findings == []
        store = reopen()
    append(store, b"after").result()
    assert payloads(store) == [b"between", b"1", b"2", b"after"]
    assert store.check().findings == []


def test_what_is_appended_and_committed_in_one_commit_leaves_no_shadow(store: SegmentStore) -> None:
    store.create_stream("s")
    before = store.last_commit
    append(store, b"0")
    transaction = store.begin_transaction(["s"])
    transaction.append(b"1")
    append(store, b"2")
    assert transaction.commit().commit == before + 1
    assert payloads(store) == [b"0", b"2", b"1"]
    assert [key.stream for key in store._catalog.segments] == [1]
    assert store.check().findings == []


def test_on_an_error_inside_nothing_of_it_is_ever_seen(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("s")
    with pytest.raises(ZeroDivisionError), store.transaction("s") as transaction:
        transaction.append(b"1").result()
        transaction.append(b"2")
        raise ZeroDivisionError
    append(store, b"3").result()
    assert transaction.state is ABORTED
    store = reopen()
    assert payloads(store) == [b"3"]
    assert store.transaction_state(transaction.id) is ABORTED
    assert [key.stream for key in store._catalog.segments] == [1]
    assert store.check().findings == []


def test_the_end_of_a_transaction_is_final_and_may_be_asked_for_again(store: SegmentStore) -> None:
    store.create_stream("s")
    transaction = store.begin_transaction(["s"])
    transaction.append(b"1")
    first = transaction.commit()
    assert transaction.commit().commit == first.commit
    assert payloads(store) == [b"1"]
    with pytest.raises(TransactionEndedError, match="committed"):
        transaction.abort()
    with pytest.raises(TransactionEndedError):
        transaction.append(b"2")
    other = store.begin_transaction(["s"])
    other.append(b"2")
    other.abort()
    other.abort()
    with pytest.raises(TransactionEndedError, match="aborted"):
        other.commit()
    assert payloads(store) == [b"1"]
    with pytest.raises(UnknownTransactionError):
        store.commit_transaction(UUID(int=7))
    assert store.transaction_state(UUID(int=7)) is None
    assert store.transaction_state(other.id) is ABORTED


def test_an_open_transaction_goes_on_after_the_store_was_reopened(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("s")
    chosen = UUID(int=5)
    store.begin_transaction(["s"], transaction=chosen).append(b"1").result()
    store = reopen()
    assert store.transaction_state(chosen) is OPEN
    again = store.resume_transaction(chosen)
    again.append(b"2")
    assert payloads(store) == []
    again.commit()
    assert payloads(store) == [b"1", b"2"]
    assert store.begin_transaction(["s"]).id != chosen
    with pytest.raises(TransactionEndedError):
        store.resume_transaction(chosen).append(b"3")


def test_cursors_and_tables_go_with_the_commit(store: SegmentStore) -> None:
    store.create_stream("s")
    table = store.table("t")
    transaction = store.begin_transaction(["s"])
    transaction.append(b"1").result()
    assert store.cursor("file") is None
    transaction.commit({"file": b"at 100"}, [table.change("k", b"v")])
    assert store.cursor("file") == b"at 100"
    assert table.get("k") is not None


def test_a_stream_that_has_had_all_its_segments_goes_on_as_it_is(
    store: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.scaling.MAX_SEGMENTS", 3)
    store.create_stream("s")
    transaction = store.begin_transaction(["s"])
    transaction.append(b"1").result()
    first = store.stream("s").segments[0]
    store.scale("s", [first.id], first.keys.split(2))
    other = store.stream("s").segments[1]
    with pytest.raises(StorageError, match="had 3 segments"):
        store.scale("s", [other.id], other.keys.split(2))
    with pytest.raises(StorageError, match="had 3 segments"):
        transaction.commit()
    transaction.abort()
    with store.transaction("s") as transaction:
        transaction.append(b"2").result()
    assert payloads(store) == [b"2"]


def test_a_stream_that_was_sealed_meanwhile_takes_no_commit(store: SegmentStore) -> None:
    store.create_stream("s")
    store.create_stream("t")
    transaction = store.begin_transaction(["s", "t"])
    transaction.append(b"1", stream="s")
    transaction.append(b"1", stream="t").result()
    store.seal("t")
    with pytest.raises(StreamSealedError):
        transaction.commit()
    assert transaction.state is OPEN
    assert payloads(store) == payloads(store, "t") == []
    transaction.abort()
    assert store.check().findings == []


def test_a_context_whose_lease_ended_inside_raises(store: SegmentStore, clock: FakeClock) -> None:
    store.create_stream("s")
    with pytest.raises(TransactionEndedError), store.transaction("s", lease_s=5) as transaction:
        transaction.append(b"1").result()
        clock.advance(6)
        store.expire_transactions()
    assert payloads(store) == []


@pytest.mark.usefixtures("pointers")
def test_writers_numbers_are_committed_with_it_and_a_repeat_is_not_stored_again(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("s")
    writer = store.writer("s", "plc")
    writer.append_many([b"0", b"1"]).result()
    first = store.begin_transaction(["s"])
    first.append_many([b"1", b"2", b"3"], writer="plc", number=1).result()
    again = store.begin_transaction(["s"])
    again.append_many([b"2", b"3"], writer="plc", number=2).result()
    with pytest.raises(WriterNumberGapError):
        again.append(b"9", writer="plc", number=9).result()
    again.abort()
    again = store.begin_transaction(["s"])
    again.append_many([b"2", b"3"], writer="plc", number=2).result()
    assert store.last_number("s", "plc") == 1
    first.commit()
    assert store.last_number("s", "plc") == 3
    receipt = again.commit()
    assert (receipt.stored, receipt.duplicates) == (0, 2)
    assert again.state is COMMITTED
    store = reopen()
    assert store.last_number("s", "plc") == 3
    writer = store.writer("s", "plc")
    writer.append(b"4").result()
    assert payloads(store) == [b"0", b"1", b"2", b"3", b"4"]
    assert [event.number for event in store.read("s")] == [0, 1, 2, 3, 4]
    assert store.check().findings == []


def test_a_transaction_half_of_which_is_stored_is_refused(store: SegmentStore) -> None:
    store.create_stream("s")
    transaction = store.begin_transaction(["s"])
    transaction.append_many([b"0", b"1"], writer="w", number=0).result()
    store.writer("s", "w").append(b"0").result()
    with pytest.raises(TransactionEndedError, match="1 of which are stored"):
        transaction.commit()
    transaction.abort()
    assert payloads(store) == [b"0"]


def test_an_append_that_was_refused_refuses_the_commit(store: SegmentStore) -> None:
    store.create_stream("s")
    with pytest.raises(WriterNumberGapError), store.transaction("s") as transaction:
        transaction.append(b"0", writer="w", number=0)
        transaction.append(b"5", writer="w", number=5)
    store.commit()
    assert transaction.state is ABORTED
    assert payloads(store) == []


def test_what_cannot_be_one_transaction_is_refused_when_it_begins(store: SegmentStore) -> None:
    store.create_stream("s")
    store.create_stream("least", StreamConfig(priority=1))
    store.create_stream("sealed")
    store.seal("sealed")
    store.revisioned("state")
    for streams, why in (
        (["s", "least"], "same when_full and priority"),
        (["sealed"], "sealed"),
        (["state"], "of kind state"),
        ([], "at least one"),
    ):
        with pytest.raises(StorageError, match=why):
            store.begin_transaction(streams)
    with pytest.raises(UnknownStreamError):
        store.begin_transaction(["nowhere"])
    with pytest.raises(StorageError, match="lease"):
        store.begin_transaction(["s"], lease_s=0)
    transaction = store.begin_transaction(["s"])
    with pytest.raises(StorageError, match="not of stream 'least'"):
        transaction.append(b"1", stream="least").result()


def test_its_size_is_limited(store: SegmentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "MAX_TRANSACTION_APPENDS", 3)
    store.create_stream("s")
    monkeypatch.setattr(store.transactions, "_most_bytes", 1000)
    transaction = store.begin_transaction(["s"])
    transaction.append(bytes(900)).result()
    with pytest.raises(StorageError, match="at most 1000"):
        transaction.append(bytes(900)).result()
    with pytest.raises(StorageError, match="at most 1000"):
        transaction.commit()
    transaction.abort()
    transaction = store.begin_transaction(["s"])
    for _ in range(3):
        transaction.append(b"1")
    with pytest.raises(TooLargeError):
        transaction.append(b"1")


def test_the_receipt_says_where_each_stream_s_first_event_stands(store: SegmentStore) -> None:
    store.create_stream("s")
    store.create_stream("t")
    append(store, b"0", "t").result()
    transaction = store.begin_transaction(["s", "t"])
    transaction.append(b"1", stream="t").result()
    receipt = transaction.commit()
    assert receipt.positions[0] is None
    position = receipt.positions[1]
    assert isinstance(position, Position)
    assert [event.payload for event in store.read("t", position)] == [b"1"]


def test_what_ended_long_ago_is_forgotten(store: SegmentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.transactions.taking.MAX_REMEMBERED", 3)
    store.create_stream("s")
    ended = []
    for number in range(6):
        with store.transaction("s") as transaction:
            transaction.append(b"%d" % number).result()
        ended.append(transaction)
    assert [each.state for each in ended] == [None] * 3 + [COMMITTED] * 3
    assert len(payloads(store)) == 6
    assert store.check().findings == []
