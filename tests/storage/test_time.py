"""Time: events of a clock that lied are readable under the corrected time, in the order in which they were written."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

import pytest

from edge.cli.events import line_of
from edge.events import event_line, parse_event
from storage import Event, FakeClock, SegmentStore, SystemClock
from storage.boots import Boot, Timeline
from storage.clock import RELEASED_NS
from storage.errors import ConditionFailedError
from storage.kv.contract import Item
from storage.kv.memory import MemoryStore, MemoryTwin
from storage.reading import READ_AHEAD_BLOCKS
from tests.storage.conftest import Reopen

S = 1_000_000_000
NOW_NS = RELEASED_NS + 30 * 86_400 * S
STORE = UUID(int=77)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW_NS)


def write(store: SegmentStore, payload: bytes, stream: str = "s") -> None:
    store.create_stream(stream)
    store.writer(stream).append(payload).result()


def believe(clock: FakeClock, wall_ns: int, *, trusted: bool) -> None:
    clock.step_wall((wall_ns - clock.wall_ns()) / S)
    clock.reference = trusted


def times(store: SegmentStore, stream: str = "s") -> list[tuple[bytes, int, bool]]:
    return [(event.payload, event.time_ns, event.uncertain) for event in store.read(stream)]


def test_what_was_written_in_1970_is_read_under_the_corrected_time(reopen: Reopen, clock: FakeClock) -> None:
    believe(clock, 0, trusted=False)
    store = reopen()
    write(store, b"before")
    clock.advance(100)
    believe(clock, NOW_NS, trusted=True)
    write(store, b"after")
    for again in (False, True):
        opened = reopen() if again else store
        assert times(opened) == [(b"before", NOW_NS - 100 * S, False), (b"after", NOW_NS, False)]
        assert [e.payload for e in opened.read("s", "50s")] == [b"after"]
        assert [e.payload for e in opened.read("s", "150s")] == [b"before", b"after"]


def test_a_correction_is_kept_where_nothing_is_written_after_it(reopen: Reopen, clock: FakeClock) -> None:
    believe(clock, 0, trusted=False)
    store = reopen()
    write(store, b"only")
    assert not store.keep_time()
    clock.advance(100)
    believe(clock, NOW_NS, trusted=True)
    assert store.keep_time()
    store.commit()
    assert not store.keep_time()
    clock.reboot()
    assert times(reopen()) == [(b"only", NOW_NS - 100 * S, False)]


def test_a_clock_that_is_not_trusted_never_overrides_one_that_was(reopen: Reopen, clock: FakeClock) -> None:
    store = reopen()
    write(store, b"a")
    believe(clock, NOW_NS + 10 * 365 * 86_400 * S, trusted=False)
    write(store, b"b")
    assert times(store) == [(b"a", NOW_NS, False), (b"b", NOW_NS, False)]


def test_a_boot_in_1970_between_two_good_ones_lies_between_them(reopen: Reopen, clock: FakeClock) -> None:
    write(reopen(), b"good")
    clock.reboot()
    believe(clock, 0, trusted=False)
    store = reopen()
    clock.advance(50)
    write(store, b"lost")
    assert times(store)[-1] == (b"lost", NOW_NS + 50 * S, True)
    clock.reboot()
    believe(clock, NOW_NS + 3600 * S, trusted=True)
    store = reopen()
    write(store, b"better")
    assert times(store) == [
        (b"good", NOW_NS, False), (b"lost", NOW_NS + 50 * S, True), (b"better", NOW_NS + 3600 * S, False),
    ]  # fmt: skip


def test_the_first_boot_of_all_ends_before_the_first_good_one(reopen: Reopen, clock: FakeClock) -> None:
    believe(clock, 0, trusted=False)
    store = reopen()
    write(store, b"first")
    clock.advance(50)
    write(store, b"second")
    clock.reboot()
    believe(clock, NOW_NS, trusted=True)
    assert times(reopen()) == [(b"first", NOW_NS - 50 * S, True), (b"second", NOW_NS, True)]


def test_two_lost_boots_in_a_row_keep_their_order_and_their_lengths(reopen: Reopen, clock: FakeClock) -> None:
    write(reopen(), b"good")
    for number in range(2):
        clock.reboot()
        believe(clock, 0, trusted=False)
        store = reopen()
        write(store, b"%d begins" % number)
        clock.advance(50)
        write(store, b"%d ends" % number)
    clock.reboot()
    believe(clock, NOW_NS + 60 * S, trusted=True)
    # Only 60 s lie between the good boots and 100 s were run: the later neighbour knows better.
    assert [time_ns for _, time_ns, _ in times(reopen())] == [
        NOW_NS, NOW_NS - 40 * S, NOW_NS + 10 * S, NOW_NS + 10 * S, NOW_NS + 60 * S,
    ]  # fmt: skip


def test_a_belief_does_not_begin_before_what_was_run_since_the_last_good_boot() -> None:
    boots = [
        Boot(STORE, UUID(int=1), 1, 0, 10 * S, NOW_NS, True),
        Boot(STORE, UUID(int=2), 2, 0, 100 * S, 0),
        Boot(STORE, UUID(int=3), 3, 0, 100 * S, NOW_NS + 20 * S),
    ]
    assert Timeline(boots).shift(UUID(int=3)) == (NOW_NS + 110 * S, True)


def test_an_age_is_counted_from_now_as_the_events_are_shown(reopen: Reopen, clock: FakeClock) -> None:
    write(reopen(), b"good")
    clock.reboot()
    believe(clock, 0, trusted=False)
    store = reopen()
    clock.advance(60)
    write(store, b"running")
    clock.advance(5)
    assert [event.payload for event in store.read("s", "10s")] == [b"running"]


def test_a_node_tells_of_its_own_boots_only_and_leaves_out_none() -> None:
    clock = FakeClock(NOW_NS)
    gateway = SegmentStore.in_memory(MemoryTwin(), clock=clock)
    hub = SegmentStore.in_memory(MemoryTwin(), clock=FakeClock(NOW_NS, boot=9))
    write(hub, b"here")
    write(gateway, b"there")
    unit = gateway.next_unit("g", {}, lambda _: True, 1 << 20, 0)
    assert unit is not None
    liar = replace(unit.boots[0], store=hub.store_id, id=UUID(int=9), wall_offset_ns=0)
    hub.submit_unit(replace(unit, boots=(*unit.boots, liar))).result()
    assert times(hub) == [(b"here", NOW_NS, False)]
    assert times(hub, "g/s") == [(b"there", NOW_NS, False)]
    assert hub.holdings("g").boots == unit.boots_through
    ahead = replace(unit, parts=(), boots_after=unit.boots_through + 5, boots_through=unit.boots_through + 6)
    with pytest.raises(ConditionFailedError, match="what was sent continues"):
        hub.submit_unit(ahead).result()


def test_a_belief_between_its_neighbours_stands(reopen: Reopen, clock: FakeClock) -> None:
    write(reopen(), b"good")
    clock.reboot()
    believe(clock, NOW_NS + 700 * S, trusted=False)
    write(reopen(), b"kept by a battery")
    clock.reboot()
    believe(clock, NOW_NS + 3600 * S, trusted=True)
    assert times(reopen())[-1] == (b"kept by a battery", NOW_NS + 700 * S, True)


def test_uncertain_times_are_shown_as_such() -> None:
    clock = FakeClock(NOW_NS, reference=False)
    store = SegmentStore.in_memory(MemoryTwin(), clock=clock)
    write(store, b"x")
    (event,) = store.read("s")
    assert event_line(event)["time_uncertain"] is True
    assert parse_event(event_line(event)) == event
    assert line_of(event).startswith("~2026-12-01T00:00:00")
    certain: Event = tuple.__new__(Event, (event.frame._replace(uncertain=False), event.position.place, event.payload))
    assert "time_uncertain" not in event_line(certain)
    assert line_of(certain).startswith("2026-12-01T00:00:00")


def test_a_machine_trusts_its_clock_when_the_kernel_does_and_it_is_not_in_the_past() -> None:
    class Fixed(SystemClock):
        wall = NOW_NS

        def wall_ns(self) -> int:
            return self.wall

    assert not Fixed(lambda: False).trusted()
    clock = Fixed(lambda: True)
    assert clock.trusted()
    clock.wall = RELEASED_NS - 1
    assert not clock.trusted()
    assert isinstance(SystemClock().trusted(), bool)


def test_where_a_later_clock_stood_earlier_nothing_written_since_is_left_out(reopen: Reopen, clock: FakeClock) -> None:
    believe(clock, NOW_NS + 100_000 * S, trusted=True)
    store = reopen()
    for number in range(5):
        write(store, b"ahead %d" % number)
        clock.advance(10)
    clock.reboot()
    believe(clock, NOW_NS, trusted=True)
    store = reopen()
    for number in range(5):
        write(store, b"right %d" % number)
        clock.advance(10)
    assert next(store.read("s", "30s")).payload == b"ahead 0"
    assert store.resolve("s", "2026-12-02T03:47:20Z") == [e.position for e in store.read("s")][4]
    assert store.resolve("s", "2026-12-02T03:47:21Z") == store.resolve("s", "tail"), "behind all that it wrote"


@pytest.mark.long
def test_a_stream_that_was_silent_for_boots_and_cut_at_its_head(reopen: Reopen, clock: FakeClock) -> None:
    for number in range(12):
        store = reopen()
        write(store, b"%d" % number, "busy")
        if number in (3, 4, 9):
            write(store, b"%d" % number)
        clock.advance(3600)
        write(store, b"on and on", "busy")
        clock.reboot()
    places = [event.position for event in store.read("s")]
    store.truncate("s", places[1])
    places.append(store.resolve("s", "tail"))
    for hour, expected in ((0, 1), (3, 1), (4, 1), (4.5, 2), (5, 2), (7, 2), (9, 2), (10, 3)):
        moment = datetime.fromtimestamp(NOW_NS / S + hour * 3600, UTC).isoformat()
        assert store.resolve("s", moment) == places[expected], hour


@pytest.mark.long
def test_a_read_by_time_looks_at_few_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock(NOW_NS)
    twin = MemoryTwin()
    for count in (1500, 1500, *[10] * 20):
        store = SegmentStore.in_memory(twin, clock=clock)
        for number in range(count):
            write(store, b"%d" % number)
            clock.advance(1)
        store.close()
        clock.reboot()
    store = SegmentStore.in_memory(twin, clock=clock)
    looked = 0
    last_before, scan = MemoryStore.last_before, MemoryStore.scan

    def counted(self: MemoryStore, family: str, start: bytes, end: bytes) -> Item | None:
        nonlocal looked
        looked += 1
        return last_before(self, family, start, end)

    def counted_scan(
        self: MemoryStore, family: str, start: bytes, stop: bytes | None, *, limit: int = 1000, max_bytes: int = 4 << 20
    ) -> list[Item]:
        nonlocal looked
        items = scan(self, family, start, stop, limit=limit, max_bytes=max_bytes)
        looked += len(items)
        return items

    monkeypatch.setattr(MemoryStore, "last_before", counted)
    monkeypatch.setattr(MemoryStore, "scan", counted_scan)
    for seconds in (1, 77, 300, 1701, 3199):
        looked = 0
        position = store.resolve("s", f"{seconds}s")
        assert looked < 120 + 2 * READ_AHEAD_BLOCKS
        (event,) = store.read("s", position, limit=1)
        assert event.time_ns == NOW_NS + (3200 - seconds) * S


def test_a_boot_that_ran_on_while_the_stream_was_silent_is_passed_over(reopen: Reopen, clock: FakeClock) -> None:
    store = reopen()
    write(store, b"early")
    clock.advance(1000)
    write(store, b"late", "busy")
    clock.reboot()
    clock.step_wall(1000)
    store = reopen()
    write(store, b"after")
    assert [e.payload for e in store.read("s", "1500s")] == [b"after"]


def test_what_came_through_another_hub_is_read_by_the_boots_it_was_written_in() -> None:
    clock = FakeClock(NOW_NS - 7000 * S, boot=5)
    chain = [SegmentStore.in_memory(clock=clock)]
    chain += [SegmentStore.in_memory(clock=FakeClock(NOW_NS, boot=boot)) for boot in (6, 7)]
    for number in range(7):
        write(chain[0], b"%d" % number)
        clock.advance(1000)
    for number, (lower, upper) in enumerate(pairwise(chain)):
        unit = lower.next_unit(f"n{number}", {}, lambda _: True, 1 << 20, 0)
        assert unit is not None
        upper.submit_unit(unit).result()
    read = [list(store.read(stream, "3500s")) for store, stream in zip(chain, ("s", "n0/s", "n1/n0/s"), strict=True)]
    assert [[(event.payload, event.time_ns, event.uncertain) for event in events] for events in read] == [
        [(b"%d" % number, NOW_NS - (7 - number) * 1000 * S, False) for number in (4, 5, 6)]
    ] * 3
