"""Whatever file of a store is hit, it opens by itself, goes on, and nothing is missing that no gap tells of."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import pytest
from rocksdict import AccessType, Options, Rdict

from storage import Append, Event, Frame, Gap, SegmentStore
from storage.codec import crc32c
from storage.errors import DamagedBlockError, StoreFormatError
from storage.kv.rocks import RocksStore
from tests.length import SOAK
from tests.oracle.damage import flip

STREAMS = ("plant/flow", "plant/level", "site/north")
DISK_LIMIT_BYTES = 16 << 20
"""Under a small limit the log is short, so most of the store lies in tables of the engine."""
FLIPS = 50 if SOAK else 3
TRUNCATIONS = 20 if SOAK else 2

History = Mapping[str, list[Event]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, History]:
    """A store as a kill leaves it, and what it holds."""
    return build(tmp_path_factory.mktemp("base"))


def build(folder: Path) -> tuple[Path, History]:
    """Make one below `folder`."""
    live, killed = folder / "live", folder / "store"
    random = Random(1)
    numbers = dict.fromkeys(STREAMS, 0)
    with SegmentStore.open(live, disk_limit=DISK_LIMIT_BYTES) as store:
        for stream in STREAMS:
            store.create_stream(stream)
        for commit in range(700):
            appends = []
            for stream in random.sample(STREAMS, random.randint(1, len(STREAMS))):
                payloads = [random.randbytes(random.choice([0, 20, 100, 3000])) for _ in range(random.randint(1, 4))]
                appends.append(Append(stream, [Frame(payloads, "k", writer="w", number=numbers[stream])]))
                numbers[stream] += len(payloads)
            store.submit(appends, {"cursor": b"%d" % commit}).result()
        history = {stream: list(store.read(stream)) for stream in STREAMS}
        shutil.copytree(live, killed, ignore=shutil.ignore_patterns("LOCK"))
    return killed, history


def live_files(store: Path) -> Mapping[str, list[str]]:
    """The engine's table files by the kind of family that they belong to."""
    db = str(store / "db")
    families = {name: Options(raw_mode=True) for name in Rdict.list_cf(db) if name != "default"}
    opened = Rdict(db, Options(raw_mode=True), column_families=families, access_type=AccessType.read_only())
    found: dict[str, list[str]] = {"tables": [], "telemetry": [], "chain": []}
    for file in opened.live_files():
        key = file["start_key"]
        assert isinstance(key, bytes)
        kind = "tables" if key[:1] != b"\0" else "chain" if len(key) == 8 else "telemetry"
        found[kind].append(str(file["name"]).lstrip("/"))
    opened.close()
    return found


def victims(store: Path, kind: str) -> list[Path]:
    """The files of one kind."""
    if kind in ("tables", "telemetry", "chain"):
        return sorted(store / "db" / name for name in live_files(store)[kind])
    folder = store if kind.startswith("FORMAT") else store / "db"
    return sorted(file for file in folder.glob("*.log" if kind == "log" else f"{kind}*") if file.stat().st_size)


def mirrored(store: SegmentStore) -> History:
    """What a hub that held nothing so far gets of a store, as if the store itself had it."""
    with SegmentStore.in_memory() as hub:
        while unit := store.next_unit("n", hub.holdings("n").streams, lambda name: True, 1 << 16):
            hub.submit_unit(unit).result()
        return {stream: [event._replace(stream=stream) for event in hub.read(f"n/{stream}")] for stream in STREAMS}


def trial(base: tuple[Path, History], folder: Path, harm: Callable[[Path], object]) -> tuple[int, SegmentStore]:
    """Harm a copy, open it, compare. How many events were lost; the store, open."""
    killed, history = base
    path = folder / "store"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(killed, path)
    harm(path)
    store = SegmentStore.open(path, disk_limit=DISK_LIMIT_BYTES)
    lost = 0
    for stream, before in history.items():
        gaps: list[Gap] = []
        after = list(store.read(stream, on_gap=gaps.append))
        inside = [e for e in before if any(gap.position <= e.position < gap.next for gap in gaps)]
        assert after == [event for event in before if event not in inside], f"{stream}: silent loss"
        lost += len(inside)
    assert mirrored(store) == {stream: list(store.read(stream)) for stream in STREAMS}, "not what a hub gets"
    for stream in STREAMS:
        assert store.writer(stream, "w").append(b"onward").result().stored == 1
        assert list(store.read(stream))[-1].payload == b"onward"
    return lost, store


KINDS = ("tables", "telemetry", "chain", "log", "MANIFEST", "CURRENT", "OPTIONS", "IDENTITY", "FORMAT")
HARMLESS = ("OPTIONS", "IDENTITY", "CURRENT", "MANIFEST", "tables", "chain", "FORMAT")
"""What these hold is elsewhere as well."""


def goes_on(base: tuple[Path, History], folder: Path, kind: str, seed: int, harm: Callable[[Path], object]) -> None:
    """The store opens by itself, says so where it matters, and opens again without a word."""
    lost, store = trial(base, folder, lambda path: harm(Random(seed).choice(victims(path, kind))))
    with store:
        assert not lost or kind not in HARMLESS
    with SegmentStore.open(folder / "store", disk_limit=DISK_LIMIT_BYTES) as store:
        assert store.recovery == ()


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(FLIPS))
def test_a_flipped_bit(base: tuple[Path, History], tmp_path: Path, kind: str, seed: int) -> None:
    random = Random(seed)
    goes_on(base, tmp_path, kind, seed, lambda victim: flip(victim, random.randrange(victim.stat().st_size * 8)))


@pytest.mark.long
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "log"])
@pytest.mark.parametrize("seed", range(TRUNCATIONS))
def test_a_torn_file(base: tuple[Path, History], tmp_path: Path, kind: str, seed: int) -> None:
    random = Random(seed)
    goes_on(base, tmp_path, kind, seed, lambda victim: os.truncate(victim, random.randrange(victim.stat().st_size)))


@pytest.mark.long
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "log"])
def test_a_missing_file(base: tuple[Path, History], tmp_path: Path, kind: str) -> None:
    goes_on(base, tmp_path, kind, 0, Path.unlink)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["telemetry", "chain"])
def test_a_table_file_whose_index_is_hit_costs_nothing_wherever_it_stands(
    base: tuple[Path, History], tmp_path: Path, kind: str
) -> None:
    """The engine looks at the newest few of its files when it is opened, and at no other."""
    lost, store = trial(base, tmp_path, lambda path: flip_index(victims(path, kind)[0]))
    store.close()
    assert lost == 0
    with SegmentStore.open(tmp_path / "store", disk_limit=DISK_LIMIT_BYTES) as store:
        assert store.recovery == ()


def flip_index(table: Path) -> None:
    """Hit the properties of a table file, which lie behind its data."""
    flip(table, (table.stat().st_size - 700) * 8)


@pytest.mark.long
def test_a_generation_with_a_bad_block_is_not_compacted_and_writing_goes_on(
    base: tuple[Path, History], tmp_path: Path
) -> None:
    path = tmp_path / "store"
    shutil.copytree(base[0], path)
    flip(victims(path, "telemetry")[0], 8 * 100)
    kv = RocksStore(path / "db", path / "aside" / "1")
    damaged = 0
    for name in kv.families():
        try:
            kv.compact_family(name)
        except DamagedBlockError:
            damaged += 1
    kv.close()
    assert damaged == 1
    _, store = trial(base, tmp_path, lambda path: flip(victims(path, "telemetry")[0], 8 * 100))
    store.close()


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
