"""One flipped bit in the newest log: the store opens, the gap is the block that was hit, and everybody can see it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from edge.demo.nodes import GatewayPlan, NodeProcess, free_port, gateway_toml, hub_toml
from edge.demo.numbering import stamp
from edge.demo.scene import behind, drained
from storage import SegmentStore
from tests.length import SOAK
from tests.oracle.damage import NODE, History, check_against, flip, history, killed_store, newest_log

SEED = 7
TRIALS = 60 if SOAK else 15


@pytest.fixture(scope="module", params=[(64 << 20, 1), (30_000, 1), (30_000, 2)], ids=["plain", "rolled", "reopened"])
def killed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A store whose writer was killed; one of many generations; one whose writer was killed twice."""
    generation_bytes, times = request.param
    store = tmp_path_factory.mktemp("killed") / "store"
    for _ in range(times):
        killed_store(store, 300, generation_bytes)
    return store


@pytest.fixture(scope="module")
def before(killed: Path, tmp_path_factory: pytest.TempPathFactory) -> History:
    """What it holds, opened unharmed."""
    copy = tmp_path_factory.mktemp("unharmed") / "store"
    shutil.copytree(killed, copy)
    with SegmentStore.open(copy) as store:
        held = history(store)
    assert not any(held.gaps.values())
    return held


def trial(killed: Path, before: History, bit: int, folder: Path) -> int:
    """Flip `bit` in a copy, open it, compare. How many gaps there are."""
    copy = folder / "store"
    shutil.copytree(killed, copy)
    flip(newest_log(copy), bit)
    try:
        with SegmentStore.open(copy) as store:
            gaps = check_against(before, history(store))
        report = SegmentStore.check_directory(copy)
        assert report.ok, report.findings
        assert report.gaps == gaps
    except Exception as error:
        raise AssertionError(f"bit {bit} of the newest log: {error}") from error
    shutil.rmtree(copy)
    return gaps


@pytest.mark.long
def test_one_bit_costs_at_most_the_block_it_hit(killed: Path, before: History, tmp_path: Path) -> None:
    random = Random(SEED)
    bits = newest_log(killed).stat().st_size * 8
    hit = sum(trial(killed, before, random.randrange(bits), tmp_path) for _ in range(TRIALS))
    assert hit, "no trial hit a block: nothing was tried"


@pytest.mark.long
def test_not_even_in_the_last_record_is_a_bit_lost_without_a_word(
    killed: Path, before: History, tmp_path: Path
) -> None:
    """Where damage could be taken for a torn tail."""
    end = newest_log(killed).stat().st_size * 8
    random = Random(SEED)
    for bit in random.sample(range(end - 8 * 400, end), TRIALS):
        trial(killed, before, bit, tmp_path)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[NodeProcess, int]]:
    """A running hub and its port."""
    port = free_port()
    node = NodeProcess(tmp_path / "hub", hub_toml(tmp_path / "hub", port))
    node.start()
    node.ready()
    yield node, port
    node.kill()


@pytest.fixture
def gateway(tmp_path: Path, hub: tuple[NodeProcess, int]) -> Iterator[NodeProcess]:
    """A gateway that is not started yet."""
    plan = GatewayPlan(NODE, hub[1])
    node = NodeProcess(tmp_path / "gateway", gateway_toml(plan, tmp_path / "gateway"))
    yield node
    node.kill()


def a_bit_that_costs_a_block(killed: Path, before: History, folder: Path, random: Random) -> int:
    bits = newest_log(killed).stat().st_size * 8
    while True:
        bit = random.randrange(bits)
        if trial(killed, before, bit, folder):
            return bit


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20 if SOAK else 3))
def test_the_gateway_comes_up_and_the_gap_is_seen_here_and_at_the_hub(
    killed: Path, before: History, tmp_path: Path, gateway: NodeProcess, hub: tuple[NodeProcess, int], seed: int
) -> None:
    bit = a_bit_that_costs_a_block(killed, before, tmp_path, Random(seed))
    shutil.copytree(killed, gateway.store)
    flip(newest_log(gateway.store), bit)
    gateway.start()
    status = gateway.ready()
    assert status.store.recovery
    assert drained(gateway.client, 30.0)

    damaged = [stream.name for stream in status.streams if any(segment.gaps for segment in stream.segments)]
    assert len(damaged) == 1
    gaps = gateway.client.stream(damaged[0]).gaps
    assert len(gaps) == 1
    printed = subprocess.run(
        [sys.executable, "-m", "edge", "--config", str(gateway.config), "--json", "streams", damaged[0]],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [gap["position"] for gap in json.loads(printed.stdout)["gaps"]] == [gaps[0].position]
    assert hub[0].client.stream(f"{NODE}/{damaged[0]}").gaps == gaps
    for stream, events in before.events.items():
        held = list(hub[0].client.read(f"{NODE}/{stream}"))
        here = list(gateway.client.read(stream))
        assert [event.payload for event in held] == [event.payload for event in here]
        assert [event.position for event in held] == [event.position for event in here]
        lost = sum(gap.events or 0 for gap in gaps) if stream == damaged[0] else 0
        assert len(here) == len(events) - lost


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_what_the_hub_held_before_the_damage_stays_there_and_the_rest_follows(
    tmp_path: Path, gateway: NodeProcess, hub: tuple[NodeProcess, int], seed: int
) -> None:
    gateway.start()
    gateway.ready()
    for number in range(200):
        gateway.client.write("plant/flow", [stamp("flow", number)], key="flow")
    assert drained(gateway.client, 30.0)
    gateway.kill()
    flip(newest_log(gateway.store), a_bit_that_makes_a_gap(gateway.store, tmp_path, Random(seed)))
    gateway.start()
    gateway.ready()
    gateway.client.write("plant/flow", [stamp("flow", 200)], key="flow")
    assert drained(gateway.client, 30.0), behind(gateway.client)
    assert len(gateway.client.stream("plant/flow").gaps) == 1
    assert len(list(gateway.client.read("plant/flow"))) == 200
    held = [event.payload for event in hub[0].client.read(f"{NODE}/plant/flow")]
    assert held == [stamp("flow", number) for number in range(201)]


def a_bit_that_makes_a_gap(store: Path, folder: Path, random: Random) -> int:
    """In the first half of the newest log of a store: there are commits behind it."""
    copy = folder / "tried"
    while True:
        bit = random.randrange(newest_log(store).stat().st_size * 4)
        shutil.copytree(store, copy)
        flip(newest_log(copy), bit)
        with SegmentStore.open(copy) as opened:
            gaps = opened.gaps("plant/flow")
        shutil.rmtree(copy)
        if gaps:
            return bit
