"""The newest log missing, or cut short: the witness tells, with exact ranges; offsets and numbers are not used again."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from storage import Append, FakeClock, Frame, Gap, GapReason, SegmentStore, StreamConfig
from storage.kv.logs import log_files
from storage.kv.memory import MemoryTwin
from storage.salvage.newest import MARGIN_COMMITS
from storage.witness import recall
from tests.storage.mirrored import replicate
from tests.storage.test_damage import flip

STREAMS = ("s", "t")


def newest_log(path: Path) -> Path:
    return [file for file in log_files(path / "db") if file.stat().st_size][-1]


@pytest.fixture
def killed(tmp_path: Path) -> tuple[Path, SegmentStore]:
    """A store as a kill leaves it, 20 events of each stream in tables, 20 in the log; and a hub that holds 30."""
    live, path = tmp_path / "live", tmp_path / "store"
    hub = SegmentStore.in_memory()
    with SegmentStore.open(live) as store:
        for stream in STREAMS:
            store.create_stream(stream)
        append(store, 20)
    with SegmentStore.open(live) as store:
        append(store, 10)
        replicate(store, hub)
        append(store, 10)
        shutil.copytree(live, path, ignore=shutil.ignore_patterns("LOCK"))
    return path, hub


def append(store: SegmentStore, count: int) -> None:
    for _ in range(count):
        for stream in STREAMS:
            last = store.last_number(stream, "w")
            number = 0 if last is None else last + 1
            store.writer(stream, "w").append(b"%d" % number * 20, number=number).result()


def payloads(store: SegmentStore, stream: str) -> tuple[list[bytes], list[Gap]]:
    gaps: list[Gap] = []
    return [event.payload for event in store.read(stream, on_gap=gaps.append)], gaps


def expected(count: int) -> list[bytes]:
    return [b"%d" % number * 20 for number in range(count)]


def test_a_missing_newest_log_is_told_with_exact_ranges_and_upstream_goes_on(
    killed: tuple[Path, SegmentStore],
) -> None:
    path, hub = killed
    newest_log(path).unlink()
    report = SegmentStore.check_directory(path)
    assert not report.ok
    with SegmentStore.open(path) as store:
        assert any("41 commits are lost" in line for line in store.recovery), store.recovery
        lost = {(r.stream, r.events): (r.start, r.end) for r in store.salvaged.lost}
        assert set(lost) == {("s", 20), ("t", 20)}
        for stream in STREAMS:
            assert store.last_number(stream, "w") == 19
            after, gaps = payloads(store, stream)
            assert after == expected(20)
            [gap] = gaps
            assert (gap.reason, gap.events) == (GapReason.DAMAGED, 20)
            assert (gap.position.offset, gap.next.offset) == lost[stream, 20]
            assert store.gaps(stream) == gaps
            store.writer(stream, "w").append(b"onward").result()
        assert store.check().ok, store.check().findings
        replicate(store, hub)
        for stream in STREAMS:
            assert payloads(hub, f"g/{stream}")[0] == [*expected(30), b"onward"]
            assert [event.position for event in hub.read(f"g/{stream}")][-1] == list(store.read(stream))[-1].position
        assert hub.check().ok
        with SegmentStore.in_memory() as other:
            replicate(store, other)
            assert payloads(other, "g/s")[0] == [*expected(20), b"onward"]
    with SegmentStore.open(path) as store:
        assert store.recovery == ()
    hub.close()


@pytest.mark.parametrize("part", [0.0, 0.2, 0.5, 0.8, 0.99])
def test_a_newest_log_that_is_cut_short_is_told(killed: tuple[Path, SegmentStore], part: float) -> None:
    path, hub = killed
    log = newest_log(path)
    os.truncate(log, int(log.stat().st_size * part))
    with SegmentStore.open(path) as store:
        for stream in STREAMS:
            after, gaps = payloads(store, stream)
            assert after == expected(len(after))
            assert sum(gap.events or 0 for gap in gaps) == 40 - len(after)
            store.writer(stream, "w").append(b"onward").result()
        assert len(payloads(store, "s")[0]) + len(payloads(store, "t")[0]) < 82
        assert store.recovery
        assert store.check().ok, store.check().findings
        replicate(store, hub)
        assert hub.check().ok
    hub.close()


def test_a_kill_and_a_clean_close_leave_nothing_to_tell(killed: tuple[Path, SegmentStore]) -> None:
    path, hub = killed
    for _ in range(2):
        with SegmentStore.open(path) as store:
            assert store.recovery == ()
            assert payloads(store, "s") == (expected(40), [])
    hub.close()


def rolled_back(twin: MemoryTwin, later: MemoryTwin) -> MemoryTwin:
    """A disk with what was there, and the witness of what came after."""
    back = twin.copy()
    back.witness.pages = dict(later.witness.pages)
    return back


def lose_ten(close: bool) -> tuple[SegmentStore, int]:
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin, clock=FakeClock())
    store.create_stream("s")
    for number in range(5):
        store.writer("s", "w").append(b"%d" % number).result()
    before = twin.copy()
    for number in range(5, 15):
        store.writer("s", "w").append(b"%d" % number).result()
    if close:
        store.close()
    told = recall(twin.witness, twin.store_id)
    assert told is not None
    assert told.closed is close
    back = rolled_back(before, twin)
    return SegmentStore.in_memory(back, clock=FakeClock(boot=2)), told.commit


@pytest.mark.parametrize("close", [False, True])
def test_in_another_boot_it_is_exact_only_after_a_clean_close(close: bool) -> None:
    store, last = lose_ten(close)
    with store:
        [lost] = store.salvaged.lost
        assert lost.events == (10 if close else None)
        assert ("at least" in store.recovery[0]) is not close
        assert store.last_commit == last + 1 + (0 if close else MARGIN_COMMITS)
        assert store.writer("s", "w").append(b"onward").result().stored == 1
        assert store.check().ok


def test_the_opening_that_was_lost_is_not_counted_again() -> None:
    twin = MemoryTwin()
    with SegmentStore.in_memory(twin) as store:
        store.create_stream("s")
    before = twin.copy()
    for _ in range(3):
        SegmentStore.in_memory(twin).close()
    with SegmentStore.in_memory(rolled_back(before, twin)) as store:
        assert store._catalog.node is not None
        assert store._catalog.node.opening == 5


def test_a_witness_that_is_hit_is_silent(killed: tuple[Path, SegmentStore]) -> None:
    path, hub = killed
    raw = bytearray((path / "WITNESS").read_bytes())
    raw[34] ^= 1  # A very much higher commit.
    (path / "WITNESS").write_bytes(raw)
    with SegmentStore.open(path) as store:
        assert store.recovery == ()
        assert payloads(store, "s") == (expected(40), [])
    hub.close()


@pytest.mark.long
def test_bulk_behind_a_missing_log_is_led_back_and_its_writers_go_on(tmp_path: Path) -> None:
    live, path = tmp_path / "live", tmp_path / "store"
    chance = random.Random(1)
    hub = SegmentStore.in_memory()

    def picture(store: SegmentStore, number: int) -> None:
        frame = Frame([chance.randbytes(30_000)], "k", writer="w", number=number, key_frame=number % 3 == 0)
        store.submit([Append("cam", [frame])]).result()

    with SegmentStore.open(live) as store:
        store.create_stream("cam", StreamConfig(kind="bulk"))
        store.create_stream("s")
        for number in range(5):
            picture(store, number)
    with SegmentStore.open(live) as store:
        for number in range(5, 20):
            picture(store, number)
            store.writer("s").append(b"%d" % number).result()
            if number == 9:
                replicate(store, hub)
        before = list(store.read("cam"))
        open_transaction = store.begin_transaction(["cam"])
        open_transaction.append(chance.randbytes(30_000)).result()
        shutil.copytree(live, path, ignore=shutil.ignore_patterns("LOCK"))
    newest_log(path).unlink()
    with SegmentStore.open(path) as store:
        assert list(store.read("cam")) == before
        assert [lost.stream for lost in store.salvaged.lost] == ["s"]
        assert store.last_number("cam", "w") == 19
        assert store.key_frame_before("cam", before[19].time_ns) == before[18].position
        again = Frame([before[19].payload], "k", writer="w", number=19)
        assert store.submit([Append("cam", [again])]).result().stored == 0
        picture(store, 20)
        assert store.check().ok, store.check().findings
        replicate(store, hub)
        assert [event.payload for event in hub.read("g/cam")] == [event.payload for event in store.read("cam")]
        assert hub.check().ok
    with SegmentStore.open(path) as store:
        assert store.recovery == ()
        assert list(store.read("cam"))[:20] == before
    hub.close()


def test_of_bulk_behind_a_missing_log_a_block_that_is_hit_ends_what_is_led_back(tmp_path: Path) -> None:
    live, path = tmp_path / "live", tmp_path / "store"
    with SegmentStore.open(live) as store:
        store.create_stream("cam", StreamConfig(kind="bulk"))
    with SegmentStore.open(live) as store:
        for number in range(10):
            store.submit([Append("cam", [Frame([random.Random(number).randbytes(30_000)], "k")])]).result()
        before = list(store.read("cam"))
        shutil.copytree(live, path, ignore=shutil.ignore_patterns("LOCK"))
    newest_log(path).unlink()
    [chunk] = (path / "chunks").iterdir()
    flip(chunk, 8 * (chunk.stat().st_size * 7 // 10 + 1000))
    with SegmentStore.open(path) as store:
        gaps: list[Gap] = []
        assert list(store.read("cam", on_gap=gaps.append)) == before[:7]
        assert [gap.events for gap in gaps] == [3]
        assert store.check().ok, store.check().findings
