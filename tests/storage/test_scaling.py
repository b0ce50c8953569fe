"""A stream scales: keys move to new segments, and nothing is lost, doubled or reordered under any of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import Append, Event, FakeClock, Frame, Receipt, SegmentStore, Ticket
from storage.errors import ConditionFailedError, StorageError, StreamSealedError
from storage.group import Group
from storage.kv.memory import MemoryTwin
from storage.model import KeyRange, Position, key_point
from storage.scaling import take_seal
from tests.storage.scaled import HIGH, KEYS, LOW, append, halves, merge, open_segments, scaled, split, told


def test_a_key_is_in_one_open_segment_and_goes_on_in_its_successor() -> None:
    with SegmentStore.in_memory() as store:
        store.create_stream("s")
        assert append(store, "a", b"0")[:2] == (0, 0)
        split(store)
        stream = store.stream("s")
        first, low, high = stream.segments
        assert (first.until, low.id.epoch, high.id.epoch) == (1, 1, 1)
        assert (low.keys.high, high.keys.low) == (1 << 63, 1 << 63)
        assert stream.successors(first) == (low, high)
        assert stream.predecessors(high) == (first,)
        for key in KEYS:
            here = high if key_point(key) >= 1 << 63 else low
            assert append(store, key, b"1")[:2] == (here.id.number, here.id.epoch)


def test_every_position_from_before_and_between_scales_goes_on_exactly_behind_itself() -> None:
    with SegmentStore.in_memory() as store:
        scaled(store)
        events = list(store.read("s"))
        for index, event in enumerate(events):
            assert list(store.read("s", event.next)) == events[index + 1 :]
            assert event in list(store.read("s", event.position))


def test_a_position_between_the_events_of_one_append_goes_on_exactly_behind_itself() -> None:
    with halves(SegmentStore.in_memory()) as store:
        append(store, HIGH, b"0")
        append(store, LOW, b"1")
        store.submit([Append("s", [Frame([b"2", b"3"], HIGH)])]).result()
        events = list(store.read("s"))
        for index, event in enumerate(events):
            assert list(store.read("s", event.next)) == events[index + 1 :]


def test_writers_whose_numbers_lie_in_several_segments_are_checked_over_all_of_them() -> None:
    with halves(SegmentStore.in_memory()) as store:
        writer = store.writer("s", "w")
        writer.append(b"x", HIGH).result()
        writer.append(b"x", LOW).result()
        assert store.check().ok
        writer.append(b"x", HIGH).result()
        store.truncate("s", store.cut("s", "tail").positions[1])
        assert store.check().ok


def test_a_cut_shares_out_the_key_space_where_a_segment_was_given_up_whole() -> None:
    with halves(SegmentStore.in_memory()) as store:
        low, high = open_segments(store)
        append(store, LOW, b"0")
        last = append(store, HIGH, b"0")
        store.scale("s", [low.id, high.id], KeyRange().split(3))
        store.truncate("s", last._replace(offset=store.stream("s").segments[high.id.number].length))
        append(store, HIGH, b"1")
        ranges = {segment.id.number: segment.keys for segment in store.stream("s").segments}
        for where in ("head", Position(0, 0, 0)):
            held = sorted(ranges[position.number].low for position in store.cut("s", where).positions)
            assert held == [low.keys.low, high.keys.low]
        reader = store.reader_group("g", ["s"]).reader("r")
        items = [item for _ in range(9) for item in reader.read()]
        assert [item.payload for item in items if isinstance(item, Event)] == [b"0", b"1"]


def test_head_and_tail_are_cuts_of_all_that_is_open() -> None:
    with SegmentStore.in_memory() as store:
        scaled(store, 15)
        tail = store.cut("s", "tail")
        assert len(tail.positions) == len(open_segments(store))
        assert list(store.read("s", tail)) == []
        assert list(store.read("s", store.resolve("s", "tail"))) == []
        assert store.cut("s", "head").positions == (Position(0, 0, 0),)
        position = append(store, "new", b"new")
        assert [event.position for event in store.read("s", tail)] == [position]


def test_a_follower_reads_on_through_a_scale_in_small_steps() -> None:
    with SegmentStore.in_memory() as store:
        store.create_stream("s")
        reader = store.reader("s")
        read: list[bytes] = []
        for number in range(30):
            append(store, KEYS[number % 8], b"%d" % number)
            if number % 7 == 3:
                split(store, -1)
            if number % 3 == 0:
                read += [item.payload for item in reader.poll(2) if isinstance(item, Event)]
        while items := reader.poll(2):
            read += [item.payload for item in items if isinstance(item, Event)]
        assert read == [b"%d" % number for number in range(30)]


def test_a_sealed_stream_is_read_and_takes_nothing_more() -> None:
    with SegmentStore.in_memory() as store:
        written = scaled(store, 12)
        ends = {segment.id: segment.length for segment in store.stream("s").segments}
        assert store.takes("s")
        store.seal("s")
        store.seal("s")
        assert not store.takes("s")
        with pytest.raises(StreamSealedError, match="takes nothing more"):
            append(store, "a", b"late")
        assert {segment.id: segment.length for segment in store.stream("s").segments} == ends
        assert told(list(store.read("s", follow=True))) == written


def test_a_submission_that_need_not_be_whole_goes_in_without_what_is_sealed() -> None:
    with SegmentStore.in_memory() as store:
        store.create_stream("s")
        store.create_stream("other")
        # It waits, and what is submitted behind it comes into the same commit.
        store.submit_take(lambda group, ticket: take_seal(group, ticket, "s"), 0)
        assert store.takes("s")
        appends = [Append(name, [Frame([b"late"])]) for name in ("s", "other")]
        part, whole = store.submit(appends, {"c": b"2"}, whole=False), store.submit(appends, {"c": b"1"})
        with pytest.raises(StreamSealedError, match="takes nothing more"):
            whole.result()
        receipt = part.result()
        assert (receipt.left_out, receipt.stored, receipt.positions[0]) == (("s",), 1, None)
        assert store.cursor("c") == b"2"
        assert [event.payload for event in store.read("other", follow=False) if isinstance(event, Event)] == [b"late"]
        assert list(store.read("s", follow=False)) == []


def test_a_scale_that_does_not_fit_is_refused_whole() -> None:
    with SegmentStore.in_memory() as store:
        store.create_stream("s")
        segment = store.stream("s").segments[0]
        for ranges in ([], [KeyRange(0, 5)], [KeyRange(), KeyRange(0, 5)], [KeyRange(0, 0), KeyRange()]):
            with pytest.raises(StorageError, match="range"):
                store.scale("s", [segment.id], ranges)
        store.scale("s", [segment.id], segment.keys.split(3))
        with pytest.raises(ConditionFailedError, match="not all of the segments"):
            store.scale("s", [segment.id], segment.keys.split())
        assert len(open_segments(store)) == 3


def test_a_scale_survives_a_power_cut_and_is_read_on_from_where_it_was() -> None:
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin)
    written = scaled(store, 25)
    position = list(store.read("s"))[12].next
    twin.power_cut()
    with SegmentStore.in_memory(twin) as store:
        assert told(list(store.read("s"))) == written
        assert told(list(store.read("s", position))) == written[13:]
        assert store.check().findings == []


def test_a_conditional_append_is_judged_by_the_segment_of_its_key() -> None:
    with halves(SegmentStore.in_memory()) as store:
        append(store, HIGH, b"0")
        low, high = (segment.length for segment in open_segments(store))
        assert low == 0
        with pytest.raises(ConditionFailedError):
            store.submit([Append("s", [Frame([b"1"], HIGH)], expected_length=low)]).result()
        store.submit([Append("s", [Frame([b"1"], HIGH)], expected_length=high)]).result()


def test_a_time_is_found_in_every_segment() -> None:
    clock = FakeClock()
    with SegmentStore.in_memory(clock=clock) as store:
        store.create_stream("s")
        for number in range(40):
            clock.advance(10)
            append(store, KEYS[number % 8], b"%d" % number)
            if number % 10 == 5:
                split(store, -1)
        assert [event.payload for event in store.read("s", "195s")] == [b"%d" % number for number in range(20, 40)]


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.sampled_from(KEYS), st.integers(1, 3)),
            st.tuples(st.just("split"), st.integers(0, 20), st.integers(2, 3)),
            st.tuples(st.just("merge"), st.integers(0, 20), st.just(0)),
            st.tuples(st.just("truncate"), st.integers(0, 100), st.just(0)),
            st.tuples(st.just("reopen"), st.just(0), st.just(0)),
        ),
        max_size=60,
    ),
    st.integers(1, 7),
)
def test_under_random_scales_each_key_is_read_once_and_in_order(
    steps: list[tuple[str, int | str, int]], step: int
) -> None:
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin)
    store.create_stream("s")
    written: list[tuple[str, bytes]] = []
    for what, value, count in steps:
        segments = sorted(open_segments(store), key=lambda segment: segment.keys.low)
        if what == "append":
            for _ in range(count):
                written.append((str(value), b"%d" % len(written)))
                append(store, *written[-1])
        elif what == "split":
            segment = segments[int(value) % len(segments)]
            store.scale("s", [segment.id], segment.keys.split(count))
        elif what == "merge" and len(segments) > 1:
            merge(store, int(value) % (len(segments) - 1))
        elif what == "truncate":
            reader = store.reader("s")
            gone = reader.poll(1 + int(value) % (len(written) + 1))
            store.truncate("s", reader.cut)
            written = written[sum(isinstance(item, Event) for item in gone) :]
        elif what == "reopen":
            twin.power_cut()
            store = SegmentStore.in_memory(twin)
    assert told(list(store.read("s"))) == written
    reader = store.reader("s")
    read: list[Event] = []
    while items := [item for item in reader.poll(step) if isinstance(item, Event)]:
        read += items
        again = store.reader("s", items[-1].next if len(read) % 2 else reader.cut)
        assert told([e for e in again.poll(1000) if isinstance(e, Event)]) == written[len(read) :]
    assert told(read) == written
    assert store.check().findings == []


def test_check_finds_a_writers_last_number_in_whichever_segment_it_is() -> None:
    """Keys of a later segment may have been written before those of an earlier one; and given up, or not."""
    with halves(SegmentStore.in_memory()) as store:
        writer = store.writer("s", "w")
        writer.append(b"0", HIGH).result()
        position = writer.append(b"1", LOW).result().positions[0]
        assert position is not None
        assert store.check().findings == []
        store.truncate("s", position._replace(offset=store.stream("s").segments[1].length))
        assert [event.number for event in store.read("s")] == [0]
        assert store.check().findings == []


def test_check_finds_a_number_ahead_of_the_events_though_older_ones_were_given_up() -> None:
    with halves(SegmentStore.in_memory()) as store:
        writer = store.writer("s", "w")
        for key in (LOW, HIGH, LOW):
            writer.append(b"x", key).result()
        store.truncate("s", list(store.read("s"))[2].position)
        assert store.check().findings == []

        def claim_more(group: Group, ticket: Ticket) -> None:
            group.changes.writers[group.catalog.streams["s"].number, "w"] = 7
            group.changes.cursors["c"] = b""
            group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))

        store.submit_take(claim_more, 0).result()
        (finding,) = store.check().findings
        assert "number 7, the events end at 2" in finding.what
