"""The daemon over a store of which a file was hit: it comes up unattended and goes on; check and repair say what was lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.edge.running import edge, lines_of, running, write_config
from tests.length import SOAK
from tests.storage.damaged import STREAMS, Base, Harm, build, flipped, removed, torn, victims
from tests.waiting import until

SYNTHETIC = '[[source]]\nname = "signal"\ndriver = "synthetic"\nstream = "plant/signal"\n'
KINDS = ("tables", "telemetry", "chain", "log", "MANIFEST", "CURRENT", "chunk", "FORMAT")

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return build(tmp_path_factory.mktemp("base"))


def damaged(base: Base, folder: Path, harm: Callable[[Path], Harm]) -> Path:
    """A data directory with a harmed store."""
    shutil.copytree(base.path, folder / "data" / "store")
    harm(folder / "data" / "store")
    return folder / "data"


@pytest.mark.parametrize("how", [flipped, torn, removed] if SOAK else [torn])
@pytest.mark.parametrize("kind", KINDS if SOAK else ["tables", "telemetry", "log", "MANIFEST"])
def test_edge_run_comes_up_and_goes_on_ingesting(
    base: Base, tmp_path: Path, kind: str, how: Callable[[str, int], Callable[[Path], Harm]]
) -> None:
    damaged(base, tmp_path, how(kind, 0))
    with running(write_config(tmp_path, more=SYNTHETIC)) as node:
        until(lambda: node.client.sources()[0].events > 0, "an event of the source")
        for stream in STREAMS:
            assert node.edge("write", stream, "--writer", "w", stdin=lines_of(["onward"])).code == 0
            before = {event.payload for event in base.events[stream]} | {b"onward"}
            after = [event.payload for event in node.client.read(stream)]
            assert after[-1] == b"onward"
            assert set(after) <= before


def test_check_tells_of_what_repair_then_mends_and_counts(base: Base, tmp_path: Path) -> None:
    data = damaged(base, tmp_path, removed("chunk", 0))
    checked = edge("--json", "check", str(data))
    assert checked.code == 1
    assert any("chunk" in finding["what"] for finding in json.loads(checked.out)["findings"])
    repaired = edge("--json", "repair", str(data))
    assert repaired.code == 1
    report = json.loads(repaired.out)
    assert report["lost_bytes"] == sum(lost["end"] - lost["start"] for lost in report["lost"]) > 0
    assert {lost["stream"] for lost in report["lost"]} == {"video/gate"}
    assert report["left"] == []
    assert edge("check", str(data)).code == 0
    again = edge("repair", str(data))
    assert (again.code, again.out.startswith("nothing was damaged: ")) == (0, True)


def test_repair_puts_back_what_the_engine_lost_and_keeps_what_it_found(base: Base, tmp_path: Path) -> None:
    data = damaged(base, tmp_path, torn("MANIFEST", 1))
    done = edge("--json", "repair", str(data))
    report = json.loads(done.out)
    assert (done.code, report["lost"], report["left"]) == (0, [], [])
    assert report["put_back"]["entries"] > 0
    kept = {Path(each["file"]).name.split("-")[0] for each in report["quarantined"]}
    assert "MANIFEST" in kept
    assert report["events"] == sum(len(events) for events in base.events.values())


def test_check_changes_nothing_whatever_is_hit(base: Base, tmp_path: Path) -> None:
    for number, kind in enumerate(KINDS):
        data = damaged(base, tmp_path / str(number), removed(kind, 1))
        before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file() and path.name != "LOCK"}
        done = edge("--json", "check", str(data))
        assert done.code == 1, kind
        assert json.loads(done.out)["ok"] is False
        after = {path: path.read_bytes() for path in data.rglob("*") if path.is_file() and path.name != "LOCK"}
        assert {path for path in after if "LOG" not in path.name} == {path for path in before if "LOG" not in path.name}
        assert all(after[path] == raw for path, raw in before.items() if "LOG" not in path.name)


def test_repair_of_a_store_in_use_or_of_none_says_so(base: Base, tmp_path: Path) -> None:
    assert "there is no store" in edge("repair", str(tmp_path)).err
    shutil.copytree(base.path, tmp_path / "data" / "store")
    assert victims(tmp_path / "data" / "store", "FORMAT")
    with running(write_config(tmp_path)) as node:
        done = edge("repair", str(tmp_path / "data"))
        assert done.code == 1
        assert f"is in use by process {node.process.pid}: stop it first" in done.err
