"""Reader groups: who reads what, where a group stands, what becomes of dead readers. Against a real store's state."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from storage import Event, StreamCut
from storage.errors import InvalidNameError, StorageError, StoreBusyError
from storage.model import KeyRange
from storage.readers import CheckpointEvent, GroupConfig, ReaderOfflineError, ReaderPosition
from storage.readers.group_state import GroupState, GroupUpdate
from tests.storage.conftest import Reopen
from tests.storage.group_bench import Bench, read


@pytest.fixture
def bench() -> Bench:
    return Bench()


# who reads what


def test_readers_share_the_segments_and_each_event_is_read_by_one(bench: Bench) -> None:
    bench.streams.create("s", 5)
    bench.append(*range(50))
    group = bench.group()
    a, b, c = (group.reader(name) for name in "abc")
    assert sorted(read(a, b, c)) == list(range(50))
    assert sorted(len(segments) for segments in group.readers.values()) == [1, 2, 2]


def test_shares_are_fair_again_after_readers_came_and_went(bench: Bench) -> None:
    bench.streams.create("s", 8)
    bench.append(*range(40))
    group = bench.group()
    readers = [group.reader("a")]
    got = read(*readers, most=3)
    assert len(group.readers["a"]) == 8
    readers += [group.reader("b"), group.reader("c")]
    got += read(*readers, rounds=3, most=3)
    assert sorted(map(len, group.readers.values())) == [2, 3, 3]
    readers.pop(0).close()
    got += read(*readers, rounds=3, most=3)
    assert sorted(map(len, group.readers.values())) == [4, 4]
    assert sorted(got + read(*readers, rounds=20)) == list(range(40))


def test_a_successor_is_read_when_all_its_predecessors_are(bench: Bench) -> None:
    bench.streams.create("s", 2)
    bench.append(*range(20))
    left, right = bench.segments()
    bench.streams.scale("s", [left, right], [KeyRange()])
    bench.append(*range(20, 30))
    (merged,) = bench.segments()
    group = bench.group()
    a, b = group.reader("a"), group.reader("b")
    a.read(0)
    b.read(0)
    assert (a.segments, b.segments) == ([left], [right])
    first = read(a)
    assert all(merged not in segments for segments in group.readers.values())
    assert [p[:2] for p in group.cut()["s"].positions] == [(left.number, 0), (right.number, 0)]
    group.checkpoint("half")
    assert not any(isinstance(item, Event) for item in [*a.read(), *b.read()])
    rest = read(b) + read(a, b)
    assert sorted(first + rest) == list(range(30))
    assert sorted(rest[-10:]) == list(range(20, 30))
    half = group.checkpoint_cut("half")
    assert half is not None
    assert {p.number: p.offset for p in half["s"].positions} == {left.number: 10 * len(first), right.number: 0}
    group.reset_to_checkpoint("half")
    assert sorted(read(group.reader("a"))) == sorted(rest)


def test_the_same_key_is_read_in_order_across_scales(bench: Bench) -> None:
    bench.streams.create("s")
    said: list[int] = []
    for number in range(6):
        segments = bench.segments()
        for _ in range(3):
            bench.streams.append("s", "key", b"%d" % len(said))
            said.append(len(said))
        bench.streams.scale("s", segments, list(KeyRange().split(1 + (number + 1) % 3)))
    group = bench.group()
    assert read(*(group.reader(name) for name in "abc"), rounds=40, most=2) == said


def test_a_name_is_online_once(bench: Bench) -> None:
    bench.streams.create("s")
    group = bench.group()
    reader = group.reader("a")
    with pytest.raises(StorageError, match="is online"):
        group.reader("a")
    reader.close()
    group.reader("a")
    with pytest.raises(ReaderOfflineError):
        reader.read()
    with pytest.raises(InvalidNameError):
        group.reader("")


# readers that die


def test_of_a_dead_reader_the_segments_go_on_where_it_recorded_its_position(bench: Bench) -> None:
    bench.streams.create("s")
    bench.append(*range(10))
    group = bench.group()
    dead = group.reader("dead")
    assert read(dead, rounds=3, most=1) == [0, 1, 2]
    bench.clock.advance(2)
    assert read(dead, rounds=3, most=1) == [3, 4, 5]
    other = group.reader("other")
    bench.clock.advance(9)
    assert read(other) == []
    bench.clock.advance(2)
    assert read(other) == [3, 4, 5, 6, 7, 8, 9]
    assert list(group.readers) == ["other"]
    with pytest.raises(ReaderOfflineError, match="lease"):
        dead.read()


def test_a_reader_that_is_heard_keeps_its_segments(bench: Bench) -> None:
    bench.streams.create("s")
    group = bench.group()
    a, b = group.reader("a"), group.reader("b")
    for _ in range(8):
        bench.clock.advance(6)
        read(a, b, rounds=1)
    assert sorted(group.readers) == ["a", "b"]
    bench.clock.advance(11)
    a.read()
    assert sorted(group.readers) == ["a"]


def test_a_reader_that_joins_late_is_not_taken_for_a_silent_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.streams.create("s")
    group = bench.group()
    bench.clock.advance(100)
    update = group._update

    def update_while_another_steps(decide: Callable[[GroupState], list[GroupUpdate]]) -> GroupState:
        state = update(decide)
        group.step()
        return state

    monkeypatch.setattr(group, "_update", update_while_another_steps)
    group.reader("a").read()
    assert list(group.readers) == ["a"]


def test_readers_in_threads_read_each_event_once(reopen: Reopen) -> None:
    store = reopen()
    streams = [f"s{number}" for number in range(6)]
    for stream in streams:
        store.create_stream(stream)
        store.writer(stream).append_many([b"%d" % number for number in range(100)]).result()
    got: list[tuple[str, bytes]] = []
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            reader = store.reader_group("g", streams, config=GroupConfig(record_interval_s=0)).reader(name)
            for _ in range(500):
                got.extend((item.stream, item.payload) for item in reader.read(7) if isinstance(item, Event))
                if len(got) >= 600:
                    break
            reader.close()
        except BaseException as error:  # noqa: BLE001 - a thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(got) == sorted((stream, b"%d" % number) for stream in streams for number in range(100))


def test_with_the_position_kept_by_the_caller_each_event_comes_once(bench: Bench) -> None:
    bench.streams.create("s", 3)
    bench.append(*range(30))
    group = bench.group()
    dead = group.reader("dead")
    got = read(dead, rounds=5, most=4)
    kept = str(dead.position)
    dead.read(4)
    group.reader_offline("dead", ReaderPosition.parse(kept))
    group.reader_offline("never there")
    assert sorted(got + read(group.reader("other"))) == list(range(30))


def test_a_restart_leaves_readers_behind_that_are_taken_over_by_name_or_after_the_lease(bench: Bench) -> None:
    bench.streams.create("s", 2)
    bench.append(*range(20))
    group = bench.group()
    a, b = group.reader("a"), group.reader("b")
    of_a, of_b = read(a, rounds=1), read(b, rounds=1)
    kept = a.position
    bench.append(*range(20, 24))
    bench.power_cut()
    group = bench.group()
    assert sorted(group.readers) == ["a", "b"]
    group.reader("a", kept)
    assert len(group.readers["b"]) == 1
    bench.clock.advance(11)
    a = group.reader("c")
    again = read(a)
    assert list(group.readers) == ["c"]
    assert set(of_a + of_b + again) == set(range(24))
    assert sorted(n for n in again if n < 20 and n in of_a) == []


# checkpoints, cuts, resets


def test_a_checkpoint_lies_behind_what_each_reader_dealt_with_before_it(bench: Bench) -> None:
    bench.streams.create("s", 2)
    bench.append(*range(20))
    group = bench.group()
    a, b = group.reader("a"), group.reader("b")
    before = read(a, b, rounds=3, most=2)
    group.checkpoint("c")
    assert a.read() == [CheckpointEvent("c")]
    assert group.checkpoint_cut("c") is None
    after = read(a, rounds=1)
    assert b.read(2) == [CheckpointEvent("c")]
    assert group.checkpoint_cut("c") is None
    after += read(b) + read(a)
    assert group.checkpoint_cut("c") is not None
    assert sorted(before + after) == list(range(20))
    group.reset_to_checkpoint("c")
    for reader in (a, b):
        with pytest.raises(ReaderOfflineError):
            reader.read()
    assert sorted(read(group.reader("a"))) == sorted(after)


def test_a_checkpoint_waits_for_no_dead_reader(bench: Bench) -> None:
    bench.streams.create("s", 2)
    bench.append(*range(20))
    group = bench.group()
    a, _ = group.reader("a"), group.reader("dead")
    group.checkpoint("c")
    read(a)
    assert group.checkpoint_cut("c") is None
    for _ in range(2):
        bench.clock.advance(6)
        a.read()
    assert group.checkpoint_cut("c") is not None
    group.checkpoint("d")


def test_checkpoints_have_limits(bench: Bench) -> None:
    bench.streams.create("s")
    group = bench.group()
    for number in range(12):
        group.checkpoint(f"{number}")
    with pytest.raises(StorageError, match="there are: '2', '3'"):
        group.checkpoint_cut("1")
    with pytest.raises(StorageError, match="another name"):
        group.checkpoint("11")
    reader = group.reader("a")
    for name in "xyz":
        group.checkpoint(name)
    with pytest.raises(StoreBusyError, match="3 checkpoints"):
        group.checkpoint("w")
    assert [reader.read() for _ in range(4)] == [[CheckpointEvent(name)] for name in "xyz"] + [[]]


def test_a_cut_from_before_a_scale_is_read_from_and_up_to_after_it(bench: Bench) -> None:
    bench.streams.create("s", 2)
    bench.append(*range(10))
    before = bench.streams.cut("s", "tail")
    bench.append(*range(10, 20))
    bench.streams.scale("s", bench.segments(), list(KeyRange().split(3)))
    bench.append(*range(20, 30))
    middle = bench.streams.cut("s", "tail")
    bench.append(*range(30, 40))
    bench.streams.scale("s", bench.segments()[:2], [KeyRange(0, bench.streams.stream("s").segments[3].keys.high)])
    bench.append(*range(40, 50))
    assert StreamCut.parse(str(before)) == before
    for start, stop, expected in (
        (before, None, range(10, 50)),
        (middle, None, range(30, 50)),
        ("head", before, range(10)),
        ("head", middle, range(30)),
        (before, middle, range(10, 30)),
        (middle, middle, range(0)),
    ):
        group = bench.group(start, stop, f"g-{start}-{stop}".replace(",", "+")[:60])
        readers = [group.reader(name) for name in "ab"]
        assert not group.finished
        assert sorted(read(*readers, rounds=12)) == list(expected)
        assert group.finished == (stop is not None)
        assert group.unread_bytes() == {"s": 0}


def test_a_group_of_several_streams_takes_a_cut_of_each(bench: Bench) -> None:
    for stream in ("s", "t"):
        bench.streams.create(stream)
        bench.append(*range(5), stream=stream)
    cut = bench.streams.cut("s", "tail")
    with pytest.raises(StorageError, match="a cut of each"):
        bench.group(cut, None, "g", "s", "t")
    with pytest.raises(StorageError, match="a cut of each"):
        bench.group({"s": cut}, None, "g", "s", "t")
    group = bench.group({"s": cut, "t": bench.streams.cut("t", "head")}, None, "g", "s", "t")
    assert read(group.reader("a")) == list(range(5))
    with pytest.raises(StorageError, match="reads s, t"):
        bench.group("head", None, "g", "s")
    group.reset("head", streams=["s"])
    assert group.unread_bytes() == {"s": 50}
