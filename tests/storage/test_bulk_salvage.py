"""A flipped bit in the log, aimed at each thing that a commit of bulk puts there: it costs no event, number or stream."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from storage import Append, Event, Frame, SegmentStore, StreamConfig
from storage.pointer import MAGIC as POINTER
from tests.storage.mirrored import replicate
from tests.storage.test_damage import flip, newest_log

AIMS = {
    "the stream's record": b"Scam",
    "its writer's number": b"W\0\0\0\1w",
    "its segment's record": b"G\0\0\0\1",
    "its chunk's record": b"K" + (1).to_bytes(8, "big"),
    "a pointer": POINTER,
    "a commit's record": b"ECMT",
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    """A live store's directory as a kill would leave it, and what is in it."""
    folder = tmp_path_factory.mktemp("base")
    chance = random.Random(1)
    with SegmentStore.open(folder / "live") as store:
        store.create_stream("cam", StreamConfig(kind="bulk"))
        for number in range(60):
            frame = Frame([chance.randbytes(3000)], "k", writer="w", number=number, key_frame=number % 3 == 0)
            store.submit([Append("cam", [frame])]).result()
        shutil.copytree(folder / "live", folder / "store", ignore=shutil.ignore_patterns("LOCK"))
        return folder / "store", list(store.read("cam"))


@pytest.mark.parametrize("aim", AIMS)
@pytest.mark.parametrize("newest", [False, True])
def test_a_flipped_bit_in_the_log_costs_bulk_nothing(
    base: tuple[Path, list[Event]], tmp_path: Path, aim: str, newest: bool
) -> None:
    made, before = base
    path = tmp_path / "store"
    shutil.copytree(made, path)
    log = newest_log(path)
    data = log.read_bytes()
    places = [at for at in range(len(data)) if data.startswith(AIMS[aim], at)]
    flip(log, 8 * (places[-1 if newest else len(places) // 2] + len(AIMS[aim]) + 12))
    with SegmentStore.open(path) as store:
        assert store.recovery
        assert store.stream("cam").config.kind == "bulk"
        assert list(store.read("cam")) == before
        assert store.last_number("cam", "w") == len(before) - 1
        assert store.key_frame_before("cam", before[50].time_ns) == before[48].position
        assert store.check().ok, store.check().findings
        with SegmentStore.in_memory() as hub:
            replicate(store, hub, "n", 1 << 16)
            assert [event.payload for event in hub.read("n/cam")] == [event.payload for event in before]
    with SegmentStore.open(path) as store:
        assert store.recovery == ()
        assert list(store.read("cam")) == before
