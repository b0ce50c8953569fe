"""The campaign: rounds of a load that ends in a kill or a power cut, store after store."""

from __future__ import annotations

import os
import select
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from random import Random

from tests.campaign.model import Model
from tests.campaign.power import Synced
from tests.campaign.scene import DISK_LIMIT
from tests.campaign.worker import BROKE, DONE, Spec, run
from tests.oracle.steps import CAMPAIGN_STEPS, Hits

ROUNDS_PER_STORE = 30
RANDOM_WITHIN_S = 0.2
"""A kill at a random moment comes so long after the verification, at most."""
AT_RANDOM = "a random moment"
ROUND_WITHIN_S = 30.0
AIMED_WITHIN_S = 1.5
"""A process that has not come to its step by then is killed all the same."""
OPENING_SHARE, OPENING_S = 0.12, 0.06
"""So many of the kills at random come while the store is opened, or read."""
MOST_VISITS = 40
MIRRORED_SHARE, FULL_SHARE = 0.35, 0.3
"""Stores that are mirrored to a hub in the same process; those that come to their disk limit."""
AIMED_KILLS = 0.65
"""So many of the kills are aimed: some do not come to their step in their round, and then come at its end."""
AIMED_CUTS = 0.8
TEARING_STEPS = ("commit.written", "commit.written", "chunk.written", "commit.synced")
"""Where power is cut: where something is written and not synced, or just was."""


@dataclass
class Report:
    """What a campaign did, and what came of it. `problems` is empty where every promise was kept."""

    seed: int
    killed_at: Counter[str] = field(default_factory=Counter)
    cut_at: Counter[str] = field(default_factory=Counter)
    visits: Counter[str] = field(default_factory=Counter)
    turns: list[str] = field(default_factory=list)
    """The steps that kills are aimed at next, from behind."""
    missed: Counter[str] = field(default_factory=Counter)
    torn_bytes: int = 0
    untorn: int = 0
    """Power cuts that came when all was synced: they are not counted."""
    verifications: int = 0
    peak_bytes: int = 0
    stores: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    duration_s: float = 0.0

    def add(self, other: Report) -> None:
        """Count what another process did as well."""
        for mine, theirs in (
            (self.killed_at, other.killed_at),
            (self.cut_at, other.cut_at),
            (self.visits, other.visits),
            (self.missed, other.missed),
            (self.operations, other.operations),
        ):
            mine.update(theirs)
        self.untorn += other.untorn
        self.torn_bytes += other.torn_bytes
        self.verifications += other.verifications
        self.stores += other.stores
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)
        self.problems += other.problems

    @property
    def never_hit(self) -> list[str]:
        """Steps at which no process was killed."""
        return [step for step in CAMPAIGN_STEPS if not self.killed_at[step] + self.cut_at[step]]

    @property
    def ok(self) -> bool:
        return not self.problems

    def text(self) -> str:
        """Tables and sentences for a person."""
        kills, cuts = sum(self.killed_at.values()), sum(self.cut_at.values())
        lines = [
            f"seed {self.seed}: {kills} kills, {kills - self.killed_at[AT_RANDOM]} of them at a named step, and {cuts} power "
            f"cuts, which tore {self.torn_bytes} bytes off ({self.untorn} more came when all was synced), in "
            f"{self.stores} stores; {self.duration_s:.0f} s",
            "",
            f"{'STEP':24}{'KILLS':>7}{'CUTS':>7}{'VISITS':>9}",
        ]
        for step in (*CAMPAIGN_STEPS, AT_RANDOM):
            lines.append(f"{step:24}{self.killed_at[step]:7}{self.cut_at[step]:7}{self.visits[step]:9}")
        lines += [""]
        if self.missed:
            lines += [f"not reached in their rounds: {dict(self.missed)}", ""]
        lines += [f"{'OPERATION':44}{'DONE':>9}"]
        lines += [f"{name:44}{count:9}" for name, count in sorted(self.operations.items())]
        lines += ["", f"{self.verifications} verifications, each with a check of the store"]
        lines += [f"at most {self.peak_bytes} bytes were on disk, the limit was {DISK_LIMIT}"]
        lines += [f"PROBLEM {problem}" for problem in self.problems]
        lines += ["ok" if self.ok else "FAILED"]
        return "\n".join(lines)


def run_campaign(
    kills: int, cuts: int, seed: int, directory: Path, *, jobs: int = 1, broken: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Report:  # fmt: skip
    """Run in `directory`, where the store of a round that failed is kept; `jobs` processes side by side, each its share.

    Forks: this process must never open a store.
    """
    began_s = time.monotonic()
    report = Report(seed)
    with ProcessPoolExecutor(jobs, get_context("fork")) as pool:
        shares = [
            pool.submit(
                _run_share, (kills + job) // jobs, (cuts + job) // jobs, seed * 1000 + job, directory / f"{job}", broken, say
            )
            for job in range(jobs)
        ]  # fmt: skip
        for share in shares:
            report.add(share.result())
    report.duration_s = time.monotonic() - began_s
    return report


def _run_share(
    kills: int, cuts: int, seed: int, directory: Path, broken: str | None, say: Callable[[str], None]
) -> Report:
    report = Report(seed)
    random = Random(seed)
    directory.mkdir(parents=True)
    hits = Hits(directory / "hits")
    left = random.sample(["kill"] * kills + ["cut"] * cuts, kills + cuts)
    while left and report.ok:
        folder = directory / f"store-{report.stores + 1}"
        folder.mkdir()
        report.stores += 1
        count = random.randint(ROUNDS_PER_STORE // 3, ROUNDS_PER_STORE * 5 // 3)
        part, left = left[:count], left[count:]
        _Life(folder, directory / "hits", hits, random, report, broken).run(part)
        if report.ok:
            shutil.rmtree(folder)
        say(f"{directory.name}: store {report.stores} done, {len(left)} rounds left")
    report.visits = Counter({step: hits.visits(step) for step in CAMPAIGN_STEPS})
    return report


class _Life:
    """One store, from its making to the last look."""

    def __init__(
        self, folder: Path, hits_path: Path, hits: Hits, random: Random, report: Report, broken: str | None
    ) -> None:
        self._broken = broken
        self._folder = folder
        self._hits_path = hits_path
        self._hits = hits
        self._random = random
        self._report = report
        self._rebooted = False
        self._mirrored = random.random() < MIRRORED_SHARE
        self._full = random.random() < FULL_SHARE

    def run(self, ends: list[str]) -> None:
        while ends:
            end = ends.pop()
            done = self._round(end, self._next_step(end))
            if not self._report.ok:
                return
            if not done:
                ends.append(end)
        self._round("last", None)
        model = Model.load(self._folder / "model")
        self._report.operations += model.done
        self._report.operations.update({f"(events given up: {reason})": n for reason, n in model.given_up.items()})
        self._report.peak_bytes = max(self._report.peak_bytes, model.peak_bytes)

    def _next_step(self, end: str) -> str | None:
        """Which step is aimed at: each in its turn, those that were missed once more."""
        if self._random.random() >= (AIMED_CUTS if end == "cut" else AIMED_KILLS):
            return None
        if end == "cut":
            return self._random.choice(TEARING_STEPS)
        if not self._report.turns:
            self._report.turns = self._random.sample(CAMPAIGN_STEPS, len(CAMPAIGN_STEPS))
        return self._report.turns.pop()

    def _spec(self, aim: tuple[str, int] | None, *, last: bool) -> Spec:
        random = self._random
        return Spec(
            self._folder, self._hits_path, random.randrange(1 << 32), aim, random.random() < 0.4,
            self._rebooted, self._mirrored, self._full, last, self._broken,
        )  # fmt: skip

    def _round(self, end: str, step: str | None) -> bool:
        """One process, and its end. False: nothing was torn, so that this was no power cut worth the name."""
        report, aim = self._report, None
        if step is not None:
            # Each step comes as often as it does in these rounds, so that any of its visits is hit.
            usual = self._hits.visits(step) // max(1, report.verifications)
            aim = (step, self._random.randint(1, max(1, min(usual, MOST_VISITS))))
        spec = self._spec(aim, last=end == "last")
        before = None if step is None else self._hits.kills(step)
        code = self._run(spec, at_random=aim is None and end != "last")
        self._rebooted = False
        if code is not None and (end != "last" or code != DONE):
            told = self._folder / ("problems" if (self._folder / "problems").exists() else "stuck")
            report.problems.append(f"{self._folder.name}, {spec}, exit {code}: {told.read_text(encoding='utf-8')}")
        if code is not None:
            return True
        hit = step is not None and self._hits.kills(step) != before
        if step is not None and not hit:
            report.missed[step] += 1
            if end == "kill":
                report.turns.insert(0, step)
        at = step if hit and step is not None else AT_RANDOM
        if end == "cut":
            return self._cut_power(at)
        report.killed_at[at] += 1
        return True

    def _cut_power(self, at: str) -> bool:
        """Lose what was not synced. False where everything was."""
        names = ("store", "hub")[: 1 + self._mirrored]
        lost = sum(Synced(self._folder / name).tear(self._random) for name in names)
        self._rebooted = True
        if not lost:
            self._report.untorn += 1
            return False
        self._report.torn_bytes += lost
        self._report.cut_at[at] += 1
        return True

    def _run(self, spec: Spec, *, at_random: bool) -> int | None:
        """Fork, and kill: at some moment, or where the process did not come to the step in time. None: it was killed."""
        readable, writable = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(readable)
            os._exit(run(spec, lambda: _tell(writable)))
        os.close(writable)
        try:
            if at_random and self._random.random() < OPENING_SHARE:
                return _kill(child, self._random.uniform(0.0, OPENING_S))
            if select.select([readable], [], [], ROUND_WITHIN_S)[0] and os.read(readable, 1):
                self._report.verifications += 1
            if spec.last:
                return _kill(child, ROUND_WITHIN_S)
            return _kill(child, self._random.uniform(0.0, RANDOM_WITHIN_S) if at_random else AIMED_WITHIN_S)
        finally:
            os.close(readable)


def _tell(writable: int) -> None:
    os.write(writable, b"v")


def _kill(child: int, after_s: float) -> int | None:
    """Kill a process that has not ended by then. Its exit code, None where it was killed, by itself or here."""
    end_s = time.monotonic() + after_s
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end_s:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None if after_s < ROUND_WITHIN_S else BROKE
        time.sleep(0.002)
