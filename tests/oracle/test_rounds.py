"""Kills, random and aimed, to gateway and hub, under load and a flapping link: nothing lost, doubled or out of order."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.length import SOAK
from tests.oracle.rounds import run_rounds

LONG_ROUNDS = 51
SOAK_ROUNDS = 200


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_kills_at_every_step_cost_nothing(tmp_path: Path) -> None:
    report = run_rounds(SOAK_ROUNDS if SOAK else LONG_ROUNDS, 1, tmp_path)
    print(report.text())
    assert report.ok, report.text()
    assert not report.never_hit, report.text()
