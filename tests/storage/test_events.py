"""An event that was read says what was said of it, though it holds only its payload and its place."""

from __future__ import annotations

import pickle

from storage import Append, Event, FakeClock, Frame, SegmentStore
from storage.kv.memory import MemoryTwin


def read() -> list[Event]:
    clock = FakeClock()
    store = SegmentStore.in_memory(MemoryTwin(), clock=clock)
    store.create_stream("s")
    times = [clock.boot_ns() - 30, clock.boot_ns() - 10, clock.boot_ns() - 20]
    store.submit([Append("s", [Frame([b"a", b"bb", b"c"], "k", "t", (("h", b"v"),), None, times, "w", 7)])]).result()
    store.submit([Append("s", [Frame([b"d"])])]).result()
    return list(store.read("s"))


def test_each_event_of_a_frame_has_its_own_time_number_and_place() -> None:
    events = read()
    clock = FakeClock()
    assert [event.payload for event in events] == [b"a", b"bb", b"c", b"d"]
    assert [clock.wall_ns() - event.time_ns for event in events] == [30, 10, 20, 0]
    assert [event.number for event in events] == [7, 8, 9, None]
    assert [event.writer for event in events] == ["w", "w", "w", None]
    assert [event.position.place for event in events] == [0, 1, 2, 0]
    assert [event.next for event in events[:3]] == [event.position for event in events[1:]]
    assert events[3].next > events[3].position


def test_events_are_equal_where_all_that_is_said_of_them_is() -> None:
    for event in read():
        made = Event(
            event.stream, event.position, event.next, event.time_ns, event.routing_key, event.writer, event.number,
            event.content_type, event.headers, event.payload, event.uncertain,
        )  # fmt: skip
        assert made == event
        assert hash(made) == hash(event)
        assert made.in_stream("other") != event
        assert made.in_stream("other").stream == "other"
        assert Event(*(*made.__getnewargs__()[:9], b"other payload")) != event  # type: ignore[arg-type]
        assert event != event.position


def test_an_event_can_be_sent_to_another_process() -> None:
    events = read()
    assert pickle.loads(pickle.dumps(events)) == events


def test_an_event_shows_what_it_is() -> None:
    assert repr(read()[0]).startswith("Event('s', Position(number=0, epoch=0, offset=0, place=0)")
