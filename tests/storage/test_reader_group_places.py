"""What follows from where a reader group stands, and what it does when the disk fails it."""

from __future__ import annotations

import pytest

from storage import Append, FakeClock, Frame, Position, SegmentId, SegmentStore, StreamConfig, StreamCut
from storage.errors import InvalidNameError, StorageError, UnknownStreamError
from storage.model import KeyRange, RetentionPolicy, key_point
from storage.readers import GroupConfig, ReaderPosition
from tests.storage.conftest import Reopen
from tests.storage.counts import damage
from tests.storage.group_bench import Bench, read


@pytest.fixture
def bench() -> Bench:
    return Bench()


# what follows from where it stands


def test_what_all_have_passed_may_be_given_up_but_not_behind_the_last_checkpoint(bench: Bench) -> None:
    bench.streams.create("s")
    bench.append(*range(10))
    group = bench.group()
    reader = group.reader("a")

    def passed() -> int:
        return group.retention_cut()["s"].positions[0].offset // 10

    read(reader, rounds=4, most=1)
    assert passed() == 0
    bench.clock.advance(3)
    reader.read(1)
    assert passed() == 4
    group.checkpoint("c")
    read(reader, rounds=1)
    read(reader, rounds=1, most=2)
    assert passed() == 5
    bench.clock.advance(3)
    read(reader)
    assert group.cut()["s"].positions == (Position(0, 0, 100),)
    assert passed() == 5
    group.reset("head")
    assert passed() == 0
    group.retire()
    assert group.retention_cut() == {}


def test_the_watermark_is_the_time_that_all_segments_have_come_to(bench: Bench) -> None:
    bench.streams.create("s", 2)
    group = bench.group()
    reader = group.reader("a")
    reader.read()
    assert group.watermark("s") == (None, None)
    times: dict[SegmentId, list[int]] = {}
    for number in range(12):
        bench.append(number)
        for segment in bench.segments():
            events = bench.streams.segs[segment].events
            times[segment] = [event.time_ns for event in events]
    assert group.watermark("s") == (None, None)
    reader.read(len(times[bench.segments()[0]]))
    reader.read(0)
    low, high = sorted(times.values(), key=lambda of: -len(of) if reader.passed() else 0)
    seen = [mark.time_ns for mark in reader.passed().values() if mark.time_ns is not None]
    assert group.watermark("s").upper_ns == max(seen)
    for _ in range(12):
        reader.read(1)
        passed = reader.passed()
        behind = [s for s, mark in passed.items() if mark.position.offset < 10 * len(times[s])]
        marks = [passed[s].time_ns for s in behind]
        newest = max(mark.time_ns for mark in passed.values() if mark.time_ns is not None)
        lower = newest if not behind else None if None in marks else min(m for m in marks if m is not None)
        assert group.watermark("s") == (lower, newest)
    read(reader)
    assert group.watermark("s") == (max(low + high), max(low + high))
    assert group.unread_bytes() == {"s": 0}
    bench.streams.scale("s", bench.segments(), [KeyRange()])
    bench.append(101)
    assert group.unread_bytes() == {"s": 10}
    assert group.watermark("s").lower_ns == min(max(low), max(high))
    with pytest.raises(StorageError):
        group.watermark("t")


def test_retention_gives_up_what_all_groups_are_done_with(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("s", StreamConfig(retention=RetentionPolicy(consumed=True)))
    for number in range(10):
        store.writer("s").append(b"%d" % number).result()
    positions = [event.position for event in store.read("s")]

    def read_to(name: str, number: int) -> None:
        with_reader = store.reader_group(name, ["s"], config=GroupConfig(record_interval_s=0)).reader("a")
        with_reader.read(number)
        with_reader.close()

    assert store.reader_groups.consumed() == {}
    read_to("fast", 8)
    read_to("behind", 3)
    assert store.reader_groups.consumed() == {"s": (positions[3],)}
    store = reopen()
    store.retain({}, store.reader_groups.consumed())
    assert [event.payload for event in store.read("s")] == [b"%d" % number for number in range(3, 10)]
    assert read(store.reader_group("behind").reader("b")) == [3, 4, 5, 6, 7, 8, 9]
    store.reader_group("behind").retire()
    assert store.reader_groups.consumed() == {"s": (positions[8],)}


def test_of_segments_before_a_cut_all_is_consumed_and_of_those_behind_it_nothing(bench: Bench) -> None:
    bench.streams.create("s")
    bench.append(*range(4))
    bench.streams.scale("s", bench.segments(), KeyRange().split(2))
    bench.append(*range(4, 12))
    left, right = bench.segments()
    ends = [bench.streams.segs[segment].info.length for segment in (left, right)]
    bench.streams.scale("s", [left], [bench.streams.segs[left].info.keys])
    (last,) = set(bench.segments()) - {right}
    group = bench.group()
    assert group.consumed() == {"s": {SegmentId("s", 0, 0): 0, left: 0, right: 0, last: 0}}
    reader = group.reader("a")
    read(reader, rounds=3, most=4)
    assert reader.segments == [left, right]
    reader.close()
    consumed = group.consumed()["s"]
    assert (consumed[SegmentId("s", 0, 0)], consumed[last]) == (40, 0)
    assert 0 < consumed[left] + consumed[right] < sum(ends)


# what goes wrong


def test_reading_goes_on_while_the_store_cant_commit(bench: Bench) -> None:
    bench.streams.create("s")
    bench.append(*range(10))
    group = bench.group()
    reader = group.reader("a")
    assert read(reader, rounds=2, most=2) == [0, 1, 2, 3]
    bench.twin.stalled_writes = 10_000
    bench.store.submit((), {"x": b"y"})
    bench.store.commit()
    assert bench.store.blocked is not None
    bench.clock.advance(3)
    assert read(reader, rounds=3, most=2) == [4, 5, 6, 7, 8, 9]
    bench.twin.stalled_writes = 0
    bench.store.commit()
    bench.clock.advance(3)
    reader.read()
    assert group.retention_cut()["s"].positions[0].offset == 100


def test_a_read_whose_change_may_or_may_not_be_on_disk_hands_out_nothing(bench: Bench) -> None:
    bench.streams.create("s")
    bench.append(*range(10))
    group = bench.group()
    reader = group.reader("a")
    assert read(reader, rounds=1, most=2) == [0, 1]
    bench.clock.advance(3)
    bench.twin.stalled_writes = 10_000
    assert reader.read() == []
    assert bench.store.blocked is not None
    assert reader.read() == []
    bench.twin.stalled_writes = 0
    assert read(reader) == [2, 3, 4, 5, 6, 7, 8, 9]


def test_a_group_whose_state_is_hit_goes_on_from_before(bench: Bench) -> None:
    bench.streams.create("s")
    bench.append(*range(10))
    group = bench.group()
    reader = group.reader("a")
    read(reader, rounds=2, most=3)
    hit = group._synchronizer.revision.offset
    bench.clock.advance(3)
    read(reader, rounds=2, most=1)
    bench.store.close()
    damage(bench.twin, 1, hit)
    bench.power_cut()
    group = bench.group()
    assert group.readers == {}
    assert read(group.reader("b")) == list(range(10))


# on a store


def test_a_group_on_a_store_goes_on_after_reopening(reopen: Reopen) -> None:
    store = reopen()
    for stream in ("s", "t"):
        store.create_stream(stream)
        for number in range(10):
            store.writer(stream).append(b"%d" % number).result()
    group = store.reader_group("g", ["s", "t"])
    assert store.reader_group("g") is group
    got = read(group.reader("a"), group.reader("b"), rounds=2, most=3)
    readers = [group._live[name] for name in "ab"]
    kept = {reader.reader_id: str(reader.position) for reader in readers}
    store = reopen()
    group = store.reader_group("g", ["s", "t"])
    again = [group.reader(name, ReaderPosition.parse(kept[name])) for name in "ab"]
    assert sorted(got + read(*again)) == sorted([*range(10), *range(10)])
    assert store.reader_groups.names() == ["g"]
    assert [info.name for info in store.streams()] == ["s", "t"]


def test_a_group_starts_and_stops_where_it_is_told(store: SegmentStore, clock: FakeClock) -> None:
    store.create_stream("s")
    positions = []
    for number in range(6):
        clock.advance(60)
        positions.append(store.writer("s").append(b"%d" % number).result().positions[0])
    stop = StreamCut((positions[4],)) if positions[4] is not None else None
    assert read(store.reader_group("g", ["s"], start="3m", stop=stop).reader("a")) == [2, 3]
    assert read(store.reader_group("tail", ["s"], start="tail").reader("a")) == []
    with pytest.raises(StorageError, match="say which streams"):
        store.reader_group("new")
    with pytest.raises(UnknownStreamError):
        store.reader_group("other", ["never"])
    with pytest.raises(InvalidNameError):
        store.reader_group("a b", ["s"])


def test_watermarks_of_a_store_go_by_when_events_were_captured_and_hold_over_a_restart(
    reopen: Reopen, clock: FakeClock
) -> None:
    store = reopen()
    store.create_stream("s")
    store.scale("s", [segment.id for segment in store.stream("s").segments], KeyRange().split(2))
    low = next(key for key in map(str, range(99)) if key_point(key) < 1 << 63)
    high = next(key for key in map(str, range(99)) if key_point(key) >= 1 << 63)
    begin = clock.boot_ns()
    clock.advance(1000)

    def captured(key: str, at_s: int) -> None:
        store.submit([Append("s", [Frame([b"%d" % at_s], key, captured_ns=begin + at_s * 10**9)])]).result()

    for key, at_s in ((low, 10), (low, 20), (low, 30), (high, 500), (high, 600)):
        captured(key, at_s)
    group = store.reader_group("g", ["s"], config=GroupConfig(record_interval_s=0))
    reader = group.reader("a")
    base = clock.wall_ns() - clock.boot_ns() + begin

    def at(second: int) -> int:
        return base + second * 10**9

    seen = [reader.read(1) for _ in range(3)]
    reader.read(0)
    assert sum(map(len, seen)) == 3
    assert group.watermark("s") in [(at(10), at(500)), (at(20), at(500))]
    for _ in range(6):
        reader.read()
    reader.close()
    assert group.watermark("s") == (at(600), at(600))
    captured(low, 40)
    assert store.reader_group("g").watermark("s") == (at(30), at(600))
    store = reopen()
    assert store.reader_group("g").watermark("s") == (at(30), at(600))
    segments = [segment.id for segment in store.stream("s").segments if segment.until is None]
    store.scale("s", segments, [KeyRange()])
    captured(high, 700)
    reader = store.reader_group("g").reader("b")
    for _ in range(6):
        reader.read()
    reader.close()
    assert store.reader_group("g").watermark("s") == (at(700), at(700))
