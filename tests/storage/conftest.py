"""Stores to test on: the real engine in a temporary directory, and its twin in RAM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage import FakeClock, SegmentStore
from storage.kv.memory import MemoryTwin

Reopen = Callable[[], SegmentStore]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["rocksdb", "twin"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[Reopen]:
    """Opens the same store, each time anew: the one opened before is closed first."""
    twin = MemoryTwin()
    opened: list[SegmentStore] = []

    def open_again() -> SegmentStore:
        for store in opened:
            store.close()
        opened.clear()
        if request.param == "twin":
            store = SegmentStore.in_memory(twin, clock=clock)
        else:
            store = SegmentStore.open(tmp_path / "store", clock=clock)
        opened.append(store)
        return store

    yield open_again
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Reopen) -> SegmentStore:
    return reopen()


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 100 kB."""
    monkeypatch.setattr("storage.committer.CHUNK_BYTES", 100_000)


@pytest.fixture(params=["carried", "led to"])
def pointers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways for pointers to come to a block."""
    if request.param == "led to":
        monkeypatch.setattr("storage.transactions.placing.INLINE_BYTES", 0)
