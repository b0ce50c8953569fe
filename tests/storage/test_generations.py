"""How large generations grow: more are no help where much is stored, since the engine holds each of them open."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from storage import Event, SegmentStore, committer, keys
from storage.errors import StorageError, StoreFailedError, StoreFullError
from storage.generations import SHARE
from storage.kv.memory import MemoryTwin
from storage.retention.budget import Sizes

LEAST_BYTES = 2_000


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> SegmentStore:
    monkeypatch.setattr(committer, "GENERATION_BYTES", LEAST_BYTES)
    store = SegmentStore.in_memory()
    store.create_stream("s")
    return store


def generations(store: SegmentStore) -> int:
    return sum(family.kind == "telemetry" for family in store._catalog.families.values())


def fill(store: SegmentStore, appends: int) -> None:
    chance = random.Random(1)
    for _ in range(appends):
        store.writer("s").append(chance.randbytes(1_000)).result()


@pytest.mark.long
def test_they_grow_with_what_is_stored(store: SegmentStore) -> None:
    fill(store, 50)
    assert generations(store) >= 50 * 1_000 // (2 * LEAST_BYTES)
    fill(store, 950)
    assert generations(store) < 4 * SHARE
    assert store.check().ok


def test_they_stay_within_what_may_be_given_up_at_once(store: SegmentStore) -> None:
    store._committer.budget.sizes = replace(store._committer.budget.sizes, generation=LEAST_BYTES)
    fill(store, 200)
    assert generations(store) >= 200 * 1_000 // (2 * LEAST_BYTES)


@pytest.mark.parametrize("why", [StoreFullError("no room"), StoreFailedError("it is ill")])
def test_one_that_the_engine_can_not_drop_now_holds_up_no_commit_and_goes_at_the_next_opening(
    monkeypatch: pytest.MonkeyPatch, why: StorageError
) -> None:
    monkeypatch.setattr(committer, "GENERATION_BYTES", LEAST_BYTES)
    twin = MemoryTwin()
    steps: list[str] = []
    with SegmentStore.in_memory(twin, trace=lambda step, details: steps.append(step)) as store:
        store.create_stream("s")
        fill(store, 10)

        def drop_family(name: str) -> None:
            raise why

        monkeypatch.setattr(store._kv, "drop_family", drop_family)
        assert store.truncate("s", "tail")
        store.retain({})
        assert "generation.drop_failed" in steps
        left = set(twin.families) - {*store._catalog.families, keys.DEFAULT}
        assert left
        store.writer("s").append(b"after").result()
    with SegmentStore.in_memory(twin) as store:
        assert not left & set(twin.families)
        assert [event.payload for event in store.read("s", follow=False) if isinstance(event, Event)] == [b"after"]
        assert store.recovery == ()
        assert store.check().findings == []


def test_under_a_limit_none_is_above_a_32nd_of_it() -> None:
    assert Sizes.under(256 << 20).generation == 8 << 20
    assert Sizes.under(8 << 30).generation == 256 << 20
    assert Sizes.under(1 << 40).generation == Sizes().generation
