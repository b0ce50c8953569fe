"""A store of every kind of file, harmed in one of them: what opens, what is lost, what is said. And how much may be lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

from rocksdict import AccessType, Options, Rdict

from storage import Append, Event, Frame, Gap, SegmentStore, StreamConfig, entry
from storage.fetch import fetch
from storage.kv.logs import log_files
from storage.reading import SegmentScan
from tests.oracle.damage import flip
from tests.storage.mirrored import replicate

STREAMS = ("plant/flow", "plant/level", "site/north", "video/gate")
BULK = "video/gate"
DISK_LIMIT_BYTES = 16 << 20
"""Under a small limit the log is short, so most of the store lies in tables of the engine."""
ENGINE_BLOCK_BYTES = 4096
"""The engine checks what it stores by blocks of this much, and one value more."""

KINDS = ("tables", "telemetry", "chain", "log", "MANIFEST", "CURRENT", "chunk", "OPTIONS", "IDENTITY", "FORMAT", "LOCK",
         "WITNESS")  # fmt: skip
HARMLESS = ("OPTIONS", "IDENTITY", "CURRENT", "MANIFEST", "tables", "chain", "FORMAT", "LOCK", "WITNESS")
"""What these hold is elsewhere as well."""


class Stored(NamedTuple):
    """An entry of a stream: its offsets, how many events, and how many bytes of a file it takes."""

    start: int
    end: int
    events: int
    size_bytes: int


@dataclass(frozen=True)
class Base:
    """A store as a kill leaves it, and what it holds."""

    path: Path
    events: Mapping[str, list[Event]]
    entries: Mapping[str, list[Stored]]


@dataclass(frozen=True)
class Harm:
    """What was done to one file. At most `bytes` of what was in it can be lost, and what stands in one place with those."""

    kind: str
    how: str
    bytes: int

    def bound(self, base: Base) -> int:
        """What may be lost, in bytes as they are stored."""
        if self.kind in HARMLESS:
            return 0
        largest = max(each.size_bytes for of_stream in base.entries.values() for each in of_stream)
        return self.bytes + largest + (ENGINE_BLOCK_BYTES if self.kind == "telemetry" else 0)


@dataclass
class Outcome:
    """What came of it, and the store, open."""

    store: SegmentStore
    events: int = 0
    lost_bytes: int = 0
    """Of offsets: uncompressed."""
    stored_bytes: int = 0
    """The same as they were stored."""
    told: bool = False
    """By the check before anything was mended, and by the opening where it could know."""
    gaps: list[Gap] = field(default_factory=list)


def build(folder: Path) -> Base:
    """Make one below `folder`."""
    live, killed = folder / "live", folder / "store"
    random = Random(1)
    numbers = dict.fromkeys(STREAMS, 0)
    with SegmentStore.open(live, disk_limit=DISK_LIMIT_BYTES) as store:
        for stream in STREAMS:
            store.create_stream(stream, StreamConfig(kind="bulk") if stream == BULK else StreamConfig())
        for commit in range(400):
            appends = []
            for stream in random.sample(STREAMS[:-1], random.randint(1, len(STREAMS) - 1)):
                payloads = [random.randbytes(random.choice([0, 20, 100, 3000])) for _ in range(random.randint(1, 4))]
                appends.append(Append(stream, [Frame(payloads, "k", writer="w", number=numbers[stream])]))
                numbers[stream] += len(payloads)
            if commit % 10 == 0:
                appends.append(Append(BULK, [Frame([random.randbytes(30_000)], "k", writer="w", number=commit // 10)]))
            store.submit(appends, {"cursor": b"%d" % commit}).result()
        events = {stream: list(store.read(stream)) for stream in STREAMS}
        entries = {stream: stored_in(store, stream) for stream in STREAMS}
        shutil.copytree(live, killed, ignore=shutil.ignore_patterns("LOCK"))
    (killed / "LOCK").write_text("4711\n", encoding="ascii")
    return Base(killed, events, entries)


def stored_in(store: SegmentStore, stream: str) -> list[Stored]:
    """Every entry of a stream."""
    record = store._catalog.streams[stream]
    found = []
    for layout in record.layout:
        scan = SegmentScan(store._kv, store._catalog, record.key(layout))
        for at, raw in scan.between(0, scan.record.length):
            head = entry.head(raw)
            size = len(raw) + (len(fetch(store._kv, raw)) if stream == BULK else 0)
            found.append(Stored(at, at + head.length, head.events or 0, size))
    return found


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
    if kind == "log":
        return [file for file in log_files(store / "db") if file.stat().st_size]
    if kind == "chunk":
        return sorted((store / "chunks").iterdir())
    folder = store if kind in ("FORMAT", "LOCK", "WITNESS") else store / "db"
    return sorted(file for file in folder.glob(f"{kind}*") if file.stat().st_size)


def flipped(kind: str, seed: int) -> Callable[[Path], Harm]:
    """One bit of one file of a kind, any."""

    def harm(store: Path) -> Harm:
        random = Random(seed)
        victim = random.choice(victims(store, kind))
        flip(victim, random.randrange(victim.stat().st_size * 8))
        return Harm(kind, "flip", 0)

    return harm


def torn(kind: str, seed: int) -> Callable[[Path], Harm]:
    """A file of a kind, cut anywhere."""

    def harm(store: Path) -> Harm:
        random = Random(seed)
        victim = random.choice(victims(store, kind))
        size = victim.stat().st_size
        left = random.randrange(size)
        os.truncate(victim, left)
        return Harm(kind, "tear", size - left)

    return harm


def removed(kind: str, seed: int) -> Callable[[Path], Harm]:
    """A file of a kind, gone."""

    def harm(store: Path) -> Harm:
        victim = Random(seed).choice(victims(store, kind))
        size = victim.stat().st_size
        victim.unlink()
        return Harm(kind, "remove", size)

    return harm


def mirrored(store: SegmentStore) -> Mapping[str, list[Event]]:
    """What a hub that held nothing so far gets of a store, as if the store itself had it."""
    with SegmentStore.in_memory() as hub:
        replicate(store, hub, "n", 1 << 16)
        return {stream: [event.in_stream(stream) for event in hub.read(f"n/{stream}")] for stream in STREAMS}


def trial(base: Base, folder: Path, harm: Callable[[Path], Harm]) -> Outcome:
    """Harm a copy, check it, open it, compare. The store, open, and what was lost: never more than what was hit."""
    path = folder / "store"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(base.path, path)
    harmed = harm(path)
    checked = SegmentStore.check_directory(path)
    store = SegmentStore.open(path, disk_limit=DISK_LIMIT_BYTES)
    outcome = Outcome(store, told=not checked.ok)
    try:
        _compare(base, harmed, outcome)
    except BaseException:
        store.close()
        raise
    return outcome


def _compare(base: Base, harmed: Harm, outcome: Outcome) -> None:
    store = outcome.store
    for stream, before in base.events.items():
        gaps: list[Gap] = []
        after = list(store.read(stream, on_gap=gaps.append))
        inside = [e for e in before if any(gap.position <= e.position < gap.next for gap in gaps)]
        assert after == [event for event in before if event not in inside], f"{stream}: silent loss"
        outcome.events += len(inside)
        outcome.gaps += gaps
        lost = [
            each
            for each in base.entries[stream]
            if any(gap.position.offset <= each.start and each.end <= gap.next.offset for gap in gaps)
        ]
        assert sum(each.events for each in lost) == len(inside), f"{stream}: gaps that cover less than whole entries"
        outcome.lost_bytes += sum(gap.next.offset - gap.position.offset for gap in gaps)
        outcome.stored_bytes += sum(each.size_bytes for each in lost)
    bound = harmed.bound(base)
    assert outcome.stored_bytes <= bound, f"{outcome.stored_bytes} bytes are lost, {bound} were hit"
    assert not outcome.events or outcome.told, "loss that the check does not tell of"
    agree(store, outcome.gaps)
    assert mirrored(store) == {stream: list(store.read(stream)) for stream in STREAMS}, "not what a hub gets"
    for stream in STREAMS:
        assert store.writer(stream, "w").append(b"onward").result().stored == 1
        assert list(store.read(stream))[-1].payload == b"onward"


def agree(store: SegmentStore, read: list[Gap]) -> None:
    """All of it looked through: the gap records cover what readers found missing, and the check has nothing to add."""
    while store.scrub():
        pass
    written = [gap for stream in STREAMS for gap in store.gaps(stream)]
    for stream in STREAMS:
        assert covered(written, stream) == covered(read, stream), f"{stream}: gaps and readers disagree"
    found = store.check()
    assert found.ok, found.findings


def covered(gaps: list[Gap], stream: str) -> list[tuple[int, int]]:
    """The ranges of a stream that gaps cover, those next to each other as one."""
    ranges: list[tuple[int, int]] = []
    for gap in sorted((gap for gap in gaps if gap.stream == stream), key=lambda gap: gap.position):
        start, end = gap.position.offset, gap.next.offset
        if ranges and ranges[-1][1] >= start:
            start, end = ranges[-1][0], max(ranges.pop()[1], end)
        ranges.append((start, end))
    return ranges
