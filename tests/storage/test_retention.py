"""Retention by age, bytes and consumption, and what it never takes: what is not confirmed or not read."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from storage import FakeClock, RetentionPolicy, SegmentStore, StreamConfig
from storage.errors import StoreFullError
from tests.storage.conftest import Reopen
from tests.storage.mirrored import replicate

HOUR_S = 3600.0


def hourly(store: SegmentStore, clock: FakeClock, hours: int, stream: str = "s") -> None:
    writer = store.writer(stream, "w")
    for _ in range(hours):
        writer.append(b"%d" % writer.next_number).result()
        clock.advance(HOUR_S)


def numbers(store: SegmentStore, stream: str = "s") -> list[int]:
    return [int(event.payload) for event in store.read(stream)]


def kept(
    max_age_s: float | None = None, max_bytes: int | None = None, consumed: bool = False, **more: str
) -> StreamConfig:
    return StreamConfig(retention=RetentionPolicy(max_age_s, max_bytes, consumed), **more)  # type: ignore[arg-type]


def test_what_is_older_goes(reopen: Reopen, clock: FakeClock) -> None:
    store = reopen()
    store.create_stream("s", kept(max_age_s=5.5 * HOUR_S))
    store.create_stream("t")
    hourly(store, clock, 10)
    hourly(store, clock, 1, "t")
    clock.advance(-HOUR_S)
    assert store.retain({}).truncated == ("s",)
    assert numbers(store) == [5, 6, 7, 8, 9]
    assert numbers(store, "t") == [0]
    assert store.stream("s").dropped["age"].events == 5
    store = reopen()
    assert store.stream("s").config.retention == RetentionPolicy(5.5 * HOUR_S)
    assert numbers(store) == [5, 6, 7, 8, 9]
    clock.advance(HOUR_S)
    store.retain({})
    assert numbers(store) == [6, 7, 8, 9]


@pytest.mark.parametrize("step_s", [-40 * 365 * 86400.0, 10 * 365 * 86400.0])
def test_a_clock_that_jumps_expires_nothing(store: SegmentStore, clock: FakeClock, step_s: float) -> None:
    store.create_stream("s", kept(max_age_s=24 * HOUR_S))
    hourly(store, clock, 10)
    clock.step_wall(step_s)
    hourly(store, clock, 5)
    store.retain({})
    assert numbers(store) == list(range(15))


def test_across_boots_only_time_that_is_known_to_have_passed_counts(reopen: Reopen, clock: FakeClock) -> None:
    store = reopen()
    store.create_stream("s", kept(max_age_s=12.5 * HOUR_S))
    for _ in range(3):
        hourly(store, clock, 5)
        clock.step_wall(365 * 86400.0)
        clock.reboot()
        store = reopen()
        store.retain({})
        assert numbers(store)[0] == 0
    clock.advance(3 * HOUR_S)
    store.retain({})
    assert numbers(store)[0] == 3
    clock.advance(30 * HOUR_S)
    store.retain({})
    assert numbers(store) == []


TEN_YEARS_S = 10 * 365 * 86_400.0


@pytest.mark.long
@pytest.mark.parametrize("trusted", [True, False])
def test_a_reference_that_is_ten_years_wrong_and_then_right_again_expires_nothing(
    reopen: Reopen, clock: FakeClock, trusted: bool
) -> None:
    """Within a boot and across boots, whoever vouches for it."""
    clock.reference = trusted
    store = reopen()
    store.create_stream("s", kept(max_age_s=24 * HOUR_S))
    for step_s in (0.0, TEN_YEARS_S, -TEN_YEARS_S, TEN_YEARS_S):
        clock.step_wall(step_s)
        hourly(store, clock, 2)
        store.retain({})
        clock.step_wall(-step_s)
        clock.reboot()
        clock.step_wall(step_s)
        store = reopen()
        store.keep_time()
        hourly(store, clock, 2)
        store.retain({})
        clock.step_wall(-step_s)
    assert numbers(store) == list(range(16))
    clock.advance(30 * HOUR_S)
    store.retain({})
    assert numbers(store) == []


def test_boots_in_1970_expire_nothing_early_and_what_ran_in_them_counts(reopen: Reopen, clock: FakeClock) -> None:
    now_ns = clock.wall_ns()
    store = reopen()
    store.create_stream("s", kept(max_age_s=13.5 * HOUR_S))
    hourly(store, clock, 5)
    for _ in range(2):
        clock.reboot()
        clock.step_wall(-clock.wall_ns() / 1e9)
        clock.reference = False
        store = reopen()
        hourly(store, clock, 5)
        store.retain({})
        assert numbers(store)[0] == 0
    clock.step_wall((now_ns - clock.wall_ns()) / 1e9 + TEN_YEARS_S)
    clock.reference = True
    store.keep_time()
    store.commit()
    store.retain({})
    assert numbers(store) == list(range(15))  # 4 h each of the first two boots, 5 h of this one
    clock.advance(HOUR_S)
    store.retain({})
    assert numbers(store) == list(range(1, 15))


@pytest.mark.parametrize("confirmed", [0, 3, 7])
def test_age_never_takes_what_is_not_confirmed(store: SegmentStore, clock: FakeClock, confirmed: int) -> None:
    store.create_stream("s", kept(max_age_s=1.0, when_full="drop-oldest"))
    before = store.last_commit
    hourly(store, clock, 10)
    store.retain({"s": before + confirmed})
    assert numbers(store) == list(range(confirmed, 10))
    dropped = store.stream("s").dropped
    assert (dropped["age"].events if dropped else 0) == confirmed
    store.retain({"s": store.last_commit})
    assert numbers(store) == []


def test_bytes_are_held_by_dropping_the_oldest(store: SegmentStore, clock: FakeClock) -> None:
    store.create_stream("s", kept(max_bytes=2000, when_full="drop-oldest"))
    hourly(store, clock, 200)
    store.retain({"s": 0})
    (segment,) = store.stream("s").segments
    assert 1900 < segment.length - segment.start <= 2000
    assert numbers(store) == list(range(200 - len(numbers(store)), 200))
    dropped = store.stream("s").dropped["bytes"]
    assert dropped.events == dropped.unsent == 200 - len(numbers(store))


def test_a_stream_that_blocks_refuses_at_its_own_limit_and_only_that_stream(
    store: SegmentStore, clock: FakeClock
) -> None:
    store.create_stream("s", kept(max_bytes=2000))
    store.create_stream("t")
    with pytest.raises(StoreFullError, match=r"retention\.max_bytes"):
        hourly(store, clock, 200)
    before = numbers(store)
    hourly(store, clock, 5, "t")
    store.retain({})
    assert numbers(store) == before
    store.retain({"s": 0})
    assert numbers(store) == before
    with pytest.raises(StoreFullError):
        hourly(store, clock, 1)


def test_a_stream_that_blocks_gives_up_what_is_confirmed_to_go_on(store: SegmentStore, clock: FakeClock) -> None:
    store.create_stream("s", kept(max_bytes=2000))
    with SegmentStore.in_memory() as hub:
        for _ in range(5):
            with pytest.raises(StoreFullError):
                hourly(store, clock, 200)
            replicate(store, hub)
            store.retain({"s": hub.holdings("g").streams["s"].through})
        with pytest.raises(StoreFullError):
            store.writer("s", "w").append(bytes(1500))
        store.retain({"s": store.last_commit})
        store.writer("s", "w").append(b"%d" % 10**1500).result()
        replicate(store, hub)
        sent = numbers(hub, "g/s")
        assert sent == [*range(len(sent) - 1), 10**1500]
        assert len(sent) > 100
        assert hub.gaps("g/s") == []
        assert store.stream("s").dropped["bytes"].unsent == 0


def test_what_every_consumer_has_read_goes(store: SegmentStore, clock: FakeClock) -> None:
    store.create_stream("s", kept(consumed=True))
    hourly(store, clock, 10)
    events = list(store.read("s"))
    store.retain({})
    assert numbers(store) == list(range(10))
    store.retain({}, {"s": [events[4].position]})
    assert numbers(store) == list(range(4, 10))
    store.retain({"s": events[0].position.offset}, {"s": [events[9].position]})
    assert numbers(store) == list(range(4, 10))
    store.retain({"s": store.last_commit}, {"s": [events[9].position]})
    assert numbers(store) == [9]
    assert store.stream("s").dropped["consumed"].events == 9


def test_age_does_not_take_what_a_consumer_has_not_read(store: SegmentStore, clock: FakeClock) -> None:
    store.create_stream("s", kept(max_age_s=1.0))
    hourly(store, clock, 10)
    events = list(store.read("s"))
    store.retain({}, {"s": [events[3].position]})
    assert numbers(store) == list(range(3, 10))


@pytest.mark.parametrize("policy", [kept(max_age_s=HOUR_S), kept(max_bytes=300), kept(consumed=True)])
def test_a_consumer_in_the_middle_of_a_commit_keeps_all_of_it(
    store: SegmentStore, clock: FakeClock, policy: StreamConfig
) -> None:
    store.create_stream("s", policy)
    for commit in range(3):
        tickets = [store.writer("s").append(b"%d" % (10 * commit + key), f"k{key}") for key in range(3)]
        assert len({ticket.result().commit for ticket in tickets}) == 1
    events = list(store.read("s"))
    clock.advance(10 * HOUR_S)
    store.retain({"s": store.last_commit}, {"s": [events[4].next]})
    assert numbers(store) == [10, 11, 12, 20, 21, 22]
    assert store.stream("s").segments[0].start == events[3].position.offset
    assert store.check().findings == []


def test_a_mirrored_stream_is_not_older_than_the_hub_knows(clock: FakeClock) -> None:
    with SegmentStore.in_memory(clock=clock) as gateway, SegmentStore.in_memory(clock=FakeClock(boot=9)) as hub:
        gateway.create_stream("s", kept(max_age_s=5.5 * HOUR_S))
        hourly(gateway, clock, 4)
        replicate(gateway, hub)
        hub._retention._clock.advance(1000 * HOUR_S)  # type: ignore[attr-defined]
        policy = RetentionPolicy(5.5 * HOUR_S)
        hub.retain({}, {}, {"g/s": policy})
        assert numbers(hub, "g/s") == [0, 1, 2, 3]
        hourly(gateway, clock, 6)
        replicate(gateway, hub)
        hub.retain({})
        assert numbers(hub, "g/s") == list(range(10))
        hub.retain({}, {}, {"g/s": policy})
        assert numbers(hub, "g/s") == [4, 5, 6, 7, 8, 9]


def test_a_generation_that_is_mostly_dead_gives_its_space_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.retention.compacting.KEYS_AT_ONCE", 20)
    chance = random.Random(1)
    family = "telemetry-00000001"
    with SegmentStore.open(tmp_path / "store") as store:
        store.create_stream("goes")
        store.create_stream("stays")
        for number in range(60):
            store.writer("goes", "w").append(chance.randbytes(100_000), number=number).result()
            store.writer("stays", "w").append(b"%d" % number, number=number).result()
        before = store._kv.family_bytes(family)
        assert before > 6_000_000
        assert store.retain({}).compacted is None
        store.truncate("goes", "tail")
        compacted = [store.retain({}).compacted for _ in range(6)]
        assert [name for name in compacted if name] == [family]
        assert store._kv.family_bytes(family) < 1_000_000
        assert numbers(store, "stays") == list(range(60))
        assert store.check().findings == []
    with SegmentStore.open(tmp_path / "store") as store:
        assert numbers(store, "stays") == list(range(60))
        assert store.check().findings == []
