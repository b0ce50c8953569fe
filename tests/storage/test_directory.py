"""The names of a store's files are on disk before anything in them is acknowledged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from storage import SegmentStore
from storage import directory as module
from storage.directory import StoreDirectory
from storage.kv.manifest import mend_current
from storage.kv.rocks import RocksStore


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


def test_a_store_whose_making_was_cut_short_is_not_called_damaged(tmp_path: Path) -> None:
    SegmentStore.open(tmp_path).close()
    shutil.rmtree(tmp_path / "db")
    (tmp_path / "FORMAT").unlink()
    (tmp_path / "WITNESS").unlink()
    with SegmentStore.open(tmp_path) as store:
        assert store.recovery == ()


def test_an_engine_whose_making_was_cut_short_is_not_called_damaged(tmp_path: Path) -> None:
    StoreDirectory(tmp_path).close()
    RocksStore(tmp_path / "db", tmp_path / "aside").close()
    for file in (*(tmp_path / "db").glob("*.sst"), *(tmp_path / "db").glob("*.log"), tmp_path / "db" / "CURRENT"):
        file.unlink()
    assert mend_current(tmp_path / "db") is None
    assert (tmp_path / "db" / "CURRENT").exists()
