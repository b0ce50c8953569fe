"""A power cut that leaves the log as long as it was, with pages in it that were never written: that is no damage."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from storage import SegmentStore
from storage.kv.logs import log_files, scan_logs

PAGE = 4096
BLOCK = 32 << 10
HEADER_BYTES = 7
OLD = [b"%d" % number for number in range(20)]
Lose = Callable[[int, int], list[tuple[int, int]]]
"""Which bytes of a write at [start, end) are zero."""


def newest_log(path: Path) -> Path:
    return [file for file in log_files(path / "db") if file.stat().st_size][-1]


def page_behind(offset: int) -> int:
    return offset - offset % PAGE + PAGE


@pytest.fixture
def cut(tmp_path: Path) -> tuple[Path, int]:
    """A store whose last commit, of many pages, was being synced when power went; and where it begins in the log."""
    live, path = tmp_path / "live", tmp_path / "store"
    with SegmentStore.open(live) as store:
        store.create_stream("s")
        for payload in OLD:
            store.writer("s", "w").append(payload, number=int(payload)).result()
        witness = (live / "WITNESS").read_bytes()
        begins = newest_log(live).stat().st_size
        store.writer("s", "w").append(random.Random(1).randbytes(90_000)).result()
        shutil.copytree(live, path, ignore=shutil.ignore_patterns("LOCK"))
    (path / "WITNESS").write_bytes(witness)
    return path, begins


def lose(path: Path, holes: list[tuple[int, int]]) -> None:
    with newest_log(path).open("r+b") as file:
        for start, end in holes:
            file.seek(start)
            file.write(bytes(end - start))


@pytest.mark.parametrize(
    "holes",
    [
        lambda start, end: [(start, end)],
        lambda start, end: [(start, page_behind(start))],
        lambda start, end: [(page_behind(start), end)],
        lambda start, end: [(page_behind(start + 40_000), page_behind(start + 44_000))],
        lambda start, end: [
            (page_behind(start + 2 * PAGE * n), page_behind(start + (2 * n + 1) * PAGE)) for n in range(9)
        ],
        lambda start, end: [(end - end % PAGE, end)],
        lambda start, end: [(start - start % BLOCK + BLOCK, end)],
        lambda start, end: [(start - start % BLOCK + 2 * BLOCK, end)],
    ],
)
def test_a_write_with_pages_missing_is_a_torn_tail(cut: tuple[Path, int], holes: Lose) -> None:
    path, begins = cut
    lose(path, holes(begins, newest_log(path).stat().st_size))
    assert SegmentStore.check_directory(path).findings == []
    with SegmentStore.open(path) as store:
        assert store.recovery == ()
        assert [event.payload for event in store.read("s")] == OLD
        store.writer("s", "w").append(b"20", number=20).result()
        assert [event.payload for event in store.read("s")] == [*OLD, b"20"]
        assert store.check().findings == []
    assert not (path / "aside").exists()


def test_only_the_header_of_a_write_was_written(tmp_path: Path) -> None:
    live, path, chance = tmp_path / "live", tmp_path / "store", random.Random(4)
    stored = []
    with SegmentStore.open(live) as store:
        store.create_stream("s")
        before, wanted = 0, 100
        while before % PAGE != PAGE - HEADER_BYTES:
            stored.append(chance.randbytes(wanted))
            store.writer("s").append(stored[-1]).result()
            grown, before = newest_log(live).stat().st_size - before, newest_log(live).stat().st_size
            # The next write is as much larger than this one as its payload is.
            wanted = 100 + (PAGE - HEADER_BYTES - before - (grown - len(stored[-1]) + 100)) % PAGE
        witness = (live / "WITNESS").read_bytes()
        store.writer("s").append(chance.randbytes(2_000)).result()
        shutil.copytree(live, path, ignore=shutil.ignore_patterns("LOCK"))
    (path / "WITNESS").write_bytes(witness)
    lose(path, [(before + HEADER_BYTES, newest_log(path).stat().st_size)])
    with SegmentStore.open(path) as store:
        assert store.recovery == ()
        assert [event.payload for event in store.read("s")] == stored
    assert not (path / "aside").exists()


@pytest.mark.parametrize("kept", [3, 40_000])
@pytest.mark.parametrize("behind", [b"", bytes(PAGE)])
def test_a_torn_tail_is_one_though_an_opening_was_cut_short_that_had_begun_the_next_log(
    cut: tuple[Path, int], kept: int, behind: bytes
) -> None:
    path, begins = cut
    log = newest_log(path)
    with log.open("r+b") as file:
        file.truncate(begins + kept)
    (log.parent / f"{int(log.stem) + 50:06}.log").write_bytes(behind)
    with SegmentStore.open(path) as store:
        assert store.recovery == ()
        assert [event.payload for event in store.read("s")] == OLD
        assert store.check().findings == []
    assert not (path / "aside").exists()


def test_a_kill_while_the_engine_makes_its_first_files_costs_no_repair(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole", tmp_path / "store"
    with SegmentStore.open(whole):
        pass
    (path / "db").mkdir(parents=True)
    for name in ("FORMAT", "FORMAT.copy"):
        shutil.copy(whole / name, path)
    identity = "c9ffcb67-a84c-48e5-922f-d84d22a6e69c"
    (path / "db" / "IDENTITY").write_text(identity)
    (path / "db" / "CURRENT").write_text("MANIFEST-000001\n")
    (path / "db" / "MANIFEST-000001").write_bytes(
        bytes.fromhex("84b0e35b2d0001814024") + identity.encode() + bytes.fromhex("020003020400")
    )
    (path / "db" / "000004.log").touch()
    with SegmentStore.open(path) as store:
        assert store.recovery == ()
        store.create_stream("s")
        store.writer("s").append(b"1").result()
        assert store.check().findings == []
    assert not (path / "aside").exists()


def test_the_same_before_a_later_write_is_damage(cut: tuple[Path, int], tmp_path: Path) -> None:
    """What comes behind was written after a sync: so what is missing was there once."""
    path, begins = cut
    with SegmentStore.open(path) as store:
        store.writer("s", "w").append(random.Random(1).randbytes(90_000)).result()
        begins = newest_log(path).stat().st_size
        store.writer("s", "w").append(random.Random(2).randbytes(90_000)).result()
        store.writer("s", "w").append(b"last").result()
        shutil.copytree(path, tmp_path / "killed", ignore=shutil.ignore_patterns("LOCK"))
    lose(tmp_path / "killed", [(page_behind(begins + 40_000), page_behind(begins + 44_000))])
    with SegmentStore.open(tmp_path / "killed") as store:
        assert any("damaged" in line for line in store.recovery)
        assert [event.payload for event in store.read("s")][-1] == b"last"


def test_a_flipped_bit_in_the_last_write_is_damage(cut: tuple[Path, int]) -> None:
    path, begins = cut
    log = newest_log(path)
    for offset in random.Random(3).sample(range(begins, log.stat().st_size), 30):
        data = bytearray(log.read_bytes())
        data[offset] ^= 4
        fresh = path / "000001.log"
        fresh.write_bytes(data)
        scan = scan_logs([fresh])
        assert scan.damage
        assert not scan.unwritten
