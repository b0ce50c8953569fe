"""What campaigns against a driver share: lives of a gateway, in each of them rounds of kills, in the end a comparison."""

from __future__ import annotations

import argparse
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from edge.demo.nodes import NodeProcess
from edge.errors import EdgeError
from storage import SegmentStore
from storage.errors import StorageError
from tests.drivers.judging import Verdict
from tests.oracle.aim import module_command
from tests.rounds import run_in

AT_RANDOM = "a random moment"
HEADS = ("CAME", "OWED", "STORED", "LOST", "DUPLICATE", "OUT OF ORDER")
ALL_HIT_FROM = 60
"""So many kills come to every place."""

KILLS_PER_LIFE = 25
CAME_WITHIN_S = 90.0
"""On a machine that others work on too."""
LIVES_TO_NOTICE = 5
"""Of a gateway that breaks a promise."""

Command = Callable[[Path], Sequence[str]]
Places = Mapping[str, Sequence[str]]
"""Where the gateway is killed: in words -> steps of the code, and packets; one of them may be AT_RANDOM."""


def aimed(places: Places) -> tuple[str, ...]:
    return tuple(site for sites in places.values() for site in sites if site != AT_RANDOM)


@dataclass
class Report:
    """What a run did, and what came of it. `problems` is empty where every promise was kept.

    `others_killed` counts who was killed besides the gateway; `verdicts` are of each life, by what is compared.
    """

    seed: int
    places: Places
    killed_at: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    others_killed: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    checks: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    verdicts: dict[str, list[Verdict]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    duration_s: float = 0.0

    @property
    def never_hit(self) -> list[str]:
        return [site for site in aimed(self.places) if not self.killed_at[site]]

    @property
    def ok(self) -> bool:
        return bool(self.verdicts) and not self.found

    @property
    def found(self) -> list[str]:
        """Every promise that was not kept, in words."""
        unclean = [
            f"{name}: {verdict.example}"
            for name, verdicts in self.verdicts.items()
            for verdict in verdicts
            if not verdict.clean
        ]
        return unclean + self.problems

    def judged(self, name: str, verdict: Verdict) -> None:
        self.verdicts.setdefault(name, []).append(verdict)

    def killed(self, site: str, *, hit: bool) -> str:
        """Count a kill that was aimed at `site`. What came of it, in words."""
        self.killed_at[site if hit else AT_RANDOM] += 1
        if not hit:
            self.missed[site] += 1
        return site if hit else f"{AT_RANDOM}, as {site} was not reached in time"

    def check(self, store: Path, when: str) -> None:
        """`SegmentStore.check_directory` must find nothing."""
        self.checks += 1
        try:
            findings = SegmentStore.check_directory(store).findings
        except StorageError as error:
            self.problems.append(f"{when}: the store can't be checked: {error}")
            return
        errors = [finding for finding in findings if finding.severity == "error"]
        self.problems += [f"{when}: {finding.where}: {finding.what}" for finding in errors]

    def text(self) -> str:
        """Tables and sentences for a person."""
        besides = "".join(f", {count} of {who}" for who, count in self.others_killed.items())
        lines = [
            f"seed {self.seed}: {self.killed_at.total()} kills of the gateway{besides}, in {self.lives} lives; "
            f"{self.duration_s:.0f} s",
            "",
            f"{'GATEWAY KILLED':46}{'AT':20}{'KILLS':>6}",
        ]
        for place, sites in self.places.items():
            lines += [f"{place:46}{site:20}{self.killed_at[site]:6}" for site in sites]
        if self.missed:
            lines += [f"not reached in time, and killed anywhere: {dict(self.missed)}"]
        lines += [f"{self.checks} checks of the store", ""]
        lines += [f"{count:9} {what}" for what, count in self.counts.items()]
        lines += ["", f"{'':22}" + "".join(f"{head:>{len(head) + 4}}" for head in HEADS)]
        for name, verdicts in self.verdicts.items():
            sums = [
                sum(v.came for v in verdicts), sum(v.owed for v in verdicts), sum(v.stored for v in verdicts),
                sum(v.lost for v in verdicts), sum(v.duplicate for v in verdicts), sum(v.out_of_order for v in verdicts),
            ]  # fmt: skip
            row = "".join(f"{value:{len(head) + 4}}" for head, value in zip(HEADS, sums, strict=True))
            lines.append(f"{name:22}{row}")
        lines += [f"PROBLEM {problem}" for problem in self.found]
        lines += ["ok" if self.ok else "FAILED"]
        return "\n".join(lines)


class Deck:
    """Where to kill next: `first`, in this order, then a shuffled deck of all places, and another one."""

    def __init__(self, places: Places, random: Random, first: Iterable[str], *, at_random: int) -> None:
        """`at_random`: cards of each deck that aim at nothing."""
        self._all = [*aimed(places), *[AT_RANDOM] * at_random]
        self._random = random
        self._cards = list(reversed(list(first)))

    def draw(self) -> str:
        if not self._cards:
            self._cards = list(self._all)
            self._random.shuffle(self._cards)
        return self._cards.pop()


class Life(NamedTuple):
    """One life of a campaign: what it is given, and what is done in each. `command` starts another gateway than ours."""

    folder: Path
    kills: int
    report: Report
    random: Random
    deck: Deck
    command: Command | None
    say: Callable[[str], None]

    def come_back(self, node: NodeProcess, number: int, where: str) -> None:
        """The gateway was killed, for the `number`-th time counted from 0."""
        self.say(f"life {self.report.lives + 1}, round {number + 1}: {where}")
        self.report.check(node.store, where)
        node.start()
        node.ready(CAME_WITHIN_S)

    def end(self, node: NodeProcess) -> None:
        """The gateway is stopped."""
        code = node.stop()
        if code != 0:
            self.report.problems.append(f"the gateway ended with {code} on SIGTERM: {node.log_end()}")
        self.report.check(node.store, "at the end")


@dataclass(frozen=True)
class Campaign:
    """`live` again and again, each time in a life of its own, until all is killed or something is found.

    `at_random`: cards of each deck that aim at nothing.
    """

    places: Places
    at_random: int
    live: Callable[[Life], None]

    def __call__(
        self, kills: int, seed: int, directory: Path, *, sites: Sequence[str] = (), per_life: int = KILLS_PER_LIFE,
        command: Command | None = None, say: Callable[[str], None] = lambda text: None,
    ) -> Report:  # fmt: skip
        """Run in `directory`, where the folder of a life that failed is kept.

        `sites`: where to kill first in each life, in this order; then, and otherwise, it is a shuffled deck of all.
        """
        report, random = Report(seed, self.places), Random(seed)
        began_s = time.monotonic()
        left = kills
        while left and (report.ok or not report.lives):
            folder = directory / f"life-{report.lives + 1}"
            count = min(left, per_life)
            left -= count
            deck = Deck(self.places, random, sites, at_random=self.at_random)
            try:
                self.live(Life(folder, count, report, random, deck, command, say))
            except EdgeError as error:
                report.problems.append(f"{folder.name}: {error}")
            report.lives += 1
            if report.ok:
                shutil.rmtree(folder)
        report.duration_s = time.monotonic() - began_s
        return report


def broken_command(package: str, which: str, folder: Path) -> tuple[str, ...]:
    """In place of `tests.oracle.aim.node_command`: the gateway of `package.broken`, with promise `which` broken."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = (which, "--hits", str(folder / "hits"), "--aim", str(folder / "aim"), "--")
    return module_command(f"{package}.broken", *arguments)


def assert_noticed(
    package: str, run_campaign: Campaign, which: str, sites: Sequence[str], found: str, directory: Path
) -> None:
    """The gateway of `package.broken`, killed once at each of `sites`: something is found that matches `found`.

    Not every kill meets something under way that is lost or doubled by it, so it may take some lives.
    """
    command = partial(broken_command, package, which)
    for seed in range(1, LIVES_TO_NOTICE + 1):
        report = run_campaign(len(sites), seed, directory / f"seed-{seed}", sites=sites, command=command)
        assert set(sites) <= set(aimed(report.places)), report.text()
        if any(re.search(found, each) for each in report.found):
            return
        assert report.ok, report.text()
    pytest.fail(f"nothing was noticed in {LIVES_TO_NOTICE} lives")


def main(package: str, run_campaign: Campaign, breaks: Iterable[str]) -> int:
    """`python -m PACKAGE [--kills N] [--seed S] [--directory DIRECTORY] [--broken WHICH]`"""
    parser = argparse.ArgumentParser(prog=f"python -m {package}")
    parser.add_argument("--kills", type=int, default=200, help="of the gateway; others die besides")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="keep stores and logs here (otherwise kept only when it fails)")
    parser.add_argument("--broken", choices=tuple(breaks), help="break a promise on purpose: it must be noticed")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    command = partial(broken_command, package, arguments.broken) if arguments.broken else None
    run = partial(run_campaign, arguments.kills, arguments.seed, command=command, say=partial(print, flush=True))
    return run_in(arguments.directory, package.rpartition(".")[2], run, every_step=arguments.kills >= ALL_HIT_FROM)
