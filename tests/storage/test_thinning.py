"""Thinning on the engine, and what damage to the log makes of it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from storage import Append, Frame, GapReason, SegmentStore, StreamConfig, Ticket, committer
from storage.retention.thinning import MOST_LEVELS, Thinning, thinnable
from tests.storage.mirrored import replicate

THIN = StreamConfig(when_full="thin")


def thinned_by_hand(store: SegmentStore) -> int:
    """Thin every generation that can be. How many that were."""
    count = 0
    for family in sorted(store._catalog.families.values(), key=lambda each: each.number):
        if family.kind == "telemetry" and thinnable(store._catalog, family):
            thinning = Thinning(store._kv, store._catalog, family, {})
            while not thinning.done:
                store._committer.submit(Ticket(store._committer), thinning.take, 0, urgent=True).result()
            count += 1
    return count


def numbers(store: SegmentStore) -> list[int]:
    return [int(event.payload) for event in store.read("s")]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SegmentStore:
    monkeypatch.setattr(committer, "GENERATION_BYTES", 4000)
    monkeypatch.setattr(committer, "SETTLED_BYTES", 8000)
    store = SegmentStore.open(tmp_path / "store")
    store.create_stream("s", THIN)
    for number in range(200):
        store.writer("s", "w").append(b"%d" % number, number=number).result()
    return store


def test_every_second_block_goes_and_again_until_little_is_left(store: SegmentStore, tmp_path: Path) -> None:
    generations = thinned_by_hand(store)
    assert generations > 3
    once = numbers(store)
    assert 100 < len(once) < 160
    assert once[:4] in ([0, 2, 4, 6], [1, 3, 5, 7])
    assert {(gap.reason, gap.events) for gap in store.gaps("s")} == {(GapReason.THINNED, 1)}
    assert [f for f in store.check().findings if f.severity == "error"] == []
    for _ in range(MOST_LEVELS - 1):
        thinned_by_hand(store)
    assert thinned_by_hand(store) == 0
    again = numbers(store)
    assert set(again) < set(once)
    assert len([number for number in again if number < 50]) < 12
    store.close()
    with SegmentStore.open(tmp_path / "store") as reopened:
        assert numbers(reopened) == again
        assert reopened.last_number("s", "w") == 199
        assert [f for f in reopened.check().findings if f.severity == "error"] == []


def test_the_chain_brings_what_was_thinned_up_once_as_gaps_at_the_same_places(store: SegmentStore) -> None:
    with SegmentStore.in_memory() as hub:
        assert thinned_by_hand(store) > 3
        store.writer("s", "w").append(b"200", number=200).result()
        replicate(store, hub)
        assert store._catalog.node is not None
        assert store._catalog.node.chain == 0
        here = [(gap.position, gap.next, gap.reason, gap.events) for gap in store.gaps("s")]
        assert [(gap.position, gap.next, gap.reason, gap.events) for gap in hub.gaps("g/s")] == here
        assert [event.payload for event in hub.read("g/s")] == [event.payload for event in store.read("s")]
    store.close()


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.9])
def test_a_bit_flipped_in_the_log_of_a_thinning_loses_nothing_else(
    store: SegmentStore, tmp_path: Path, place: float
) -> None:
    before = numbers(store)
    thinned_by_hand(store)
    after = numbers(store)
    left = tmp_path / "left"
    shutil.copytree(tmp_path / "store", left)
    store.close()
    # Which of the logs holds the gap records depends on when the engine went over to a fresh one.
    log = max((left / "db").glob("*.log"), key=lambda path: path.read_bytes().count(b"EGAP"))
    content = bytearray(log.read_bytes())
    places = [at for at in range(len(content) - 4) if content[at : at + 4] == b"EGAP"]
    content[places[int(place * len(places))] + 8] ^= 0x10
    log.write_bytes(content)
    with SegmentStore.open(left) as salvaged:
        assert salvaged.recovery
        assert [f for f in salvaged.check().findings if f.severity == "error"] == []
        live = numbers(salvaged)
        assert set(after) <= set(live) <= set(before)
        salvaged.writer("s", "w").append(b"200", number=200).result()
        assert numbers(salvaged)[-1] == 200


@pytest.mark.long
def test_on_the_engine_a_thinned_stream_reaches_further_back_under_the_limit(tmp_path: Path) -> None:
    limit = 24 << 20
    chance = random.Random(1)
    peak = 0
    with SegmentStore.open(tmp_path / "limited", disk_limit=limit) as store:
        store.create_stream("s", THIN)
        sent = 0
        for _ in range(700):
            frames = [Frame([b"%08d" % (sent + i) + chance.randbytes(20_000)], f"k{i}") for i in range(5)]
            sent += 5
            store.submit([Append("s", frames)]).result()
            peak = max(peak, store.disk_bytes())
        assert peak <= limit
        live = [int(event.payload[:8]) for event in store.read("s")]
        dropped = store.stream("s").dropped
        assert dropped["thinned"].events > 200
        assert live[0] < sent - 1.5 * len(live)
        assert store.disk_bytes() > 0.6 * limit
        assert [f for f in store.check().findings if f.severity == "error"] == []
