"""Streams as their users see them: append, read, numbers, cursors, conditions. On the engine and on its twin."""

from __future__ import annotations

import threading

import pytest

from storage import Append, Event, FakeClock, Frame, Position, SegmentStore, StreamConfig
from storage.errors import (
    InvalidNameError,
    StorageError,
    StoreFailedError,
    TooLargeError,
    UnknownStreamError,
    WriterNumberGapError,
)
from storage.frame import FRAME_TARGET_BYTES
from storage.kv.memory import MemoryTwin
from storage.model import MAX_EVENT_BYTES
from tests.storage.conftest import Reopen


def payloads(store: SegmentStore, stream: str = "s", start: str | Position = "head") -> list[bytes]:
    return [event.payload for event in store.read(stream, start)]


def test_an_appended_event_is_read_back_with_all_that_was_said_of_it(store: SegmentStore, clock: FakeClock) -> None:
    store.create_stream("plant/flow")
    frame = Frame([b"12.7"], "pump-7", "text/plain", (("unit", b"l/s"),), clock.boot_ns() - 5, None, "plc-1", 41)
    receipt = store.submit([Append("plant/flow", [frame])]).result()
    (event,) = store.read("plant/flow")
    assert receipt.positions == (event.position,)
    assert event == Event(
        "plant/flow", Position(0, 0, 0), event.next, clock.wall_ns() - 5, "pump-7", "plc-1", 41, "text/plain",
        (("unit", b"l/s"),), b"12.7",
    )  # fmt: skip


def test_what_was_acknowledged_is_there_after_reopening_at_the_same_positions(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("s", StreamConfig(priority=3))
    writer = store.writer("s", "w")
    for number in range(20):
        writer.append_many([b"%d.%d" % (number, i) for i in range(3)], f"key-{number % 4}").result()
    before = list(store.read("s"))
    store = reopen()
    assert list(store.read("s")) == before
    assert store.stream("s").config == StreamConfig(priority=3)
    assert store.last_number("s", "w") == 59
    assert store.opening == 2
    assert store.check().findings == []


def test_every_position_reads_on_from_there(store: SegmentStore) -> None:
    store.create_stream("s")
    writer = store.writer("s")
    for size in (1, 5, 2, 700):
        writer.append_many([b"%d/%d" % (size, i) for i in range(size)]).result()
    events = list(store.read("s"))
    for index in (0, 1, 3, 6, 7, 8, 9, 400, len(events) - 1):
        assert list(store.read("s", events[index].position)) == events[index:]
        assert list(store.read("s", str(events[index].next))) == events[index + 1 :]
        assert list(store.read("s", "head", stop=events[index].position)) == events[:index]
    assert list(store.read("s", "tail")) == []
    assert list(store.read("s", limit=3)) == events[:3]


def test_numbers_within_one_group_of_appends_are_seen_too(store: SegmentStore) -> None:
    store.create_stream("s")
    writer = store.writer("s", "w")
    tickets = [writer.append(b"0", number=0), writer.append(b"0", number=0), writer.append(b"1", number=1)]
    assert [ticket.result().stored for ticket in tickets] == [1, 0, 1]
    assert payloads(store) == [b"0", b"1"]


def test_a_refused_append_leaves_nothing_of_itself_in_the_commit(store: SegmentStore) -> None:
    store.create_stream("s")
    store.create_stream("t")
    store.writer("t", "w").append(b"0").result()
    good = Append("s", [Frame([b"good"])])
    gap = Append("t", [Frame([b"9"], writer="w", number=9)])
    refused = store.submit([good, gap], {"cursor": b"moved"})
    kept = store.submit([Append("s", [Frame([b"kept"])])])
    assert kept.result().stored == 1
    with pytest.raises(WriterNumberGapError):
        refused.result()
    assert payloads(store) == [b"kept"]
    assert store.cursor("cursor") is None


def test_a_cursor_moves_with_its_data(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("s")
    store.submit([Append("s", [Frame([b"line 1"])])], {"files": b"offset 7"}).result()
    store = reopen()
    assert store.cursor("files") == b"offset 7"
    assert store.cursor("nobody") is None


def test_an_empty_cursor_is_removed(reopen: Reopen) -> None:
    store = reopen()
    store.submit((), {"kept": b"1", "gone": b"2", "again": b"3"}).result()
    store.submit((), {"gone": b"", "again": b"", "never there": b""}).result()
    assert store.cursors() == {"kept": b"1"}
    store.submit((), {"again": b"4"}).result()
    store = reopen()
    assert store.cursors() == {"kept": b"1", "again": b"4"}


def test_a_follower_sees_what_is_appended_while_it_waits(store: SegmentStore) -> None:
    store.create_stream("s")
    seen: list[bytes] = []
    done = threading.Event()

    def follow() -> None:
        for event in store.read("s", "tail", follow=True, limit=3):
            seen.append(event.payload)
        done.set()

    thread = threading.Thread(target=follow)
    thread.start()
    for number in range(3):
        store.writer("s").append(b"%d" % number).result()
    thread.join(30)
    assert done.is_set()
    assert seen == [b"0", b"1", b"2"][-len(seen) :]


def test_reading_by_time_begins_at_the_first_event_captured_then(store: SegmentStore, clock: FakeClock) -> None:
    store.create_stream("s")
    begin = clock.wall_ns()
    for minute in range(60):
        store.writer("s").append(b"%d" % minute).result()
        clock.advance(60)
    assert payloads(store, start="15m")[0] == b"45"
    assert payloads(store, start="2h")[0] == b"0"
    reader = store.reader("s", "0.0:0")
    times = [event.time_ns for event in reader.poll() if isinstance(event, Event)]
    assert times == [begin + minute * 60_000_000_000 for minute in range(60)]


def test_order_is_by_offset_and_times_follow_the_corrected_clock(reopen: Reopen, clock: FakeClock) -> None:
    store = reopen()
    store.create_stream("s")
    store.writer("s").append(b"before").result()
    clock.advance(10)
    clock.step_wall(365 * 86_400)
    store.writer("s").append(b"after").result()
    first, second = store.read("s")
    assert (first.payload, second.payload) == (b"before", b"after")
    assert second.time_ns - first.time_ns == 10_000_000_000
    assert second.time_ns == clock.wall_ns()


def test_empty_and_huge(store: SegmentStore) -> None:
    store.create_stream("s")
    writer = store.writer("s", "w")
    assert writer.append_many([]).result().stored == 0
    writer.append(b"").result()
    huge = bytes(range(256)) * (MAX_EVENT_BYTES // 256)
    writer.append(huge).result()
    many = [b"x" * 1000] * (3 * FRAME_TARGET_BYTES // 1000)
    writer.append_many(many).result()
    assert payloads(store) == [b"", huge, *many]
    with pytest.raises(TooLargeError, match="at most"):
        writer.append(huge + b"x")
    with pytest.raises(TooLargeError, match="header name of 70000 bytes: at most 1024"):
        store.submit([Append("s", [Frame([b""], headers=(("n" * 70_000, b""),))])])
    with pytest.raises(TooLargeError, match="send it in several"):
        writer.append_many([huge] * 9)
    assert store.check().ok


def test_what_has_no_stream_is_refused_with_the_nearest_name(store: SegmentStore) -> None:
    store.create_stream("plant/flow")
    with pytest.raises(UnknownStreamError, match="did you mean 'plant/flow'"):
        store.writer("plant/flwo")
    with pytest.raises(UnknownStreamError):
        store.submit([Append("nothing", [Frame([b"x"])])])
    with pytest.raises(UnknownStreamError):
        list(store.read("nothing"))


@pytest.mark.parametrize("name", ["", "/", "a//b", "a/", "/a", "a b", "../x", "ü", "x" * 256])
def test_names_that_can_not_be_used_are_refused(store: SegmentStore, name: str) -> None:
    with pytest.raises(InvalidNameError):
        store.create_stream(name)


def test_a_frame_that_contradicts_itself_is_refused(store: SegmentStore) -> None:
    store.create_stream("s")
    with pytest.raises(StorageError, match="capture times"):
        store.submit([Append("s", [Frame([b"a", b"b"], times_ns=[1])])])
    with pytest.raises(StorageError, match="needs a writer"):
        store.submit([Append("s", [Frame([b"a"], number=1)])])


def test_keys_keep_their_order(store: SegmentStore) -> None:
    store.create_stream("s")
    writer = store.writer("s")
    for number in range(200):
        writer.append(b"%d" % number, f"key-{number % 7}")
    store.commit()
    for key in range(7):
        of_key = [int(event.payload) for event in store.read("s") if event.routing_key == f"key-{key}"]
        assert of_key == sorted(of_key)
        assert len(of_key) == len(range(key, 200, 7))


def test_after_a_commit_that_is_on_disk_and_can_not_be_made_known_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin)
    store.create_stream("s")
    store.writer("s").append(b"before").result()

    def bug(*_: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as broken:
        broken.setattr(store._committer.generations, "written", bug)
        ticket = store.writer("s").append(b"on disk")
        with pytest.raises(RuntimeError, match="a bug"):
            store.commit()
    with pytest.raises(StoreFailedError, match="open the store again"):
        ticket.result()
    with pytest.raises(StoreFailedError, match="open the store again"):
        store.writer("s").append(b"after").result()
    store.close()
    with SegmentStore.in_memory(twin) as store:
        assert payloads(store) == [b"before", b"on disk"]
        assert store.check().findings == []
