"""What was said against what is stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.drivers.serial_campaign.frames import Kind
from tests.drivers.serial_campaign.lines import Said


@dataclass(frozen=True, slots=True)
class Verdict:
    """About one line. Everything from `lost` on has to be 0, and `counted_bad` what `bad` is."""

    name: str
    good: int
    bad: int
    counted_bad: int
    lost: int
    doubled: int
    out_of_order: int
    foreign: int
    counted_lost: int
    waits: int
    replugs: int

    @property
    def ok(self) -> bool:
        wrong = (self.lost, self.doubled, self.out_of_order, self.foreign, self.counted_lost, self.waits)
        return not any(wrong) and self.counted_bad == self.bad and self.replugs == 1

    def text(self) -> str:
        return (
            f"{self.name:12}{self.good:10,} good{self.bad:8,} bad{self.counted_bad:8,} counted bad  {self.lost} lost, "
            f"{self.doubled} doubled, {self.out_of_order} out of order, {self.foreign} foreign, "
            f"{self.counted_lost} counted lost, {self.waits} waits, {self.replugs} replug  {'ok' if self.ok else 'WRONG'}"
        )


def judge(
    name: str, kind: Kind, said: Said, stored: Iterable[bytes], *, counted_bad: int, counted_lost: int
) -> Verdict:
    """`stored` are the payloads of the line's stream from head to tail."""
    expected = set(range(said.frames)) - said.damaged
    seen: set[int] = set()
    newest = -1
    doubled = out_of_order = foreign = 0
    for payload in stored:
        number = kind.number(payload)
        if number is None or number not in expected:
            foreign += 1
            continue
        doubled += number in seen
        out_of_order += number < newest
        newest = max(newest, number)
        seen.add(number)
    return Verdict(
        name=name,
        good=len(expected),
        bad=said.bad,
        counted_bad=counted_bad,
        lost=len(expected - seen),
        doubled=doubled,
        out_of_order=out_of_order,
        foreign=foreign,
        counted_lost=counted_lost,
        waits=said.waits,
        replugs=said.replugs,
    )
