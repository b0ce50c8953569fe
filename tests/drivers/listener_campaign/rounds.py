"""The run: lives of a gateway and its devices, in each of them rounds of kills, in the end a comparison."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from edge.errors import EdgeError
from storage import SegmentStore
from storage.errors import StorageError
from tests.drivers.listener_campaign.cast import CAME_WITHIN_S, Cast
from tests.drivers.listener_campaign.habits import HABITS, topic
from tests.drivers.listener_campaign.judging import judge_device, session_problems
from tests.drivers.subscriber_campaign.judging import Verdict

ROUNDS_PER_LIFE = 25
DEVICE_SHARE = 0.5
"""Rounds in which a device is killed besides."""
RANDOM_WITHIN_S = 1.0
MOST_ANSWERS = 25
"""The n-th answer that a kill may wait for."""
ANSWERED_AT_FIRST = 3
AT_RANDOM = "a random moment"
RANDOM_PER_DECK = 4

PLACES = {
    "before the commit": (
        "listener.received", "source.polled", "source.submitted", "commit.building", "commit.writing", "commit.written",
    ),
    "after the commit, before the answer": ("commit.synced", "source.durable", "source.acked", "listener.acknowledging"),
    "after the answer": ("listener.acknowledged", "puback", "pubrec", "pubcomp"),
    "after the answer, the device too": ("puback+", "pubrec+", "pubcomp+"),
    "while it comes back": ("store.loaded", "store.opened"),
    "anywhere": (AT_RANDOM,),
}  # fmt: skip
"""Steps of the code, and answers that came to a device, where the gateway is killed."""
AIMED = tuple(site for sites in PLACES.values() for site in sites if site != AT_RANDOM)


@dataclass
class Report:
    """What a run did, and what came of it. `problems` is empty where every promise was kept."""

    seed: int
    killed_at: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    device_kills: int = 0
    checks: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    verdicts: dict[str, list[Verdict]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    duration_s: float = 0.0

    @property
    def never_hit(self) -> list[str]:
        return [site for site in AIMED if not self.killed_at[site]]

    @property
    def ok(self) -> bool:
        clean = all(verdict.clean for verdicts in self.verdicts.values() for verdict in verdicts)
        return not self.problems and bool(self.verdicts) and clean

    def text(self) -> str:
        """Tables and sentences for a person."""
        lines = [
            f"seed {self.seed}: {self.killed_at.total()} kills of the gateway, {self.device_kills} of devices, "
            f"in {self.lives} lives; {self.duration_s:.0f} s",
            "",
            f"{'GATEWAY KILLED':40}{'AT':20}{'KILLS':>6}",
        ]
        for place, sites in PLACES.items():
            lines += [f"{place:40}{site:20}{self.killed_at[site]:6}" for site in sites]
        if self.missed:
            lines += [f"not reached in time, and killed anywhere: {dict(self.missed)}"]
        lines += [f"{self.checks} checks of the store", ""]
        lines += [f"{count:9} {what}" for what, count in self.counts.items()]
        heads = ("SENT", "ANSWERED", "STORED", "LOST", "DUPLICATE", "OUT OF ORDER")
        lines += ["", f"{'DEVICE':14}" + "".join(f"{head:>{len(head) + 4}}" for head in heads)]
        for name, verdicts in self.verdicts.items():
            sums = [
                sum(v.came for v in verdicts), sum(v.owed for v in verdicts), sum(v.stored for v in verdicts),
                sum(v.lost for v in verdicts), sum(v.duplicate for v in verdicts), sum(v.out_of_order for v in verdicts),
            ]  # fmt: skip
            row = "".join(f"{value:{len(head) + 4}}" for head, value in zip(heads, sums, strict=True))
            lines.append(f"{name:14}{row}")
            lines += [f"PROBLEM {name}: {verdict.example}" for verdict in verdicts if not verdict.clean]
        lines += [f"PROBLEM {problem}" for problem in self.problems]
        lines += ["ok" if self.ok else "FAILED"]
        return "\n".join(lines)


def run_campaign(
    kills: int, seed: int, directory: Path, *, sites: Sequence[str] = (), per_life: int = ROUNDS_PER_LIFE,
    command: Callable[[Path], Sequence[str]] | None = None, say: Callable[[str], None] = lambda text: None,
) -> Report:  # fmt: skip
    """Run in `directory`, where the folder of a life that failed is kept.

    `sites`: where to kill first in each life, in this order; then, and otherwise, it is a shuffled deck of all.
    `command` starts another gateway than ours.
    """
    report = Report(seed)
    random = Random(seed)
    deck = list(reversed(sites))
    began_s = time.monotonic()
    left = kills
    while left and (report.ok or not report.lives):
        folder = directory / f"life-{report.lives + 1}"
        count = min(left, per_life)
        left -= count
        cast = Cast(folder, random, command)
        try:
            _Life(cast, report, random, deck, say).run(count)
        except EdgeError as error:
            report.problems.append(f"{folder.name}: {error}")
        finally:
            report.device_kills += sum(device.kills for device in cast.devices)
            cast.close()
        report.lives += 1
        if report.ok:
            shutil.rmtree(folder)
    report.duration_s = time.monotonic() - began_s
    return report


class _Life:
    """One gateway and its devices, from nothing to the comparison."""

    def __init__(self, cast: Cast, report: Report, random: Random, deck: list[str], say: Callable[[str], None]) -> None:
        self._cast = cast
        self._report = report
        self._random = random
        self._deck = deck
        self._say = say

    def run(self, rounds: int) -> None:
        self._cast.start()
        self._cast.wait_for_traffic(ANSWERED_AT_FIRST)
        for number in range(rounds):
            if self._random.random() < DEVICE_SHARE:
                device = self._random.choice(self._cast.devices)
                device.kill()
                device.start()
            where = self._kill_gateway()
            self._say(f"life {self._report.lives + 1}, round {number + 1}: {where}")
            self._check(where)
            self._cast.node.start()
            self._cast.node.ready(CAME_WITHIN_S)
            died = [device.name for device in self._cast.devices if not device.alive]
            if died:
                raise EdgeError(f"round {number + 1}: {', '.join(died)} ended: see what they said")
        self._compare()

    def _kill_gateway(self) -> str:
        if not self._deck:
            self._deck += [*AIMED, *[AT_RANDOM] * RANDOM_PER_DECK]
            self._random.shuffle(self._deck)
        site = self._deck.pop()
        if site == AT_RANDOM:
            self._cast.target.kill_at_random(RANDOM_WITHIN_S)
            hit = True
        elif site.startswith("pub"):
            nth = self._random.randint(1, MOST_ANSWERS)
            hit = self._cast.kill_at_answer(site.rstrip("+"), nth, also=site.endswith("+"))
        else:
            _, hit = self._cast.target.kill_at(site, lambda: None)
        self._report.killed_at[site if hit else AT_RANDOM] += 1
        if not hit:
            self._report.missed[site] += 1
        return site if hit else f"{AT_RANDOM}, as {site} was not reached in time"

    def _check(self, when: str) -> None:
        self._report.checks += 1
        try:
            found = SegmentStore.check_directory(self._cast.node.store)
        except StorageError as error:
            self._report.problems.append(f"{when}: the store can't be checked: {error}")
            return
        self._report.problems += [
            f"{when}: {finding.where}: {finding.what}" for finding in found.findings if finding.severity == "error"
        ]

    def _compare(self) -> None:
        cast, report = self._cast, self._report
        report.problems += cast.drain()
        (source,) = cast.node.client.status().sources
        code = cast.node.stop()
        if code != 0:
            report.problems.append(f"the gateway ended with {code} on SIGTERM: {cast.node.log_end()}")
        self._check("at the end")
        held = cast.stored()
        for device in cast.devices:
            journal, name = device.journal(), device.name
            stored = held.pop(topic(name), [])
            verdict = judge_device(name, journal, stored)
            report.verdicts.setdefault(name, []).append(verdict)
            report.problems += session_problems(name, journal)
            report.counts["connections"] += sum(journal.connections.values())
            if HABITS[name].clean:
                report.counts["repeated without a session, and stored again"] += len(stored) - len(set(stored))
        report.problems += [f"events of topic {each}, which nobody sent" for each in held]
        report.counts["recognised by the last gateways of the lives as sent again"] += source.duplicates
