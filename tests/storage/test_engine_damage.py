"""Whatever file of a store is hit, it opens by itself, goes on, and nothing is missing that no gap tells of."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from storage import SegmentStore
from storage.codec import crc32c
from storage.errors import DamagedBlockError, StoreFormatError
from storage.kv.rocks import RocksStore
from tests.length import SOAK
from tests.oracle.damage import flip
from tests.storage.damaged import DISK_LIMIT_BYTES, KINDS, Base, Harm, build, flipped, removed, torn, trial, victims

FLIPS = 50 if SOAK else 1
TRUNCATIONS = 20 if SOAK else 1


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """A store as a kill leaves it, and what it holds."""
    return build(tmp_path_factory.mktemp("base"))


def goes_on(base: Base, folder: Path, harm: Callable[[Path], Harm]) -> None:
    """The store opens by itself, loses no more than was hit and says so, and opens again without a word."""
    trial(base, folder, harm).store.close()
    with SegmentStore.open(folder / "store", disk_limit=DISK_LIMIT_BYTES) as store:
        assert store.recovery == ()


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(FLIPS))
def test_a_flipped_bit(base: Base, tmp_path: Path, kind: str, seed: int) -> None:
    goes_on(base, tmp_path, flipped(kind, seed))


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(TRUNCATIONS))
def test_a_torn_file(base: Base, tmp_path: Path, kind: str, seed: int) -> None:
    goes_on(base, tmp_path, torn(kind, seed))


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_file(base: Base, tmp_path: Path, kind: str) -> None:
    goes_on(base, tmp_path, removed(kind, 0))


@pytest.mark.long
@pytest.mark.parametrize("part", [i / 54 for i in range(1, 54)] if SOAK else [0.03, 0.1, 0.8, 0.9, 0.98])
def test_a_manifest_cut_between_two_edits(base: Base, tmp_path: Path, part: float) -> None:
    """It checks, and names fewer files than there are: the engine would unlink the others."""

    def harm(store: Path) -> Harm:
        [manifest] = victims(store, "MANIFEST")
        ends = ends_of_edits(manifest.read_bytes())
        os.truncate(manifest, ends[int(part * len(ends)) - 1])
        return Harm("MANIFEST", "cut", 0)

    goes_on(base, tmp_path, harm)


def ends_of_edits(manifest: bytes) -> list[int]:
    """Where each record of an engine's log of less than 32 KiB ends."""
    ends, at = [0], 0
    while at < len(manifest):
        at += 7 + int.from_bytes(manifest[at + 4 : at + 6], "little")
        ends.append(at)
    return ends[1:]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["telemetry", "chain"])
def test_a_table_file_whose_index_is_hit_costs_nothing_wherever_it_stands(
    base: Base, tmp_path: Path, kind: str
) -> None:
    """The engine looks at the newest few of its files when it is opened, and at no other."""
    outcome = trial(base, tmp_path, lambda path: flip_index(victims(path, kind)[0], kind))
    outcome.store.close()
    assert outcome.events == 0
    with SegmentStore.open(tmp_path / "store", disk_limit=DISK_LIMIT_BYTES) as store:
        assert store.recovery == ()


def flip_index(table: Path, kind: str) -> Harm:
    """Hit the properties of a table file, which lie behind its data."""
    flip(table, (table.stat().st_size - 700) * 8)
    return Harm(kind, "flip", 0)


@pytest.mark.long
def test_a_generation_with_a_bad_block_is_not_compacted_and_writing_goes_on(base: Base, tmp_path: Path) -> None:
    path = tmp_path / "store"
    shutil.copytree(base.path, path)
    table = max(victims(path, "telemetry"), key=lambda file: file.stat().st_size)
    # In the middle of a large one: a table that is hit at one of its ends may be set aside and put back by the opening.
    flip(table, table.stat().st_size // 2 * 8)
    kv = RocksStore(path / "db", path / "aside" / "1")
    damaged = 0
    for name in kv.families():
        try:
            kv.compact_family(name)
        except DamagedBlockError:
            damaged += 1
    kv.close()
    assert damaged == 1
    with SegmentStore.open(path, disk_limit=DISK_LIMIT_BYTES) as store:
        assert store.writer("plant/flow", "w").append(b"onward").result().stored == 1


@pytest.mark.parametrize("newer", ["FORMAT", "FORMAT.copy"])
def test_a_store_of_a_newer_program_is_not_taken_for_a_damaged_one(tmp_path: Path, newer: str) -> None:
    path = tmp_path / "store"
    SegmentStore.open(path).close()
    content = {"format": 2, "store": json.loads((path / newer).read_bytes())["store"]}
    text = json.dumps({**content, "crc": crc32c(json.dumps(content).encode())})
    (path / newer).write_text(text, encoding="utf-8")
    with pytest.raises(StoreFormatError, match="newer"):
        SegmentStore.open(path)
    assert (path / newer).read_text(encoding="utf-8") == text
