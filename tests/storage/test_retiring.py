"""Generations that hold nothing any more go, with their space; what a repair brings back of them does no harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import FakeClock, Gap, GapReason, SegmentStore, StreamConfig, committer
from storage.keys import SegmentKey
from storage.kv.contract import Batch, Item
from storage.kv.memory import MemoryTwin
from storage.mirror.unit import Held, HeldSegment
from tests.storage.conftest import Reopen
from tests.storage.mirrored import replicate
from tests.storage.test_truncation import fill


@pytest.fixture(autouse=True)
def small_generations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "GENERATION_BYTES", 2000)
    monkeypatch.setattr(committer, "SETTLED_BYTES", 4000)


def names(store: SegmentStore, kind: str) -> list[str]:
    return [name for name in store._kv.families() if name.startswith(kind)]


def test_a_generation_below_every_start_goes_and_its_number_is_not_used_again(reopen: Reopen) -> None:
    store = reopen()
    fill(store, 40)
    before = names(store, "telemetry")
    assert len(before) > 3
    store.truncate("s", "tail")
    gone = store._retention.retire(everything=True)
    assert set(before) <= set(gone)
    assert names(store, "telemetry") == []
    store = reopen()
    events = fill(store, 2)
    assert len(events) == 4
    assert min(names(store, "telemetry")) > max(before)
    assert store.check().findings == []


def test_streams_of_another_class_lie_in_other_generations(store: SegmentStore) -> None:
    store.create_stream("camera", StreamConfig(when_full="drop-oldest", priority=1))
    store.create_stream("s")
    for _ in range(20):
        fill(store, 1, "camera")
        fill(store, 1, "s")
    store.truncate("camera", "tail")
    before = set(names(store, "telemetry"))
    assert before & set(store._retention.retire(everything=True))
    assert len(list(store.read("s"))) == 40
    assert list(store.read("camera")) == []
    assert store.check().findings == []


def test_the_chain_goes_as_far_as_nobody_needs_it(reopen: Reopen) -> None:
    store = reopen()
    events = fill(store, 60)
    store._retention.bounds.confirmed = {"s": 20}
    assert any(name.startswith("chain") for name in store._retention.retire())
    node = store._catalog.node
    assert node is not None
    assert 1 < node.chain <= 21
    store._retention.bounds.confirmed = {"s": 55}
    store._retention.retire()
    store = reopen()
    node = store._catalog.node
    assert node is not None
    assert 21 < node.chain <= 56
    assert list(store.read("s")) == events
    assert store.check().findings == []


def test_a_new_upstream_gets_all_of_it_where_the_chain_begins_later(reopen: Reopen) -> None:
    store = reopen()
    for number in range(30):
        fill(store, 1, "a")
        fill(store, 1, f"b{number % 2}")
    store._retention.retire()
    node = store._catalog.node
    assert node is not None
    assert node.chain > 10
    with SegmentStore.in_memory() as hub:
        assert replicate(store, hub) > 3
        for stream in ("a", "b0", "b1"):
            assert [e.payload for e in hub.read(f"g/{stream}")] == [e.payload for e in store.read(stream)]
        assert hub.check().findings == []
        fill(store, 3, "a")
        assert replicate(store, hub) == 1
        assert len(list(hub.read("g/a"))) == 66


def test_a_hub_whose_chain_begins_later_brings_mirrored_streams_on(reopen: Reopen) -> None:
    store = reopen()
    with SegmentStore.in_memory() as gateway, SegmentStore.in_memory() as above:
        fill(gateway, 40, "a")
        fill(gateway, 10, "b")
        replicate(gateway, store)
        fill(store, 10, "own")
        store._retention.retire()
        node = store._catalog.node
        assert node is not None
        assert node.chain > 5
        replicate(store, above, "h")
        for stream in ("g/a", "g/b", "own"):
            assert [e.payload for e in above.read(f"h/{stream}")] == [e.payload for e in store.read(stream)]
        fill(gateway, 4, "a")
        replicate(gateway, store)
        replicate(store, above, "h")
        assert len(list(above.read("h/g/a"))) == 88


@pytest.mark.parametrize("without_chain", [False, True])
def test_what_was_given_up_unsent_is_one_gap_upstream_and_then_the_rest(reopen: Reopen, without_chain: bool) -> None:
    store = reopen()
    with SegmentStore.in_memory() as hub:
        events = fill(store, 10)
        replicate(store, hub)
        events = fill(store, 30)
        store.truncate("s", events[50].position)
        if without_chain:
            store._retention.retire()
            node = store._catalog.node
            assert node is not None
            assert node.chain > 12
        replicate(store, hub)
        gaps: list[Gap] = []
        assert [e.payload for e in hub.read("g/s", on_gap=gaps.append)] == [
            *(e.payload for e in events[:20]),
            *(e.payload for e in events[50:]),
        ]
        assert [(gap.position, gap.next, gap.reason, gap.events) for gap in gaps] == [
            (events[20].position, events[50].position, GapReason.DROPPED, 30)
        ]
        assert hub.stream("g/s").segments[0].length == store.stream("s").segments[0].length
        assert hub.stream("g/s").segments[0].events == store.stream("s").segments[0].events
        assert [f for f in hub.check().findings if f.severity == "error"] == []
        store.truncate("s", "tail")
        fill(store, 1)
        replicate(store, hub)
        assert hub.stream("g/s").segments[0].length == store.stream("s").segments[0].length


def test_all_that_is_behind_was_given_up_and_upstream_still_comes_to_the_end(store: SegmentStore) -> None:
    with SegmentStore.in_memory() as hub:
        fill(store, 5)
        replicate(store, hub)
        fill(store, 5)
        store.truncate("s", "tail")
        assert replicate(store, hub) == 1
        assert replicate(store, hub) == 0
        assert hub.stream("g/s").segments[0].length == store.stream("s").segments[0].length
        assert [(gap.reason, gap.events) for gap in hub.gaps("g/s")] == [(GapReason.DROPPED, 10)]


def test_a_crash_between_the_commit_and_the_drop_leaves_nothing(clock: FakeClock) -> None:
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin, clock=clock)
    events = fill(store, 40)
    store.truncate("s", events[60].position)
    store._kv.drop_family = lambda name: None  # type: ignore[method-assign]
    gone = store._retention.retire()
    assert gone
    assert set(gone) <= set(twin.families)
    twin.power_cut()
    store = SegmentStore.in_memory(twin, clock=clock)
    assert not set(gone) & set(twin.families)
    assert list(store.read("s")) == events[60:]
    assert store.check().findings == []


@pytest.mark.parametrize("what", ["families", "records", "both"])
def test_what_a_repair_brings_back_does_no_harm(clock: FakeClock, what: str) -> None:
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin, clock=clock)
    events = fill(store, 60)
    old = twin.copy()
    store.truncate("s", events[90].position)
    gone = store._retention.retire()
    assert any(name.startswith("chain") for name in gone)
    assert any(name.startswith("telemetry") for name in gone)
    store.close()
    kv, before = twin.connect(), old.connect()
    batch = Batch()
    for name in gone:
        if what in ("families", "both"):
            kv.create_family(name)
            for key, value in before.scan(name, b"", None, limit=10_000):
                batch.put(name, key, value)
    if what in ("records", "both"):
        for key, value in before.scan("default", b"", None, limit=10_000):
            if key[:1] in b"FI" and kv.get("default", key) is None:
                batch.put("default", key, value)
    kv.write(batch)
    kv.sync()
    kv.close()
    before.close()
    store = SegmentStore.in_memory(twin, clock=clock)
    assert list(store.read("s")) == events[90:]
    assert store.check().ok, store.check().findings
    with SegmentStore.in_memory() as hub:
        replicate(store, hub)
        assert [e.payload for e in hub.read("g/s")] == [e.payload for e in events[90:]]
    assert fill(store, 20)[:30] == events[90:]
    store._retention.retire(everything=True)
    assert not set(gone) & set(twin.families)
    assert store.check().findings == []


def test_a_record_that_came_back_without_its_generation_is_written_to_all_the_same(clock: FakeClock) -> None:
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin, clock=clock)
    fill(store, 40)
    old = twin.copy()
    store.truncate("s", "tail")
    assert store._retention.retire(everything=True)
    store.close()
    kv, before = twin.connect(), old.connect()
    batch = Batch()
    for key, value in before.scan("default", b"F", b"G", limit=1000):
        batch.put("default", key, value)
    kv.write(batch)
    kv.sync()
    kv.close()
    store = SegmentStore.in_memory(twin, clock=clock)
    assert len(fill(store, 30)) == 60
    assert store.check().ok


def test_a_reader_that_was_inside_a_generation_when_it_went_is_told(tmp_path: Path) -> None:
    with SegmentStore.open(tmp_path / "store") as store:
        events = fill(store, 60)
        reader = store.reader("s")
        assert reader.poll(1) == events[:1]
        store.truncate("s", events[100].position)
        store._retention.retire()
        items = [item for _ in range(200) for item in reader.poll()]
        gaps = [item for item in items if isinstance(item, Gap)]
        assert [gap.reason for gap in gaps] == [GapReason.DROPPED]
        assert items[-20:] == events[100:]


def test_a_generation_that_goes_while_a_reader_looks_is_no_damage(
    store: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = fill(store, 60)
    reader = store.reader("s", events[10].position)
    scan = store._kv.scan
    went: list[bool] = []

    def late(
        family: str, start: bytes, stop: bytes | None, *, limit: int = 1000, max_bytes: int = 4 << 20
    ) -> list[Item]:
        if not went:
            went.append(True)
            store.truncate("s", events[100].position)
            assert store._retention.retire()
        return scan(family, start, stop, limit=limit, max_bytes=max_bytes)

    monkeypatch.setattr(store._kv, "scan", late)
    items = [item for _ in range(20) for item in reader.poll()]
    assert went
    assert [item.reason for item in items if isinstance(item, Gap)] == [GapReason.DROPPED]
    assert items[1:] == events[100:]


def test_an_upstream_that_is_told_of_held_streams_in_the_old_way_gets_a_gap_of_unknown_count(
    store: SegmentStore,
) -> None:
    fill(store, 5)
    with SegmentStore.in_memory() as hub:
        replicate(store, hub)
        events = fill(store, 5)
        store.truncate("s", events[14].position)
        held = hub.holdings("g").streams["s"]
        old = Held(held.incarnation, held.through, (HeldSegment(0, 0, held.length),))
        unit = store.next_unit("g", {"s": old}, lambda _: True, 10_000)
        assert unit is not None
        assert unit.events == 6
        hub.submit_unit(unit).result()
        assert [(gap.reason, gap.events) for gap in hub.gaps("g/s")] == [(GapReason.DROPPED, None)]


def test_a_segments_generations_follow_each_other_by_number(
    store: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are too many classes for one generation each, a stream may come to one that is older than its last."""
    monkeypatch.setattr("storage.generations.MAX_GROUPS", 2)
    configs = [StreamConfig(priority=priority) for priority in (1, 2, 3)]
    for number, config in enumerate(configs):
        store.create_stream(f"s{number}", config)
    for _ in range(3):
        for number in (0, 1):
            fill(store, 1, f"s{number}")
        events = fill(store, 1, "s2")
        generations = [number for _, number in store._catalog.generations_of(SegmentKey(3, 0, 0))]
        assert generations == sorted(generations)
        store.truncate("s1", "tail")
        store._retention.retire(everything=True)
        assert list(store.read("s2")) == events
    fill(store, 1, "s0")
    fill(store, 1, "s1")
    last = store._catalog.generations_of(SegmentKey(2, 0, 0))[-1][1]
    into = store._committer.generations.begin(99, 1 << 20, 1 << 20)
    assert into.telemetry(configs[0]).number < last
    assert into.telemetry(configs[0], after=last).number > last
    assert into.telemetry(configs[0]).number > last
    assert store._committer.generations.begin(99, 1 << 20, 1 << 20).telemetry(configs[0], after=last).number > last


def test_a_generation_that_was_lost_is_shown_as_damage_between_what_is_left(reopen: Reopen) -> None:
    store = reopen()
    events = fill(store, 60)
    ((first, _), (end, _)) = [at for at in store._catalog.generations_of(SegmentKey(1, 0, 0)) if at[1] in (2, 3)]
    store._kv.drop_family("telemetry-00000002")
    store = reopen()
    gaps: list[Gap] = []
    left = [event for event in events if not first <= event.position.offset < end]
    assert list(store.read("s", on_gap=gaps.append)) == left
    assert len(left) < len(events)
    assert [(gap.position.offset, gap.next.offset, gap.reason) for gap in gaps] == [(first, end, GapReason.DAMAGED)]
