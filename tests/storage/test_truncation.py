"""Truncation: the start moves, offsets never shift, and what was given up is told once and counted."""

from __future__ import annotations

import os

import pytest

from storage import Append, Event, Frame, Position, SegmentStore
from storage.retention.drops import Dropped
from tests.storage.conftest import Reopen


def fill(store: SegmentStore, commits: int, stream: str = "s", events: int = 2) -> list[Event]:
    if not store.has_stream(stream):
        store.create_stream(stream)
    writer = store.writer(stream, "w")
    for number in range(commits):
        writer.append_many([b"%d.%d" % (number, i) for i in range(events)], f"k{number % 3}").result()
    return list(store.read(stream))


def test_offsets_stay_and_the_rest_is_read_as_before(reopen: Reopen) -> None:
    store = reopen()
    events = fill(store, 10)
    assert store.truncate("s", events[6].position)
    for _ in range(2):
        assert list(store.read("s")) == events[6:]
        assert store.stream("s").segments[0].start == events[6].position.offset
        assert store.stream("s").segments[0].length == events[-1].next.offset
        assert store.check().findings == []
        store = reopen()
    assert fill(store, 3, events=1)[:14] == events[6:]


def test_a_segment_never_begins_inside_a_commit(store: SegmentStore) -> None:
    store.create_stream("s")
    for number in range(4):
        frames = [Frame([b"%d" % number + os.urandom(600_000)], f"key {i}") for i in range(5)]
        store.submit([Append("s", frames)]).result()
    events = list(store.read("s"))
    assert store.check().blocks > 2 * 4
    assert store.truncate("s", events[13].position)
    assert list(store.read("s")) == events[10:]
    assert not store.truncate("s", events[14].position)
    assert not store.truncate("s", events[2].position)


def test_truncating_at_the_tail_leaves_nothing_and_the_stream_goes_on(reopen: Reopen) -> None:
    store = reopen()
    events = fill(store, 4)
    assert store.truncate("s", "tail")
    store = reopen()
    assert list(store.read("s")) == []
    assert store.check().findings == []
    after = fill(store, 1)
    assert after[0].position == events[-1].next
    assert after[0].number == 8


def test_what_was_given_up_is_counted_by_reason(reopen: Reopen) -> None:
    store = reopen()
    events = fill(store, 10)
    store.truncate("s", events[4].position)
    store.truncate("s", events[10].position)
    store = reopen()
    assert store.stream("s").dropped == {"request": Dropped(10, events[10].position.offset, 0)}


def test_a_position_of_another_stream_is_refused(store: SegmentStore) -> None:
    fill(store, 2)
    with pytest.raises(ValueError, match="no segment"):
        store.truncate("s", Position(7, 1, 0))
