"""Power cuts on the twin: what was acknowledged is there, and nothing that was not sent. Seen to fail when broken."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import SegmentStore, committer
from storage.committer import Committer, _Pending
from storage.errors import StoreBusyError, StoreFailedError
from storage.kv.memory import MemoryTwin
from tests.storage.mirrored import replicate
from tests.storage.power import Drive

STEPS_PER_EXAMPLE = 250
EXAMPLES = 42


@pytest.mark.long
def test_a_few_power_cuts_cost_nothing_that_was_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "GENERATION_BYTES", 4000)
    for seed in range(4):
        Drive(seed).run(STEPS_PER_EXAMPLE)


@pytest.mark.long
@pytest.mark.parametrize("generation_bytes", [committer.GENERATION_BYTES, 4000])
def test_a_prefix_with_all_that_was_acknowledged_survives_every_power_cut(
    monkeypatch: pytest.MonkeyPatch, generation_bytes: int
) -> None:
    monkeypatch.setattr(committer, "GENERATION_BYTES", generation_bytes)
    monkeypatch.setattr(committer, "SETTLED_BYTES", 10 * generation_bytes)
    total = {"steps": 0, "cuts": 0}

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.integers(0, 1 << 32))
    def run(seed: int) -> None:
        drive = Drive(seed)
        drive.run(STEPS_PER_EXAMPLE)
        total["steps"] += drive.steps
        total["cuts"] += drive.cuts

    run()
    assert total["steps"] >= 10_000
    assert total["cuts"] >= 100


def test_acknowledging_before_the_sync_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_early(self: Committer, pending: _Pending) -> bool:
        self._kv.write(pending.batch)
        if pending.record.number % 3 == 0:
            self._kv.sync()
        return True

    monkeypatch.setattr(Committer, "_persist", too_early)
    with pytest.raises(AssertionError):
        for seed in range(20):
            Drive(seed).run(100)


def test_storing_a_number_twice_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.group.Group.last_number", lambda *_: None)
    with pytest.raises(AssertionError):
        for seed in range(20):
            Drive(seed).run(100)


def test_generations_roll_and_are_read_and_mirrored_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "GENERATION_BYTES", 2000)
    twin = MemoryTwin()
    with SegmentStore.in_memory(twin) as store:
        store.create_stream("s")
        for number in range(300):
            store.writer("s", "w").append(b"%d" % number).result()
        families = [name for name in twin.families if name.startswith("telemetry")]
        assert len(families) > 20
    with SegmentStore.in_memory(twin) as store, SegmentStore.in_memory() as hub:
        events = list(store.read("s"))
        assert [event.number for event in events] == list(range(300))
        assert list(store.read("s", events[137].position)) == events[137:]
        replicate(store, hub, "n", 3000)
        assert [e.position for e in hub.read("n/s")] == [e.position for e in events]
        assert store.check().ok
        assert hub.check().ok


def test_a_stall_keeps_the_append_and_it_becomes_durable_later() -> None:
    twin = MemoryTwin()
    with SegmentStore.in_memory(twin) as store:
        store.create_stream("s")
        twin.stalled_writes = 2
        ticket = store.writer("s").append(b"x")
        assert not store.commit()
        assert "pause" in (store.blocked or "")
        assert not store.commit()
        assert store.commit()
        assert store.blocked is None
        assert ticket.result().stored == 1


def test_a_full_disk_keeps_what_was_accepted_pushes_back_and_goes_on_when_space_is_freed() -> None:
    twin = MemoryTwin()
    with SegmentStore.in_memory(twin) as store:
        store.create_stream("s")
        twin.capacity_bytes = twin.used_bytes + 100
        tickets = [store.writer("s").append(b"x" * (1 << 20))]
        assert not store.commit()
        assert "disk is full" in (store.blocked or "")
        with pytest.raises(StoreBusyError, match="disk is full"):
            for _ in range(200):
                tickets.append(store.writer("s").append(b"x" * (1 << 20)))
        assert not any(ticket.done() for ticket in tickets)
        twin.capacity_bytes = None
        assert sum(ticket.result().stored for ticket in tickets) == len(tickets)
        assert len(list(store.read("s"))) == len(tickets)
        assert store.check().ok


def test_after_a_failed_sync_nothing_is_called_durable_until_it_is_reopened() -> None:
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin)
    store.create_stream("s")
    store.writer("s", "w").append(b"0").result()
    twin.failing_syncs = 1
    ticket = store.writer("s", "w").append(b"1")
    with pytest.raises(StoreFailedError):
        ticket.result()
    with pytest.raises(StoreFailedError):
        store.writer("s", "w").append(b"1")
    assert [event.payload for event in store.read("s")] == [b"0"]
    twin.power_cut()
    with SegmentStore.in_memory(twin) as again:
        assert [event.payload for event in again.read("s")] == [b"0"]
        assert again.writer("s", "w").append(b"1").result().stored == 1
