"""The list of steps is what the code names."""

from __future__ import annotations

import re
from pathlib import Path

from tests.oracle.aim import ROOT
from tests.oracle.steps import ALL_STEPS, NOT_AIMED_AT, Hits

TRACED = re.compile(r"trace\(\s*\"([a-z_.]+)\"")


def test_every_step_that_the_code_names_can_be_aimed_at() -> None:
    named: set[str] = set()
    for package in ("storage", "drivers", "sync", "edge"):
        for file in (ROOT / package).rglob("*.py"):
            named |= set(TRACED.findall(file.read_text(encoding="utf-8")))
    assert named == {*ALL_STEPS, *NOT_AIMED_AT}


def test_visits_are_counted_across_processes(tmp_path: Path) -> None:
    hits = Hits(tmp_path / "hits")
    hits.visited("commit.synced")
    hits.visited("commit.synced")
    hits.killed("hub.applied")
    again = Hits(tmp_path / "hits")
    assert (again.visits("commit.synced"), again.kills("commit.synced")) == (2, 0)
    assert (again.visits("hub.applied"), again.kills("hub.applied")) == (0, 1)
