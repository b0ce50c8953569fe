"""Rules of the house that no other tool checks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TOP = {"pyproject.toml", "README.md", "edge", "drivers", "storage", "sync", "tests", "systemd"}


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        return [str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if ".venv" not in path.parts]
    return listed.stdout.split("\n")[:-1]


def test_the_top_holds_what_it_should() -> None:
    assert {name.split("/")[0] for name in tracked() if not name.startswith(".")} <= TOP


@pytest.mark.parametrize("package", ["storage", "drivers", "sync", "edge"])
def test_a_package_begins_with_its_specification(package: str) -> None:
    text = (ROOT / package / "__init__.py").read_text(encoding="utf-8")
    assert text.startswith('"""')
    assert len(text.split('"""')[1].splitlines()) >= 10


def test_no_file_is_more_than_one_idea() -> None:
    long = {
        name: len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in tracked() if name.endswith(".py")
    }
    assert {name: lines for name, lines in long.items() if lines > 450} == {}
