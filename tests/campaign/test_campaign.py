"""Kills and torn logs cost a store nothing that it promised, and a store that breaks a promise is found out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign.broken import BREAKS
from tests.length import SOAK
from tests.oracle.aim import ROOT

KILLS, CUTS = (1000, 300) if SOAK else (25, 10)
ENOUGH_KILLS, ENOUGH_CUTS = 200, 60
"""So many at most, until a broken promise is noticed."""


def campaign(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: it forks, so it must not have opened a store."""
    command = [sys.executable, "-m", "tests.campaign", "--directory", str(directory), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_kills_and_power_cuts_cost_nothing(tmp_path: Path) -> None:
    done = campaign(tmp_path, "--kills", str(KILLS), "--cuts", str(CUTS), "--seed", "7", "--jobs", "2")
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("which", BREAKS)
def test_a_broken_promise_is_noticed(tmp_path: Path, which: str) -> None:
    done = campaign(tmp_path, "--kills", str(ENOUGH_KILLS), "--cuts", str(ENOUGH_CUTS), "--broken", which)
    assert done.returncode == 1, done.stdout + done.stderr
    # What is gone is found by the judge; or by the load, which stops at a stream that is no longer there.
    assert "PROBLEM" in done.stdout
