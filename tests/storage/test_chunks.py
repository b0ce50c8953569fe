"""Chunk files, real ones and their twin, and salvage of the pointers to them."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from storage import Append, Frame, Gap, SegmentStore, StreamConfig, Ticket
from storage.bulk.chunks import MAX_OPEN_FILES, ChunkDirectory, ChunkFiles
from storage.errors import DamagedBlockError, StoreFailedError, StoreFullError
from storage.kv.logs import log_files
from storage.kv.memory import MemoryTwin
from tests.small_disk import run_on_small_disk


@pytest.fixture(params=["files", "twin"])
def chunks(request: pytest.FixtureRequest, tmp_path: Path) -> ChunkFiles:
    if request.param == "twin":
        return MemoryTwin().chunks
    return ChunkDirectory(tmp_path / "chunks")


def test_what_is_written_is_read_and_what_is_not_is_told(chunks: ChunkFiles) -> None:
    assert chunks.numbers() == []
    assert chunks.size(1) is None
    with pytest.raises(DamagedBlockError, match="missing"):
        chunks.read(1, 0, 1)
    chunks.write(1, 0, b"abc")
    chunks.write(1, 3, b"defg")
    chunks.write(12, 0, b"x")
    chunks.sync([1, 12])
    assert chunks.numbers() == [1, 12]
    assert chunks.read(1, 2, 3) == b"cde"
    with pytest.raises(DamagedBlockError, match="ends at byte 7, not 8"):
        chunks.read(1, 2, 6)
    chunks.write(1, 3, b"DEFG")
    assert chunks.read(1, 0, 7) == b"abcDEFG"
    chunks.cut(1, 4)
    assert chunks.size(1) == 4
    chunks.unlink(12)
    chunks.unlink(12)
    assert chunks.numbers() == [1]


def test_a_chunk_whose_closing_fails_is_told_as_one_that_is_left(tmp_path: Path) -> None:
    chunks = ChunkDirectory(tmp_path / "chunks")
    chunks.write(1, 0, b"abc")
    os.close(chunks._open[1])
    with pytest.raises(StoreFailedError, match="removing"):
        chunks.unlink(1)
    chunks.unlink(1)
    assert chunks.numbers() == []


def test_an_empty_chunk_that_a_kill_left_behind_is_made_anew_so_that_its_name_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the making of a file and the first byte of it: the name may not be on disk."""
    with SegmentStore.open(tmp_path) as store:
        store.create_stream("cam", StreamConfig(kind="bulk"))
    left = tmp_path / "chunks" / "00000001.chunk"
    left.parent.mkdir()
    left.touch()
    synced: list[Path] = []
    with SegmentStore.open(tmp_path) as store:
        assert not left.exists()
        monkeypatch.setattr("storage.bulk.chunks.sync_directory", synced.append)
        store.submit([Append("cam", [Frame([b"x"])])]).result()
    assert left.exists()
    assert synced == [left.parent]


def test_open_files_are_bounded(tmp_path: Path) -> None:
    chunks = ChunkDirectory(tmp_path / "chunks")
    for number in range(3 * MAX_OPEN_FILES):
        chunks.write(number, 0, b"x")
    chunks.sync(range(3 * MAX_OPEN_FILES))
    assert len(chunks._open) == MAX_OPEN_FILES
    chunks.close()


def damaged_log(path: Path, hit: Callable[[bytes], int]) -> Path:
    """A store with bulk as a kill would leave it, most of it in the log, and one bit of the log flipped."""
    live = path.with_name("live")
    with SegmentStore.open(live) as store:
        store.create_stream("v", StreamConfig(kind="bulk"))
        for number in range(60):
            frame = Frame([random.Random(number).randbytes(5_000)], writer="cam", number=number)
            store.submit([Append("v", [frame])]).result()
        shutil.copytree(live, path, ignore=shutil.ignore_patterns("LOCK"))
    log = [file for file in log_files(path / "db") if file.stat().st_size][-1]
    data = bytearray(log.read_bytes())
    bit = hit(bytes(data))
    data[bit // 8] ^= 1 << bit % 8
    log.write_bytes(data)
    return path


@pytest.mark.parametrize("seed", range(15))
def test_one_flipped_bit_in_the_log_costs_at_most_one_block_of_bulk(tmp_path: Path, seed: int) -> None:
    path = damaged_log(tmp_path / "store", lambda data: random.Random(seed).randrange(len(data) * 8))
    with SegmentStore.open(path) as store:
        assert store.recovery
        gaps: list[Gap] = []
        held = {event.number: event.payload for event in store.read("v", on_gap=gaps.append)}
        assert len(held) >= 59
        assert all(payload == random.Random(number).randbytes(5_000) for number, payload in held.items())
        assert len(held) + sum(gap.events or 0 for gap in gaps) == 60
        report = store.check()
        assert report.ok, report.findings
        assert store.writer("v", "cam").append(b"onward").result().stored == 1
        assert store.check().ok


def fill_with_bulk(mount: Path) -> None:
    """Runs on a small disk: fill it with bulk, free some, go on."""
    ballast = mount / "ballast"
    ballast.write_bytes(bytes(16 << 20))
    with SegmentStore.open(mount / "store") as store:
        store.create_stream("v", StreamConfig(kind="bulk"))
        writer = store.writer("v", "w")
        tickets: list[Ticket] = []
        while store.blocked is None:
            tickets.append(writer.append(random.Random(len(tickets)).randbytes(300_000)))
            store.commit()
            assert len(tickets) < 1_000
        assert "disk is full" in store.blocked
        print("blocked:", store.blocked)
        acknowledged = sum(ticket.done() for ticket in tickets)
        assert len(list(store.read("v"))) == acknowledged
        ballast.unlink()
        for ticket in tickets:
            ticket.result()
        sent = [random.Random(number).randbytes(300_000) for number in range(len(tickets))]
        assert [event.payload for event in store.read("v")] == sent
    with SegmentStore.open(mount / "store") as store:
        assert [event.payload for event in store.read("v")] == sent
        assert store.check().findings == []
    print("went on by itself")


@pytest.mark.long
def test_a_real_full_disk_keeps_what_was_accepted_and_goes_on_by_itself(tmp_path: Path) -> None:
    assert "went on by itself" in run_on_small_disk(__name__, fill_with_bulk.__name__, tmp_path)


def test_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    twin = MemoryTwin(capacity_bytes=100)
    with pytest.raises(StoreFullError):
        twin.chunks.write(1, 0, bytes(101))
