"""A machine's boots do not add up for ever: those before all that is readable are forgotten, and no time changes by it."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from storage import FakeClock, SegmentStore, StreamConfig, Ticket, block, forgetting
from storage.boots import Boot, Timeline
from storage.clock import RELEASED_NS
from storage.forgetting import needed_from
from storage.group import Group
from storage.kv.memory import MemoryTwin
from storage.kv.memory_chunks import MemoryChunks
from storage.model import Receipt
from storage.reading import SegmentScan
from tests.storage.conftest import Reopen
from tests.storage.footage import append

S = 1_000_000_000
NOW_NS = RELEASED_NS + 400 * 86_400 * S


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW_NS)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boots and segments in numbers that a test can make."""
    monkeypatch.setattr(forgetting, "BOOTS_KEPT", 2)
    monkeypatch.setattr(forgetting, "SEGMENTS_AT_ONCE", 2)


def boots(store: SegmentStore) -> list[int]:
    return [boot.number for boot in store._catalog.timelines[store.store_id].boots]


def times(store: SegmentStore, stream: str = "s") -> list[tuple[bytes, int, bool]]:
    return [(event.payload, event.time_ns, event.uncertain) for event in store.read(stream)]


def live(reopen: Reopen, clock: FakeClock, count: int, *streams: str, believed: bool = True) -> SegmentStore:
    """That many boots of an hour, an event in each to every stream."""
    store = reopen()
    for _ in range(count):
        store = reopen()
        for stream in streams:
            store.create_stream(stream)
            store.writer(stream).append(b"%d" % clock.boot_id.int).result()
        clock.advance(3600)
        clock.reboot()
        clock.reference = believed
    return store


def keep(store: SegmentStore, clock: FakeClock) -> int:
    """Steps of retention for as long as a walk takes; how many boots were forgotten."""
    clock.advance(2 * forgetting.WALK_EVERY_S)
    return sum(store.retain({}).forgotten_boots for _ in range(5))


@pytest.mark.long
def test_boots_before_the_first_that_is_named_are_forgotten_once_nothing_names_them(
    reopen: Reopen, clock: FakeClock
) -> None:
    live(reopen, clock, 10, "s", "t")
    store = reopen()
    assert boots(store) == list(range(1, 12))
    assert keep(store, clock) == 0
    store.truncate("s", list(store.read("s"))[9].position)
    assert keep(store, clock) == 0  # the other stream has all of them
    events = list(store.read("t"))
    store.truncate("t", events[7].position)
    before = times(store, "t")
    assert keep(store, clock) == 5
    assert boots(store) == list(range(6, 12))  # the eighth is named, two more are kept
    assert times(store, "t") == before
    again = reopen()
    assert boots(again) == list(range(6, 12))
    assert times(again, "t") == before
    assert again.check().findings == []


@pytest.mark.long
def test_a_store_with_nothing_readable_keeps_its_newest(reopen: Reopen, clock: FakeClock) -> None:
    live(reopen, clock, 10)
    store = reopen()
    keep(store, clock)
    assert boots(store) == [9, 10, 11]


@pytest.mark.long
def test_a_boot_stays_that_others_hang_on(reopen: Reopen, clock: FakeClock) -> None:
    """Boots of 1970 are placed behind the last that was trusted, however long ago that was."""
    live(reopen, clock, 4, "s")
    clock.step_wall(-clock.wall_ns() / S)
    clock.reference = False
    store = live(reopen, clock, 8, "s", believed=False)
    store = reopen()
    store.truncate("s", list(store.read("s"))[9].position)
    before = times(store)
    assert all(uncertain for _, _, uncertain in before)
    assert keep(store, clock) == 3
    assert boots(store)[0] == 4
    assert times(store) == before
    assert times(reopen()) == before


@pytest.mark.long
def test_what_waits_in_a_transaction_names_its_boot(reopen: Reopen, clock: FakeClock) -> None:
    store = live(reopen, clock, 1, "s")
    transaction = store.begin_transaction(["s"], lease_s=86_400)
    transaction.append(b"early").result()
    live(reopen, clock, 10, "t")
    store = reopen()
    store.truncate("t", "tail")
    store.truncate("s", "tail")
    keep(store, clock)
    assert boots(store)[0] == 1
    store.resume_transaction(transaction.id).commit()
    (early,) = times(store)
    assert abs(early[1] - NOW_NS) < 3601 * S


@pytest.mark.long
def test_above_the_bound_the_oldest_go_and_those_that_stay_do_not_move(
    reopen: Reopen, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.step_wall(-clock.wall_ns() / S)
    clock.reference = False
    live(reopen, clock, 9, "s", believed=False)
    store = reopen()
    before = times(store)
    monkeypatch.setattr(forgetting, "MAX_BOOTS", 4)
    assert keep(store, clock) == 6
    assert boots(store) == [7, 8, 9, 10]
    after = times(store)
    assert [payload for payload, _, _ in after] == [payload for payload, _, _ in before]
    assert after[6:] == before[6:]
    assert all(uncertain for _, _, uncertain in after)
    assert times(reopen()) == after
    told = [finding for finding in reopen().check().findings if "of which nothing is known" in finding.what]
    assert [finding.severity for finding in told] == ["note"] * 6
    assert reopen().check().ok


def test_a_hub_forgets_the_boots_of_a_node_as_its_streams_go(clock: FakeClock) -> None:
    twin = MemoryTwin()
    with SegmentStore.in_memory(clock=clock) as hub:
        for boot in range(8):
            with SegmentStore.in_memory(twin, clock=clock) as gateway:
                gateway.create_stream("s")
                gateway.writer("s").append(b"%d" % boot).result()
                held = hub.holdings("g")
                while (unit := gateway.next_unit("g", held.streams, lambda _: True, 1 << 20, held.boots)) is not None:
                    hub.submit_unit(unit).result()
                    held = hub.holdings("g")
            clock.advance(3600)
            clock.reboot()
        known = hub._catalog.timelines[twin.store_id]
        hub.truncate("g/s", list(hub.read("g/s"))[6].position)
        before = times(hub, "g/s")
        keep(hub, clock)
        left = hub._catalog.timelines[twin.store_id]
        assert (len(known.boots), [boot.number for boot in left.boots]) == (8, [5, 6, 7, 8])
        assert times(hub, "g/s") == before


@pytest.mark.long
def test_a_segment_that_would_not_say_keeps_all(
    reopen: Reopen, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(reopen, clock, 10, "s", "t")
    store = reopen()
    store.truncate("t", "tail")
    store.truncate("s", list(store.read("s"))[8].position)
    monkeypatch.setattr(forgetting, "GAP_MAGIC", block.MAGIC)  # every block looks like a gap
    monkeypatch.setattr(SegmentScan.entries_from, "__kwdefaults__", {"limit": 1, "max_bytes": 1})
    assert keep(store, clock) == 0


@pytest.mark.long
def test_a_bulk_stream_names_the_boots_of_its_blocks(reopen: Reopen, clock: FakeClock) -> None:
    reopen().create_stream("v", StreamConfig(kind="bulk"))
    live(reopen, clock, 8, "v")
    store = reopen()
    keep(store, clock)
    assert boots(store)[0] == 1
    store.truncate("v", list(store.read("v"))[6].position)
    keep(store, clock)
    assert boots(store)[0] == 5


def test_of_a_large_block_no_more_is_read_than_its_beginning(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = MemoryTwin()
    for _ in range(4):
        with SegmentStore.in_memory(twin, clock=clock) as store:
            store.create_stream("v", StreamConfig(kind="bulk"))
            append(store, clock.boot_id.int, 1_000_000, "v")
        clock.reboot()
    sizes: list[int] = []
    read = MemoryChunks.read

    def counted(chunks: MemoryChunks, number: int, offset: int, size_bytes: int) -> bytes:
        sizes.append(size_bytes)
        return read(chunks, number, offset, size_bytes)

    with SegmentStore.in_memory(twin, clock=clock) as store:
        store.truncate("v", list(store.read("v"))[3].position)
        monkeypatch.setattr(MemoryChunks, "read", counted)
        assert keep(store, clock) == 1
    assert sizes
    assert max(sizes) <= 16 << 10


@pytest.mark.long
def test_a_walk_is_taken_once_an_hour(reopen: Reopen, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    live(reopen, clock, 6, "s")
    store = reopen()
    looked: list[object] = []
    monkeypatch.setattr(forgetting.Forgetting, "_look_at", lambda self, scan: looked.append(scan.key))
    for _ in range(20):
        store.retain({})
    assert len(looked) == 1
    clock.advance(forgetting.WALK_EVERY_S)
    store.retain({})
    assert len(looked) == 2


def boot(number: int, *, trusted: bool) -> Boot:
    return Boot(UUID(int=1), UUID(int=number), number, 0, S, NOW_NS + number * 2 * S, trusted)


@pytest.mark.parametrize(("named", "first"), [(None, 300), (1, 1), (102, 1), (399, 1), (400, 300), (500, 300)])
def test_the_first_to_be_kept_is_a_trusted_one_well_before_the_first_that_is_named(
    named: int | None, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "BOOTS_KEPT", 100)
    trusted = {1, 300, 498}
    timeline = Timeline([boot(number, trusted=number in trusted) for number in range(1, 501)])
    assert needed_from(timeline, named) == first


def test_check_finds_boots_that_are_in_no_order(clock: FakeClock) -> None:
    with SegmentStore.in_memory(clock=clock) as store:
        store.create_stream("s")
        store.writer("s").append(b"x").result()
        known = store._catalog.timelines[store.store_id].boots[0]

        def note(changed: Boot) -> None:
            def take(group: Group, ticket: Ticket) -> None:
                group.note_boot(changed)
                group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))

            store.submit_take(take, 0).result()

        note(replace(known, id=UUID(int=99)))
        note(replace(known, id=UUID(int=98), number=7, first_ns=9, last_ns=3))
        told = [str(finding.what) for finding in store.check().findings]
        assert told == [
            f"{known.id} and {UUID(int=99)} are both number 1",
            "ends at 3 and begins at 9",
        ]
