"""One limit over everything on disk, at its peak, and what each stream's policy gives up for it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from storage import Append, Event, FakeClock, Frame, Gap, GapReason, SegmentStore, StreamConfig, Ticket
from storage.kv.memory import MemoryTwin
from tests.storage.counts import COUNTS, CountsCodec
from tests.storage.mirrored import replicate

LIMIT = 400_000


class Ring:
    """A store on the twin under a limit, and what is on its disk at every write."""

    def __init__(self, *streams: tuple[str, StreamConfig]) -> None:
        self.twin = MemoryTwin()
        self.clock = FakeClock()
        self.store = SegmentStore.in_memory(self.twin, clock=self.clock, disk_limit=LIMIT)
        self.random = random.Random(7)
        self.peak = 0
        self.sent: dict[str, list[bytes]] = {}
        for name, config in streams:
            self.store.create_stream(name, config)
            self.sent[name] = []

    def append(self, stream: str, size: int = 1000) -> Ticket:
        payload = b"%06d" % len(self.sent[stream]) + self.random.randbytes(size)
        ticket = self.store.submit([Append(stream, [Frame([payload])])])
        self.sent[stream].append(payload)
        self.store.commit()
        self.peak = max(self.peak, self.twin.used_bytes)
        return ticket

    def live(self, stream: str) -> list[bytes]:
        return [event.payload for event in self.store.read(stream)]


def dropping(priority: int = 10) -> StreamConfig:
    return StreamConfig(when_full="drop-oldest", priority=priority)


@pytest.mark.long
def test_the_oldest_goes_and_the_limit_holds() -> None:
    ring = Ring(("a", dropping()))
    for _ in range(3000):
        assert ring.append("a").done()
    assert ring.peak <= LIMIT
    assert ring.twin.used_bytes > 0.6 * LIMIT
    live = ring.live("a")
    assert live == ring.sent["a"][-len(live) :]
    assert len(live) > 150
    dropped = ring.store.stream("a").dropped["disk_limit"]
    assert dropped.events == 3000 - len(live)
    assert ring.store.check().findings == []


@pytest.mark.long
def test_state_is_never_given_up() -> None:
    ring = Ring(("readings", dropping(1 << 21)))
    counts = ring.store.synchronizer(COUNTS, CountsCodec())
    counts.update(lambda state: ["a"])
    ring.store.retain({COUNTS: 1 << 40, "readings": 1 << 40})
    for _ in range(1000):
        assert ring.append("readings").done()
    assert len(ring.live("readings")) < 400
    assert ring.store.synchronizer(COUNTS, CountsCodec()).fetch() == {"a": 1}
    counts.update(lambda state: ["a"])


@pytest.mark.long
def test_the_smaller_priority_goes_first() -> None:
    ring = Ring(("readings", dropping(20)), ("camera", dropping(5)))
    for number in range(2000):
        ring.append("camera")
        if number % 20 == 0:
            ring.append("readings")
    assert ring.live("readings") == ring.sent["readings"]
    assert ring.store.stream("readings").dropped == {}
    assert 0 < len(ring.live("camera")) < 400
    assert ring.peak <= LIMIT


def test_a_stream_that_blocks_loses_nothing_and_goes_on_when_upstream_confirms() -> None:
    ring = Ring(("a", StreamConfig()))
    tickets = []
    while ring.store.blocked is None:
        tickets.append(ring.append("a"))
        assert len(tickets) < 1000
    assert "disk_limit" in (ring.store.blocked or "")
    assert "a (about" in (ring.store.blocked or "")
    assert not tickets[-1].done()
    assert all(ticket.done() for ticket in tickets[:-1])
    assert ring.live("a") == ring.sent["a"][:-1]
    ring.store.retain({"a": 0})
    assert not ring.store.commit()
    ring.store.retain({"a": ring.store.last_commit - 50})
    assert ring.store.commit()
    assert tickets[-1].done()
    assert ring.store.blocked is None
    live = ring.live("a")
    assert live == ring.sent["a"][-len(live) :]
    assert len(live) >= 50
    assert ring.peak <= LIMIT


def test_a_truncation_frees_space_when_the_limit_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Ring(("a", StreamConfig()))
    while ring.store.blocked is None:
        last = ring.append("a")
    middle = list(ring.store.read("a"))[200]
    missing = ring.store._committer.budget.missing
    monkeypatch.setattr(ring.store._committer.budget, "missing", lambda batch_bytes: missing(batch_bytes) + 1)
    assert ring.store.truncate("a", middle.position)
    monkeypatch.undo()
    assert ring.store.commit()
    assert last.done()
    assert ring.live("a")[0] == middle.payload


def test_what_waits_for_room_keeps_its_order() -> None:
    ring = Ring(("a", dropping()))
    for _ in range(400):
        ring.append("a")
    for _ in range(60):
        payload = b"%06d" % len(ring.sent["a"]) + ring.random.randbytes(3000)
        ring.store.submit([Append("a", [Frame([payload])])])
        ring.sent["a"].append(payload)
    while ring.store.commit():
        pass
    live = ring.live("a")
    assert live == ring.sent["a"][-len(live) :]


@pytest.mark.long
def test_one_stream_that_blocks_does_not_keep_others_from_giving_up_theirs() -> None:
    ring = Ring(("block", StreamConfig(priority=1)), ("drop", dropping(30)))
    for _ in range(100):
        ring.append("block")
    for _ in range(1000):
        assert ring.append("drop").done()
    assert ring.live("block") == ring.sent["block"]
    assert ring.peak <= LIMIT


def test_what_a_consumer_has_not_read_stays_where_the_stream_blocks() -> None:
    ring = Ring(("a", StreamConfig()))
    while ring.store.blocked is None:
        ring.append("a")
    ring.store.retain({"a": 1 << 40}, {"a": []})
    assert not ring.store.commit()
    half = list(ring.store.read("a"))[150]
    ring.store.retain({"a": 1 << 40}, {"a": [half.position]})
    assert ring.store.commit()
    assert half.payload in ring.live("a")


@pytest.mark.long
def test_a_hub_that_brings_a_mirrored_stream_on_gives_up_what_is_above() -> None:
    hub = Ring()
    with SegmentStore.in_memory() as gateway:
        gateway.create_stream("a")
        for number in range(180):
            gateway.writer("a").append(hub.random.randbytes(1000) + b"%d" % number).result()
            replicate(gateway, hub.store)
        hub.store.retain({"g/a": hub.store.last_commit - 60})
        for number in range(150):
            gateway.writer("a").append(hub.random.randbytes(1000) + b"%d" % number).result()
            replicate(gateway, hub.store)
        assert hub.twin.used_bytes <= LIMIT
        dropped = hub.store.stream("g/a").dropped["disk_limit"]
        assert dropped.unsent == 0
        assert 0 < dropped.events <= 120


@pytest.mark.long
def test_data_that_was_not_sent_goes_up_as_a_gap() -> None:
    ring = Ring(("a", dropping()))
    with SegmentStore.in_memory() as hub:
        for _ in range(20):
            ring.append("a")
        replicate(ring.store, hub)
        for _ in range(1000):
            ring.append("a")
        replicate(ring.store, hub)
        gaps: list[Gap] = []
        events = [event.payload for event in hub.read("g/a", on_gap=gaps.append)]
        live = ring.live("a")
        assert events == ring.sent["a"][:20] + live
        assert [(gap.reason, gap.events) for gap in gaps] == [(GapReason.DROPPED, 1000 - len(live))]
        assert hub.stream("g/a").segments[0].length == ring.store.stream("a").segments[0].length


def thin(priority: int = 10) -> StreamConfig:
    return StreamConfig(when_full="thin", priority=priority)


@pytest.mark.long
def test_thinning_reaches_further_back_and_says_what_is_missing() -> None:
    ring = Ring(("a", thin()))
    for _ in range(1000):
        assert ring.append("a").done()
    assert ring.peak <= LIMIT
    live = ring.live("a")
    assert live == [payload for payload in ring.sent["a"] if payload in set(live)]
    dropped = ring.store.stream("a").dropped
    assert dropped["thinned"].events > 100
    gaps = ring.store.gaps("a")
    assert {gap.reason for gap in gaps} == {GapReason.THINNED}
    first = int(live[0][:6])
    assert first < 1000 - 1.2 * len(live)
    assert len(live) + sum(gap.events or 0 for gap in gaps) == 1000 - first
    assert ring.store.check().ok
    ring.store.close()
    ring.store = SegmentStore.in_memory(ring.twin, clock=ring.clock, disk_limit=LIMIT)
    assert ring.live("a") == live
    assert [finding for finding in ring.store.check().findings if finding.severity == "error"] == []


def test_what_was_thinned_unsent_goes_up_as_gaps_at_the_same_places() -> None:
    ring = Ring(("a", thin()))
    with SegmentStore.in_memory() as hub:
        ring.append("a")
        replicate(ring.store, hub)
        ring.store.retain({"a": ring.store.last_commit})
        while "thinned" not in ring.store.stream("a").dropped:
            ring.append("a")
        assert ring.store.stream("a").dropped.keys() == {"thinned"}
        replicate(ring.store, hub)
        assert [event.payload for event in hub.read("g/a")] == ring.live("a")
        here = [(gap.position, gap.next, gap.reason, gap.events) for gap in ring.store.gaps("a")]
        assert [(gap.position, gap.next, gap.reason, gap.events) for gap in hub.gaps("g/a")] == here
        assert hub.stream("g/a").segments[0].length == ring.store.stream("a").segments[0].length
        assert [finding for finding in hub.check().findings if finding.severity == "error"] == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6))
def test_under_a_random_load_live_data_is_what_was_sent_without_a_head(seed: int) -> None:
    chance = random.Random(seed)
    configs = [dropping(5), thin(10), StreamConfig()]
    ring = Ring(("x", configs[0]), ("y", configs[1]), ("z", configs[2]))
    confirmed = 0
    for _ in range(1500):
        ring.append(chance.choice("xxyyz"), chance.choice([10, 500, 3000]))
        if chance.random() < 0.05:
            confirmed = ring.store.last_commit
            ring.store.retain({"z": confirmed, "x": confirmed // 2})
        if chance.random() < 0.02:
            ring.twin.power_cut()
            acknowledged = {name: len(sent) for name, sent in ring.sent.items()}
            ring.store = SegmentStore.in_memory(ring.twin, clock=ring.clock, disk_limit=LIMIT)
            for name in acknowledged:
                live = ring.live(name)
                if live:
                    ring.sent[name] = ring.sent[name][: int(live[-1][:6]) + 1]
            ring.store.retain({"z": confirmed, "x": confirmed // 2})
        assert ring.peak <= LIMIT
    ring.store.close()
    ring.store = SegmentStore.in_memory(ring.twin, clock=ring.clock, disk_limit=LIMIT)
    for name, sent in ring.sent.items():
        live = ring.live(name)
        if name == "y":
            assert live == [payload for payload in sent if payload in set(live)]
        else:
            assert live == sent[len(sent) - len(live) :]
        dropped = ring.store.stream(name).dropped
        if name == "z" and dropped:
            assert dropped["disk_limit"].unsent == 0
    assert ring.store.check().ok


def used_at_every_commit(store: SegmentStore, peak: list[int]) -> None:
    assert store._directory is not None
    peak.append(store._directory.disk_bytes())


@pytest.mark.long
def test_on_the_engine_everything_stays_below_the_limit(tmp_path: Path) -> None:
    limit = 24 << 20
    chance = random.Random(1)
    peak: list[int] = []
    with SegmentStore.open(tmp_path / "store", disk_limit=limit) as store:
        store.create_stream("a", dropping())
        events = 0
        for _ in range(300):
            frames = [Frame([b"%08d" % (events + i) + chance.randbytes(20_000)]) for i in range(15)]
            events += 15
            store.submit([Append("a", frames)]).result()
            used_at_every_commit(store, peak)
        assert max(peak) <= limit
        assert max(peak) >= 0.7 * limit
        live: list[Event] = list(store.read("a"))
        assert [int(event.payload[:8]) for event in live] == list(range(events - len(live), events))
        assert store.check().findings == []
    with SegmentStore.open(tmp_path / "store", disk_limit=limit) as store:
        assert list(store.read("a")) == live
