"""The examples of the README run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from random import Random

from drivers import source
from drivers.contract import SourceSettings
from storage import FakeClock, SegmentStore

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def example(containing: str) -> str:
    (found,) = [text for text in blocks("python") if containing in text]
    return found


def test_the_store_is_used_as_the_readme_shows(tmp_path: Path) -> None:
    code = example("SegmentStore.open").replace("/var/lib/edge/store", str(tmp_path / "store"))
    exec(compile(code, "README", "exec"), {})
    with SegmentStore.open(tmp_path / "store") as store:
        assert [event.payload for event in store.read("plant/flow")] == [b"12.7", b"1", b"2"]


def test_the_driver_of_the_readme_is_a_driver(tmp_path: Path) -> None:
    zone = tmp_path / "temp"
    zone.write_text("48250\n", encoding="ascii")
    names: dict[str, type] = {}
    exec(compile(example("TemperatureDriver"), "README", "exec"), names)
    settings = SourceSettings(name="box", driver="temperature", stream="box/temperature")
    clock = FakeClock()
    with SegmentStore.in_memory(clock=clock) as store:
        running = source.Source(
            lambda: names["TemperatureDriver"](names["TemperatureConfig"](zone=str(zone)), settings, clock),
            settings,
            store,
            clock=clock,
            random=Random(1),
        )
        for _ in range(30):
            running.step(0.0)
            store.commit()
            clock.advance(1)
        assert [event.payload for event in store.read("box/temperature")] == [b"48.2"] * 3
        assert running.status().counters["good"] == 3
        running.close()


def test_every_configuration_of_the_readme_parses() -> None:
    assert [sorted(tomllib.loads(text)) for text in blocks("toml")] == [
        ["node", "source", "stream", "upstream"],
        ["hub", "node"],
    ]


def test_every_path_of_the_readme_is_there() -> None:
    root = Path(__file__).parents[2]
    paths = re.findall(r"`((?:tests|storage|drivers|sync|edge|systemd)/[^`\s]*)`", README)
    assert len(paths) > 10
    assert [path for path in paths if not (root / path).exists()] == []
