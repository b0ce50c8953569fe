"""Many lines into a real gateway, in short; and what the judge does not let pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from drivers.contract import SourceSettings
from drivers.serial import SerialConfig, SerialDriver
from drivers.serial.config import framer
from storage.clock import FakeClock
from tests.drivers.serial_campaign.frames import KINDS, damaged, noise
from tests.drivers.serial_campaign.judging import judge
from tests.drivers.serial_campaign.lines import Said
from tests.drivers.serial_campaign.running import Plan, run_campaign
from tests.length import SOAK


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_good_frame_is_stored_once_and_every_bad_one_counted(tmp_path: Path) -> None:
    plan = Plan() if SOAK else Plan(duration_s=6.0, bad_share=0.05)
    report = run_campaign(plan, tmp_path)
    print(report.text())
    assert report.ok, report.text()
    assert all(verdict.good > 100 and verdict.bad > 1 for verdict in report.verdicts)


LINES = KINDS["lines"]
SAID = Said(frames=6, damaged={2}, bursts=1, halves=1, replugs=1)
STORED = [LINES.make(number).strip() for number in (0, 1, 3, 4, 5)]


@pytest.mark.parametrize(
    ("stored", "counted_bad", "wrong"),
    [
        (STORED, 3, ""),
        (STORED[:-1], 3, "lost"),
        ([*STORED, STORED[-1]], 3, "doubled"),
        ([*STORED[1:], STORED[0]], 3, "out_of_order"),
        ([*STORED, LINES.make(2).strip()], 3, "foreign"),
        ([*STORED, b"00000003 x 00000000"], 3, "foreign"),
        (STORED, 2, "counted_bad"),
        (STORED, 4, "counted_bad"),
    ],
)
def test_the_judge_notices(stored: list[bytes], counted_bad: int, wrong: str) -> None:
    verdict = judge("line", LINES, SAID, stored, counted_bad=counted_bad, counted_lost=0)
    assert verdict.ok == (not wrong)
    if wrong and wrong != "counted_bad":
        assert getattr(verdict, wrong)
    assert not replace(verdict, waits=1).ok
    assert not replace(verdict, replugs=0).ok


@pytest.mark.long
@pytest.mark.parametrize("name", KINDS)
def test_what_is_damaged_is_nothing_that_a_reader_could_understand(name: str) -> None:
    """So the campaign asks for no more than is possible: one bad piece, and the frames on both sides."""
    kind, random = KINDS[name], Random(1)
    config = SerialConfig(**kind.settings)  # type: ignore[arg-type]
    SerialDriver(config, SourceSettings(name=name, driver="serial", stream="a/b"), FakeClock())
    for number in range(3, 1500):
        bad = damaged(kind, kind.make(number), random) if number % 3 else noise(kind, random)
        framing = framer(config, name)
        around = [kind.make(number - 1), bad, kind.make(number + 1), kind.make(number + 2)]
        # A damaged length may claim frames to come: they are there in the end.
        after = [kind.make(number + index) for index in range(3, 12)]
        came = [kind.number(reading.payload) for reading in framing.feed(b"".join(around + after))]
        assert came == [number - 1, *range(number + 1, number + 12)], (number, bad)
        assert framing.bad == 1, (number, bad)
