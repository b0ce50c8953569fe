"""One flipped bit in the newest log costs at most the block that it hit, and says so."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from storage import Append, Event, Frame, Gap, GapReason, SegmentStore, committer, keys
from storage.chain import CommitRecord
from storage.keys import SegmentKey
from storage.kv.contract import Batch
from storage.kv.logs import batch_puts, log_files, scan_logs
from storage.kv.memory import MemoryTwin

STREAMS = ["plant/flow", "plant/level", "site/a"]


def build(path: Path) -> dict[str, list[Event]]:
    """A live store's directory, copied as a kill would leave it: everything acknowledged, most of it in the log."""
    live = path.with_name("live")
    with SegmentStore.open(live) as store:
        for stream in STREAMS:
            store.create_stream(stream)
        chance = random.Random(1)
        numbers = dict.fromkeys(STREAMS, 0)
        for commit in range(150):
            appends = []
            for stream in chance.sample(STREAMS, chance.randint(1, 3)):
                payloads = [chance.randbytes(chance.choice([0, 20, 100, 3000])) for _ in range(chance.randint(1, 4))]
                appends.append(Append(stream, [Frame(payloads, "k", writer="w", number=numbers[stream])]))
                numbers[stream] += len(payloads)
            store.submit(appends, {"cursor": b"%d" % commit}).result()
        history = {stream: list(store.read(stream)) for stream in STREAMS}
        shutil.copytree(live, path, ignore=shutil.ignore_patterns("LOCK"))
    shutil.rmtree(live)
    return history


def flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def newest_log(path: Path) -> Path:
    return [file for file in log_files(path / "db") if file.stat().st_size][-1]


@pytest.fixture(scope="module")
def damaged_base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Event]]]:
    path = tmp_path_factory.mktemp("base") / "store"
    return path, build(path)


def expect_contained(store: SegmentStore, history: dict[str, list[Event]]) -> int:
    """Everything outside the gaps is as it was, and the gaps hold at most one block's events. How many were lost."""
    lost = 0
    for stream, before in history.items():
        gaps: list[Gap] = []
        after = list(store.read(stream, on_gap=gaps.append))
        assert [(gap.position, gap.next) for gap in store.gaps(stream)] == [(gap.position, gap.next) for gap in gaps]
        inside = [e for e in before if any(gap.position <= e.position < gap.next for gap in gaps)]
        assert after == [event for event in before if event not in inside]
        assert all(gap.reason is GapReason.DAMAGED and gap.events is not None for gap in gaps)
        assert sum(gap.events or 0 for gap in gaps) == len(inside)
        lost += len(gaps)
    assert lost <= 1
    return lost


@pytest.mark.parametrize("seed", [*range(10), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(10, 70))])
def test_one_flipped_bit_costs_at_most_the_block_it_hit(
    damaged_base: tuple[Path, dict[str, list[Event]]], tmp_path: Path, seed: int
) -> None:
    base, history = damaged_base
    path = tmp_path / "store"
    shutil.copytree(base, path)
    log = newest_log(path)
    flip(log, random.Random(seed).randrange(log.stat().st_size * 8))
    with SegmentStore.open(path) as store:
        assert store.recovery
        lost = expect_contained(store, history)
        report = store.check()
        assert report.ok, report.findings
        assert report.gaps == lost
        for stream, before in history.items():
            assert store.last_number(stream, "w") == before[-1].number
            assert store.writer(stream, "w").append(b"onward").result().stored == 1
    with SegmentStore.open(path) as store:
        assert store.recovery == ()
        assert store.check().ok


def test_the_last_record_with_its_length_flipped_is_damage_and_not_a_torn_tail(
    damaged_base: tuple[Path, dict[str, list[Event]]], tmp_path: Path
) -> None:
    base, history = damaged_base
    path = tmp_path / "store"
    shutil.copytree(base, path)
    log = newest_log(path)
    data = log.read_bytes()
    scan = scan_logs([log], keep=True)
    header = data.rindex(scan.batches[-1][:40]) - 7
    flip(log, (header + 5) * 8 + 4)
    with SegmentStore.open(path) as store:
        assert store.recovery
        assert expect_contained(store, history) == 0


@pytest.mark.long
def test_a_torn_tail_is_cut_without_a_word(damaged_base: tuple[Path, dict[str, list[Event]]], tmp_path: Path) -> None:
    base, history = damaged_base
    for trial in range(20):
        path = tmp_path / f"store-{trial}"
        shutil.copytree(base, path)
        log = newest_log(path)
        size = log.stat().st_size
        with log.open("r+b") as file:
            file.truncate(random.Random(trial).randrange(size // 2, size))
        # The witness is written after the sync: it does not know of what was torn before it.
        (path / "WITNESS").unlink()
        with SegmentStore.open(path) as store:
            assert store.recovery == ()
            for stream, before in history.items():
                after = list(store.read(stream))
                assert after == before[: len(after)]
            assert store.check().findings == []


def test_the_log_reader_finds_every_put_of_a_whole_log(damaged_base: tuple[Path, dict[str, list[Event]]]) -> None:
    base, _ = damaged_base
    scan = scan_logs(log_files(base / "db"), keep=True)
    assert not scan.damage
    assert not scan.fragments
    assert scan.records == len(scan.batches) > 150
    assert sum(1 for batch in scan.batches for key, _ in batch_puts(batch) if key == b"Ccursor") == 2 * 150


def test_damaged_logs_are_kept_aside(damaged_base: tuple[Path, dict[str, list[Event]]], tmp_path: Path) -> None:
    path = tmp_path / "store"
    shutil.copytree(damaged_base[0], path)
    log = newest_log(path)
    flip(log, 8 * 5000)
    hit = log.read_bytes()
    with SegmentStore.open(path):
        assert (path / "aside" / "1" / log.name).read_bytes() == hit


def test_check_reports_damage_and_changes_nothing(
    damaged_base: tuple[Path, dict[str, list[Event]]], tmp_path: Path
) -> None:
    path = tmp_path / "store"
    shutil.copytree(damaged_base[0], path)
    assert SegmentStore.check_directory(path).findings == []
    log = newest_log(path)
    flip(log, 8 * 5000)
    before = {file: file.read_bytes() for file in (path / "db").iterdir() if file.suffix in (".log", ".sst")}
    report = SegmentStore.check_directory(path)
    assert not report.ok
    assert {file: file.read_bytes() for file in before} == before


@pytest.mark.long
@pytest.mark.parametrize("seed", range(8))
def test_a_hub_whose_log_was_hit_goes_on_mirroring_from_where_it_stood(tmp_path: Path, seed: int) -> None:
    live, copy = tmp_path / "live", tmp_path / "store"
    with SegmentStore.in_memory() as gateway:
        gateway.create_stream("s")
        with SegmentStore.open(live) as hub:
            for number in range(40):
                gateway.writer("s", "w").append(b"%d" % number * 50).result()
                unit = gateway.next_unit("n", hub.holdings("n").streams, lambda _: True, 1 << 20)
                assert unit is not None
                hub.submit_unit(unit).result()
            shutil.copytree(live, copy, ignore=shutil.ignore_patterns("LOCK"))
        log = newest_log(copy)
        flip(log, random.Random(seed).randrange(log.stat().st_size * 8))
        with SegmentStore.open(copy) as hub:
            gateway.writer("s", "w").append(b"onward").result()
            unit = gateway.next_unit("n", hub.holdings("n").streams, lambda _: True, 1 << 20)
            assert unit is not None
            hub.submit_unit(unit).result()
            lost = [event for gap in hub.gaps("n/s") for event in range(gap.events or 0)]
            held = list(hub.read("n/s"))
            assert len(held) == 41 - len(lost)
            assert len(lost) <= 1
            assert {event.position for event in held} <= {event.position for event in gateway.read("s")}
            assert hub.check().ok


@pytest.mark.parametrize("record", [b"Ftelemetry-00000001", b"Fchain-00000001", b"Sn/s", b"Mn"])
def test_a_table_record_that_was_hit_costs_no_stream(tmp_path: Path, record: bytes) -> None:
    live, copy = tmp_path / "live", tmp_path / "store"
    with SegmentStore.in_memory() as gateway:
        gateway.create_stream("s")
        with SegmentStore.open(live) as hub:
            for number in range(5):
                gateway.writer("s", "w").append(b"%d" % number).result()
                unit = gateway.next_unit("n", hub.holdings("n").streams, lambda _: True, 1 << 20)
                assert unit is not None
                hub.submit_unit(unit).result()
            shutil.copytree(live, copy, ignore=shutil.ignore_patterns("LOCK"))
        log = newest_log(copy)
        key = bytes([len(record)]) + record
        flip(log, (log.read_bytes().index(key) + len(key) + 20) * 8)
        with SegmentStore.open(copy) as hub:
            assert hub.recovery
            assert hub.stream("n/s").origin == "n"
            assert hub.gaps("n/s") == []
            assert [event.position for event in hub.read("n/s")] == [event.position for event in gateway.read("s")]
            gateway.writer("s", "w").append(b"onward").result()
            unit = gateway.next_unit("n", hub.holdings("n").streams, lambda _: True, 1 << 20)
            assert unit is not None
            assert hub.submit_unit(unit).result().stored == 1
            assert hub.check().ok


def test_a_writer_whose_last_event_was_hit_is_ahead_of_its_events_and_that_is_no_error(tmp_path: Path) -> None:
    live, copy = tmp_path / "live", tmp_path / "store"
    with SegmentStore.open(live) as store:
        store.create_stream("s")
        for payload in (b"first", b"middle", b"last-reading"):
            store.writer("s", "w").append(payload).result()
        shutil.copytree(live, copy, ignore=shutil.ignore_patterns("LOCK"))
    log = newest_log(copy)
    flip(log, (log.read_bytes().index(b"last-reading") + 3) * 8)
    with SegmentStore.open(copy) as store:
        assert [event.payload for event in store.read("s")] == [b"first", b"middle"]
        assert [gap.events for gap in store.gaps("s")] == [1]
        assert store.last_number("s", "w") == 2
        assert store.check().ok


@pytest.mark.parametrize("kind", ["telemetry", "chain"])
def test_a_generation_whose_record_is_gone_is_read_on_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(committer, "GENERATION_BYTES", 2000)
    twin = MemoryTwin()
    with SegmentStore.in_memory(twin) as store:
        store.create_stream("s")
        for number in range(60):
            store.writer("s", "w").append(b"%d" % number * 50).result()
    generations = sorted(name for name in twin.families if name.startswith(kind))
    assert len(generations) > 3
    for generation in generations:
        copy = twin.copy()
        kv = copy.connect()
        kv.write(Batch(deletes=[("default", b"F" + generation.encode())]))
        kv.sync()
        kv.close()
        with SegmentStore.in_memory(copy) as store:
            assert [event.number for event in store.read("s")] == list(range(60))
            assert store.check().findings == []
            unit = store.next_unit("n", {}, lambda _: True, 1 << 20)
            assert unit is not None
            assert len(unit.parts[0].entries) == 60


@pytest.mark.parametrize("holes", [[range(21, 30)], [range(21, 25), range(33, 34)]])
def test_a_log_that_is_missing_between_others_leaves_gaps_of_exactly_what_was_in_it(holes: list[range]) -> None:
    twin = MemoryTwin()
    with SegmentStore.in_memory(twin) as store:
        for stream in STREAMS:
            store.create_stream(stream)
        positions = {
            store.writer(stream, "w").append(b"%d" % number * 9).result().commit: (stream, number)
            for number in range(15)
            for stream in STREAMS
        }
        history = {stream: list(store.read(stream)) for stream in STREAMS}
    kv = twin.connect()
    for commit in [commit for hole in holes for commit in hole]:
        [(key, raw)] = kv.scan("chain-00000001", keys.chain(commit), keys.chain(commit + 1))
        lost = [("telemetry-00000001", keys.block(SegmentKey(e.stream, e.segment, e.epoch), e.start))
                for e in CommitRecord.decode(raw).entries]  # fmt: skip
        kv.write(Batch(deletes=[("chain-00000001", key), *lost]))
    kv.sync()
    kv.close()
    gone = {positions[commit] for hole in holes for commit in hole}
    with SegmentStore.in_memory(twin) as store:
        for stream in STREAMS:
            gaps: list[Gap] = []
            assert list(store.read(stream, on_gap=gaps.append)) == [
                event for event in history[stream] if (stream, event.number) not in gone
            ]
            covered = store.gaps(stream)
            assert [(gap.position, gap.next) for gap in covered] == [(gap.position, gap.next) for gap in gaps]
            inside = [e for e in history[stream] if any(g.position <= e.position < g.next for g in covered)]
            assert {(stream, event.number) for event in inside} == {each for each in gone if each[0] == stream}
        assert len(store.salvaged.lost) >= len(STREAMS)
        assert store.check().ok, store.check().findings
