"""The examples of the README run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from edge.cli import main
from storage import SegmentStore
from tests.readme import README, blocks, example


def test_the_store_is_used_as_the_readme_shows(tmp_path: Path) -> None:
    code = example("SegmentStore.open").replace("/var/lib/edge/store", str(tmp_path / "store"))
    exec(compile(code, "README", "exec"), {})
    with SegmentStore.open(tmp_path / "store") as store:
        assert [event.payload for event in store.read("plant/flow")] == [b"12.7", b"1", b"2"]


def test_every_configuration_of_the_readme_parses() -> None:
    assert [sorted(tomllib.loads(text)) for text in blocks("toml")] == [
        ["node", "source", "stream", "upstream"],
        ["hub", "node"],
        ["source"],
        ["source"],
        ["source"],
    ]


def test_the_sources_of_the_readme_can_be_configured(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret", encoding="utf-8")
    for number, text in enumerate(text for text in blocks("toml") if set(tomllib.loads(text)) == {"source"}):
        file = tmp_path / f"{number}.toml"
        head = f'[node]\nname = "pump-7"\ndata_dir = "{tmp_path}"\n'
        file.write_text(head + text.replace("/etc/edge/gate-password", str(password)), encoding="utf-8")
        assert main(["--config", str(file), "config", "check"]) == 0


def test_every_path_of_the_readme_is_there() -> None:
    root = Path(__file__).parents[2]
    paths = re.findall(r"`((?:tests|storage|drivers|sync|edge|systemd)/[^`\s]*)`", README)
    assert len(paths) > 10
    assert [path for path in paths if not (root / path).exists()] == []
