"""Single appends that wait side by side are stored as one frame; each keeps the promises of one that came alone."""

from __future__ import annotations

from collections import Counter

import pytest

from storage import Event, Position, RetentionPolicy, SegmentStore, StreamConfig, Ticket, queue
from storage.errors import StoreBusyError, StoreClosedError, StoreFullError, TooLargeError, WriterNumberGapError
from storage.frame import FRAME_TARGET_BYTES
from storage.kv.memory import MemoryTwin


@pytest.fixture
def store() -> SegmentStore:
    store = SegmentStore.in_memory(MemoryTwin())
    store.create_stream("s", StreamConfig())
    store.own_commits()
    return store


def stored(store: SegmentStore) -> list[bytes]:
    return [event.payload for event in store.read("s")]


def frames(store: SegmentStore) -> int:
    return len({event.position.offset for event in store.read("s")})


def test_each_ticket_tells_where_its_own_event_stands(store: SegmentStore) -> None:
    writer = store.writer("s", "w")
    tickets = [writer.append(b"%d" % number, "k") for number in range(5)]
    assert not any(ticket.done() for ticket in tickets)
    store.commit()
    assert frames(store) == 1
    for ticket, event in zip(tickets, store.read("s"), strict=True):
        receipt = ticket.result()
        assert receipt.positions == (event.position,)
        assert (receipt.commit, receipt.stored, receipt.duplicates) == (store.last_commit, 1, 0)


def test_they_stand_behind_what_the_same_commit_holds_of_that_writer(store: SegmentStore) -> None:
    writer = store.writer("s", "w")
    many = writer.append_many([b"0", b"1"], "k")
    tickets = [writer.append(b"2", "k"), writer.append(b"3", "k")]
    store.commit()
    events = list(store.read("s"))
    assert many.result().positions == (events[0].position,)
    assert [ticket.result().positions[0] for ticket in tickets] == [event.position for event in events[2:]]


def test_what_the_numbers_say_is_stored_is_acknowledged_and_the_rest_stored(store: SegmentStore) -> None:
    first = store.writer("s", "w")
    first.append_many([b"0", b"1"], "k")
    store.commit()
    again = store.writer("s", "w")
    tickets = [again.append(b"%d" % number, "k", number=number) for number in range(4)]
    store.commit()
    assert stored(store) == [b"0", b"1", b"2", b"3"]
    events = list(store.read("s"))
    assert [ticket.result().positions[0] for ticket in tickets] == [None, None, events[2].position, events[3].position]
    assert [(t.result().stored, t.result().duplicates) for t in tickets] == [(0, 1), (0, 1), (1, 0), (1, 0)]


def test_all_of_them_a_second_time_are_acknowledged_and_not_stored(store: SegmentStore) -> None:
    for _ in range(2):
        writer = store.writer("s", "w")
        tickets = [writer.append(b"%d" % number, "k", number=number) for number in range(3)]
        store.commit()
    assert stored(store) == [b"0", b"1", b"2"]
    assert [ticket.result().positions for ticket in tickets] == [(None,)] * 3


def test_behind_a_gap_in_the_numbers_each_of_them_is_refused(store: SegmentStore) -> None:
    writer = store.writer("s", "w")
    writer.append(b"0", "k")
    refused = [writer.append(b"%d" % number, "k", number=number) for number in (2, 3)]
    store.commit()
    for ticket in refused:
        with pytest.raises(WriterNumberGapError, match="number 1 is missing"):
            ticket.result()
    writer.append(b"1", "k", number=1)
    store.commit()
    assert stored(store) == [b"0", b"1"]


def test_appends_are_stored_in_the_order_in_which_they_came_whoever_sent_them(store: SegmentStore) -> None:
    one, other = store.writer("s", "one"), store.writer("s", "other")
    one.append(b"0", "k")
    one.append(b"1", "k")
    other.append(b"2", "k")
    one.append(b"3", "k")
    store.commit()
    assert stored(store) == [b"0", b"1", b"2", b"3"]


def test_only_events_that_share_all_but_payload_join(store: SegmentStore) -> None:
    writer = store.writer("s", "w")
    writer.append(b"0", "k")
    writer.append(b"1", "other key")
    writer.append(b"2", "other key", content_type="text/plain")
    writer.append(b"3", "other key", content_type="text/plain", headers=(("unit", b"bar"),))
    store.commit()
    told = [(e.payload, e.routing_key, e.content_type, e.headers, e.number) for e in store.read("s")]
    assert told == [
        (b"0", "k", "", (), 0),
        (b"1", "other key", "", (), 1),
        (b"2", "other key", "text/plain", (), 2),
        (b"3", "other key", "text/plain", (("unit", b"bar"),), 3),
    ]


def test_who_asks_to_be_called_is_given_the_ticket_that_was_asked(store: SegmentStore) -> None:
    writer = store.writer("s", "w")
    called: list[Ticket] = []
    tickets = [writer.append(b"%d" % number, "k") for number in range(3)]
    for ticket in tickets:
        ticket.on_done(called.append)
    store.commit()
    assert called == tickets
    tickets[1].on_done(called.append)
    assert called[3:] == [tickets[1]]


def test_an_event_that_is_too_large_is_refused_at_once_and_those_before_it_are_stored(store: SegmentStore) -> None:
    writer = store.writer("s", "w")
    writer.append(b"0", "k")
    with pytest.raises(TooLargeError):
        writer.append(bytes((8 << 20) + 1), "k")
    writer.append(b"1", "k")
    store.commit()
    assert stored(store) == [b"0", b"1"]


def test_long_runs_become_frames_of_a_bounded_size(store: SegmentStore) -> None:
    writer = store.writer("s", "w")
    tickets = [writer.append(bytes(200_000), "k") for _ in range(7)]
    store.commit()
    events = list(store.read("s"))
    assert [ticket.result().positions[0] for ticket in tickets] == [event.position for event in events]
    sizes = Counter[int]()
    for event in events:
        sizes[event.position.offset] += len(event.payload)
    assert max(sizes.values()) <= 2 * FRAME_TARGET_BYTES


def test_the_queue_counts_each_of_them(store: SegmentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "QUEUE_APPENDS", 10)
    writer = store.writer("s", "w")
    for _ in range(10):
        writer.append(b"", "k")
    assert store.waiting == 10
    with pytest.raises(StoreBusyError, match="10 appends wait"):
        writer.append(b"", "k")
    store.commit()
    assert store.waiting == 0
    assert writer.append(b"", "k").done() is False


def test_what_waits_when_the_store_is_closed_is_told_to_each(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin)
    store.create_stream("s", StreamConfig())
    store.own_commits()
    writer = store.writer("s", "w")
    tickets = [writer.append(b"%d" % number, "k") for number in range(2)]
    monkeypatch.setattr(store._committer, "commit", lambda: False)
    store.close()
    for ticket in tickets:
        assert isinstance(ticket.error(), StoreClosedError)
        with pytest.raises(StoreClosedError):
            ticket.result()
    with pytest.raises(StoreClosedError):
        writer.append(b"2", "k")


def test_a_commit_that_gave_way_to_another_can_still_be_joined(store: SegmentStore) -> None:
    writer = store.writer("s", "w")
    early = writer.append(b"0", "k")
    committer = store._committer
    pending = committer._build()
    assert pending is not None
    committer._put_back(pending)
    late = writer.append(b"1", "k")
    store.commit()
    assert stored(store) == [b"0", b"1"]
    assert frames(store) == 1
    first = early.result().positions[0]
    assert isinstance(first, Position)
    assert late.result().positions == (first._replace(place=1),)


def test_a_reader_gets_them_one_by_one(store: SegmentStore) -> None:
    writer = store.writer("s", "w")
    for number in range(5):
        writer.append(b"%d" % number, "k")
    store.commit()
    reader = store.reader("s")
    seen = []
    while items := reader.poll(2):
        seen.append([item.payload for item in items if isinstance(item, Event)])
        assert len(items) <= 2
        count = sum(map(len, seen))
        again = next(store.read("s", reader.position), None)
        assert (None if again is None else again.payload) == (b"%d" % count if count < 5 else None)
    assert seen == [[b"0", b"1"], [b"2", b"3"], [b"4"]]


def test_in_a_stream_that_is_bounded_by_itself_each_event_is_asked_for() -> None:
    store = SegmentStore.in_memory(MemoryTwin())
    store.create_stream("s", StreamConfig(retention=RetentionPolicy(max_bytes=3000)))
    writer = store.writer("s", "w")
    writer.append(bytes(2000), "k").result()
    store.own_commits()
    writer.append(b"0", "k")
    with pytest.raises(StoreFullError):
        writer.append(bytes(2000), "k")
