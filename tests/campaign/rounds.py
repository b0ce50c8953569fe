"""The campaign: rounds of a load that ends in a kill or a power cut, store after store."""

from __future__ import annotations

import os
import select
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.campaign.model import Model
from tests.campaign.power import Synced
from tests.campaign.worker import BROKE, DONE, FOUND, Spec, run
from tests.oracle.steps import CAMPAIGN_STEPS, Hits

ROUNDS_PER_STORE = 30
RANDOM_WITHIN_S = 0.12
"""A kill at a random moment comes so long after the verification, at most."""
ROUND_WITHIN_S = 30.0
MOST_VISITS = 40
AIMED_KILLS = 0.65
"""So many of the kills are aimed: some do not come to their step in their round, and then come at its end."""
AIMED_CUTS = 0.8
TEARING_STEPS = ("commit.written", "commit.written", "chunk.written", *CAMPAIGN_STEPS)
"""Where power is cut: above all where something is written and not synced."""


@dataclass
class Report:
    """What a campaign did, and what came of it. `problems` is empty where every promise was kept."""

    kills: int
    cuts: int
    seed: int
    random_kills: int = 0
    killed_at: Counter[str] = field(default_factory=Counter)
    cut_at: Counter[str] = field(default_factory=Counter)
    visits: dict[str, int] = field(default_factory=dict)
    missed: Counter[str] = field(default_factory=Counter)
    torn_bytes: int = 0
    torn: int = 0
    verifications: int = 0
    stores: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    duration_s: float = 0.0

    @property
    def never_hit(self) -> list[str]:
        """Steps at which no process was killed."""
        return [step for step in CAMPAIGN_STEPS if not self.killed_at[step] + self.cut_at[step]]

    @property
    def ok(self) -> bool:
        return not self.problems

    def text(self) -> str:
        """Tables and sentences for a person."""
        aimed = sum(self.killed_at.values())
        lines = [
            f"seed {self.seed}: {self.kills} kills, {aimed} of them at a named step, and {self.cuts} power cuts, "
            f"{self.torn} of which tore {self.torn_bytes} bytes off, in {self.stores} stores; {self.duration_s:.0f} s",
            "",
            f"{'STEP':24}{'KILLS':>7}{'CUTS':>7}{'VISITS':>9}",
        ]
        for step in CAMPAIGN_STEPS:
            lines.append(f"{step:24}{self.killed_at[step]:7}{self.cut_at[step]:7}{self.visits.get(step, 0):9}")
        lines += [f"{'a random moment':24}{self.random_kills:7}{self.cuts - sum(self.cut_at.values()):7}", ""]
        if self.missed:
            lines += [f"not reached in their rounds: {dict(self.missed)}", ""]
        lines += [f"{'OPERATION':44}{'DONE':>9}"]
        lines += [f"{name:44}{count:9}" for name, count in sorted(self.operations.items())]
        lines += ["", f"{self.verifications} verifications, each with a check of the store"]
        lines += [f"PROBLEM {problem}" for problem in self.problems]
        lines += ["ok" if self.ok else "FAILED"]
        return "\n".join(lines)


def run_campaign(
    kills: int, cuts: int, seed: int, directory: Path, say: Callable[[str], None] = lambda text: None
) -> Report:
    """Run in `directory`, where the store of a round that failed is kept. Forks: this process must never open a store."""
    report = Report(kills, cuts, seed)
    began_s = time.monotonic()
    random = Random(seed)
    hits = Hits(directory / "hits")
    left = random.sample(["kill"] * kills + ["cut"] * cuts, kills + cuts)
    while left and report.ok:
        folder = directory / f"store-{report.stores + 1}"
        folder.mkdir()
        report.stores += 1
        count = random.randint(ROUNDS_PER_STORE // 3, ROUNDS_PER_STORE * 5 // 3)
        part, left = left[:count], left[count:]
        _Life(folder, directory / "hits", hits, random, report).run(part)
        if report.ok:
            shutil.rmtree(folder)
        say(f"store {report.stores}: {len(left)} rounds left, {time.monotonic() - began_s:.0f} s")
    report.visits = {step: hits.visits(step) for step in CAMPAIGN_STEPS}
    report.duration_s = time.monotonic() - began_s
    return report


class _Life:
    """One store, from its making to the last look."""

    def __init__(self, folder: Path, hits_path: Path, hits: Hits, random: Random, report: Report) -> None:
        self._folder = folder
        self._hits_path = hits_path
        self._hits = hits
        self._random = random
        self._report = report
        self._rebooted = False

    def run(self, ends: list[str]) -> None:
        for end in ends:
            step = None
            if self._random.random() < (AIMED_CUTS if end == "cut" else AIMED_KILLS):
                step = self._random.choice(TEARING_STEPS if end == "cut" else CAMPAIGN_STEPS)
            self._round(end, step)
            if not self._report.ok:
                return
        self._round("last", None)
        model = Model.load(self._folder / "model")
        self._report.operations += model.done

    def _spec(self, aim: tuple[str, int] | None, *, last: bool) -> Spec:
        random = self._random
        return Spec(
            self._folder, self._hits_path, random.randrange(1 << 32), aim, random.random() < 0.4,
            self._rebooted, last,
        )  # fmt: skip

    def _round(self, end: str, step: str | None) -> None:
        aim = None
        if step is not None:
            # Each step comes as often as it does in these rounds, so that any of its visits is hit.
            rounds = max(1, self._report.verifications)
            usual = self._hits.visits(step) // rounds
            aim = (step, self._random.randint(1, max(1, min(usual, MOST_VISITS))))
        spec = self._spec(aim, last=end == "last")
        before = None if step is None else self._hits.kills(step)
        code = self._run(spec, at_random=aim is None and end != "last")
        self._rebooted = False
        if code in (FOUND, BROKE) or (end == "last" and code != DONE):
            told = self._folder / ("problems" if (self._folder / "problems").exists() else "stuck")
            what = told.read_text(encoding="utf-8") if told.exists() else f"ended with {code}"
            self._report.problems.append(f"{self._folder.name}, {spec}: {what}")
            return
        if end == "last":
            return
        hit = step is not None and self._hits.kills(step) != before
        if step is not None and not hit:
            self._report.missed[step] += 1
        if end == "cut":
            lost = Synced(self._folder / "store").tear(self._random)
            self._report.torn_bytes += lost
            self._report.torn += lost > 0
            self._rebooted = True
            self._report.cut_at[step or ""] += hit
        elif hit and step is not None:
            self._report.killed_at[step] += 1
        else:
            self._report.random_kills += 1

    def _run(self, spec: Spec, *, at_random: bool) -> int | None:
        """Fork, and kill. The exit code, None where it was killed."""
        readable, writable = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(readable)
            os._exit(run(spec, lambda: _tell(writable)))
        os.close(writable)
        try:
            opening = at_random and self._random.random() < 0.1
            if opening:
                time.sleep(self._random.uniform(0.0, 0.05))
            elif select.select([readable], [], [], ROUND_WITHIN_S)[0] and os.read(readable, 1):
                self._report.verifications += 1
                if at_random:
                    time.sleep(self._random.uniform(0.0, RANDOM_WITHIN_S))
            if at_random:
                os.kill(child, signal.SIGKILL)
            return _wait(child)
        finally:
            os.close(readable)


def _tell(writable: int) -> None:
    os.write(writable, b"v")


def _wait(child: int) -> int | None:
    """Wait for a process, and kill it where it takes too long. Its exit code, None where it was killed by itself or at once."""
    deadline_s = time.monotonic() + ROUND_WITHIN_S
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline_s:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return BROKE
        time.sleep(0.002)
