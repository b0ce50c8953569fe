"""Gateway and devices are killed: nothing lost of what we answered, nothing doubled of what was sent again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drivers.listener_campaign import __name__ as package
from tests.drivers.listener_campaign.rounds import run_campaign
from tests.drivers.lives import assert_noticed
from tests.length import SOAK

SOAK_KILLS = 200
FEW = ("commit.synced", "pubrec+", "source.polled", "puback")


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_kills_cost_nothing(tmp_path: Path) -> None:
    report = run_campaign(SOAK_KILLS, 1, tmp_path) if SOAK else run_campaign(len(FEW), 2, tmp_path, sites=FEW)
    print(report.text())
    assert report.ok, report.text()
    assert not SOAK or not report.never_hit


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("which", "sites", "found"),
    [
        ("early", ("source.polled",), "lost [^-]"),
        ("forgetful", ("commit.synced",), "its session was gone"),
        ("suspicious", ("source.polled",), "lost [^-]"),
    ],
)
def test_a_broken_promise_is_noticed(which: str, sites: tuple[str, ...], found: str, tmp_path: Path) -> None:
    assert_noticed(package, run_campaign, which, sites, found, tmp_path)
