"""The names of a store's files are on disk before anything in them is acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import SegmentStore
from storage import directory as module


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> dict[Path, set[str]]:
    """By directory that was synced, the names in it by then."""
    names: dict[Path, set[str]] = {}
    sync = module.sync_directory

    def noting(path: Path) -> None:
        sync(path)
        names[path] = {found.name for found in path.iterdir()}

    monkeypatch.setattr(module, "sync_directory", noting)
    return names


def test_the_names_of_a_new_store_are_synced_up_to_where_there_was_something(
    tmp_path: Path, synced: dict[Path, set[str]]
) -> None:
    path = tmp_path / "data" / "store"
    with SegmentStore.open(path):
        assert "data" in synced[tmp_path]
        assert "store" in synced[tmp_path / "data"]
        assert {"FORMAT", "db"} <= synced[path]


def test_names_that_a_killed_process_made_are_synced_at_the_next_opening(
    tmp_path: Path, synced: dict[Path, set[str]]
) -> None:
    SegmentStore.open(tmp_path).close()
    (tmp_path / "chunks").mkdir()
    synced.clear()
    with SegmentStore.open(tmp_path):
        assert "chunks" in synced[tmp_path]
