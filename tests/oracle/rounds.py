"""N rounds: in each a node is killed, its store checked while it is down, and it comes back.

Two rounds of three are the gateway's, which has more steps, the third is the hub's. Two kills of three of each are aimed
at a named step, each in its turn; the third comes at a random moment. Now and then the store of the other is checked,
while it runs. All the while the sources send and the link flaps. In the end everything drains, and the hub is compared
with what the sources were told.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from edge.demo.scene import Rates
from edge.demo.verdict import Verdict
from edge.errors import EdgeError
from storage.errors import StorageError
from storage.store import SegmentStore
from tests.oracle.aim import Target, node_command
from tests.oracle.flapping import Flapping
from tests.oracle.scene import SceneWithBroker
from tests.oracle.steps import STEPS_OF
from tests.servers.mosquitto import Mosquitto

RATES = Rates(serial_per_s=50.0, mqtt_per_s=75.0, writer_per_s=30.0)
DRAINED_WITHIN_S = 90.0
RANDOM_KILL_WITHIN_S = 1.0
RUNNING_CHECK_EVERY = 4
"""Rounds. Checks look at all that is stored, more each time."""


@dataclass
class Report:
    """What a run did, and what came of it. `problems` is empty where every promise was kept."""

    rounds: int
    seed: int
    kills: dict[tuple[str, str], int] = field(default_factory=dict)
    visits: dict[tuple[str, str], int] = field(default_factory=dict)
    random_kills: int = 0
    missed: list[str] = field(default_factory=list)
    checks: int = 0
    flaps: dict[str, int] = field(default_factory=dict)
    redelivered: int = 0
    repeated: int = 0
    device_repeated: int = 0
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    duration_s: float = 0.0

    @property
    def never_hit(self) -> list[str]:
        """Steps at which no process was killed."""
        return [f"{node}: {step}" for (node, step), kills in self.kills.items() if not kills]

    @property
    def ok(self) -> bool:
        return not self.problems and bool(self.verdicts) and all(verdict.clean for verdict in self.verdicts.values())

    def text(self) -> str:
        """Tables and sentences for a person."""
        lines = [f"{self.rounds} rounds, seed {self.seed}, {self.duration_s:.0f} s", ""]
        lines += [f"{'KILLED AT':32}{'KILLS':>6}{'VISITS':>9}"]
        for (node, step), kills in self.kills.items():
            lines.append(f"{node + ' ' + step:32}{kills:6}{self.visits[node, step]:9}")
        lines += [f"{'a random moment':32}{self.random_kills:6}", ""]
        lines += [f"not reached in time: {', '.join(self.missed)}"] if self.missed else []
        flaps = ", ".join(f"{name} {count}" for name, count in self.flaps.items() if count)
        lines += [
            f"link: {flaps}; {self.redelivered} MQTT redeliveries, {self.device_repeated} messages repeated by devices, "
            f"{self.repeated} events by the writer",
            f"{self.checks} checks of a store",
            "",
            f"{'SOURCE':10}{'ACKNOWLEDGED':>14}{'UPSTREAM':>10}{'LOST':>7}{'(FIRST':>8}{'MIDDLE':>8}{'LAST)':>7}"
            f"{'DUPLICATE':>11}{'OUT OF ORDER':>14}{'STRANGE':>9}",
        ]
        for name, v in self.verdicts.items():
            lines.append(
                f"{name:10}{v.acknowledged:14}{v.upstream:10}{v.lost:7}{v.lost_prefix:8}{v.lost_middle:8}"
                f"{v.lost_suffix:7}{v.duplicate:11}{v.out_of_order:14}{v.strange:9}"
            )
        lines += ["", *(f"PROBLEM {problem}" for problem in self.problems)]
        lines += [f"PROBLEM {name}: {text}" for name, v in self.verdicts.items() for text in v.examples]
        lines += ["ok" if self.ok else "FAILED"]
        return "\n".join(lines)


def run_rounds(rounds: int, seed: int, directory: Path, *, say: Callable[[str], None] | None = None) -> Report:
    """Run in `directory`, which keeps stores and logs. Raises ServerMissingError where there is no mosquitto."""
    report = Report(rounds, seed)
    began_s = time.monotonic()
    with Mosquitto(directory / "broker") as broker:
        scene = SceneWithBroker(
            directory,
            broker.port,
            rates=RATES,
            command=node_command(directory / "gateway"),
            hub_command=node_command(directory / "hub"),
        )
        try:
            _Run(scene, report, Random(seed), say or (lambda text: None)).run()
        except EdgeError as error:
            report.problems.append(str(error))
        finally:
            scene.close()
    report.duration_s = time.monotonic() - began_s
    return report


class _Run:
    def __init__(self, scene: SceneWithBroker, report: Report, random: Random, say: Callable[[str], None]) -> None:
        self._scene = scene
        self._report = report
        self._random = random
        self._say = say
        self._targets = [
            Target("gateway", scene.gateway, Random(random.random())),
            Target("hub", scene.hub, Random(random.random())),
        ]
        self._turns = Counter[str]()
        self._flapping = Flapping(scene.link, scene.broker_link, Random(random.random()))

    def run(self) -> None:
        scene = self._scene
        for target in self._targets:
            target.node.start()
        for target in self._targets:
            target.node.ready()
        scene.start_feeds()
        self._flapping.start()
        try:
            for number in range(self._report.rounds):
                self._round(number)
        finally:
            self._flapping.stop()
        self._compare()
        self._check_stopped()
        self._count()

    def _round(self, number: int) -> None:
        gateway, hub = self._targets
        target, other = (hub, gateway) if number % 3 == 2 else (gateway, hub)
        at_random = self._turns[target.name] % 3 == 2
        self._turns[target.name] += 1
        done = target.kill_at_random(RANDOM_KILL_WITHIN_S) if at_random else target.kill_at_next_step(self._nudge)
        self._say(f"round {number + 1}: {done}")
        self._check_directory(f"round {number + 1}, {done}", target)
        target.node.start()
        target.node.ready()
        if number % RUNNING_CHECK_EVERY == 0:
            self._check_running(f"round {number + 1}, {done}", other)
        if not other.node.alive:
            raise EdgeError(f"round {number + 1}: {other.name} ended by itself: {other.node.log_end()}")

    def _nudge(self) -> None:
        """A pause after failures may be longer than a round: have the uplink try now."""
        with contextlib.suppress(EdgeError):
            self._scene.gateway.client.command_uplink("hub", "now")

    def _check_directory(self, when: str, target: Target) -> None:
        self._report.checks += 1
        try:
            found = SegmentStore.check_directory(target.node.store)
        except StorageError as error:
            self._report.problems.append(f"{when}: the store of the {target.name} can't be checked: {error}")
            return
        self._report.problems += [
            f"{when}: check of the {target.name}: {finding.where}: {finding.what}"
            for finding in found.findings
            if finding.severity == "error"
        ]

    def _check_running(self, when: str, target: Target) -> None:
        self._report.checks += 1
        try:
            found = target.node.client.check()
        except EdgeError as error:
            self._report.problems.append(f"{when}: the running {target.name} can't be checked: {error}")
            return
        self._report.problems += [
            f"{when}: check of the running {target.name}: {where}: {what}"
            for severity, where, what in found.findings
            if severity == "error"
        ]

    def _compare(self) -> None:
        scene, report = self._scene, self._report
        scene.stop_feeds()
        missing = scene.wait_until_drained(DRAINED_WITHIN_S)
        if missing is not None:
            report.problems.append(f"not drained after {DRAINED_WITHIN_S:.0f} s: {missing}")
        report.problems += scene.failures()
        for track in scene.tracks:
            report.verdicts[track.name] = scene.verdict(track)
        report.problems += scene.differences()
        report.redelivered = scene.tap.redelivered
        report.repeated = scene.writer.repeated
        report.device_repeated = sum(device.repeated for device in scene.devices)

    def _check_stopped(self) -> None:
        for target in self._targets:
            code = target.node.stop()
            if code != 0:
                self._report.problems.append(f"{target.name} ended with {code} on SIGTERM: {target.node.log_end()}")
            self._check_directory("at the end", target)

    def _count(self) -> None:
        report = self._report
        for target in self._targets:
            hits = target.hits()
            for step in STEPS_OF[target.name]:
                report.kills[target.name, step] = hits.kills(step)
                report.visits[target.name, step] = hits.visits(step)
            report.random_kills += target.random_kills + len(target.missed)
            report.missed += [f"{target.name} {where}" for where in target.missed]
        report.flaps = {str(getattr(mode, "value", mode)): count for mode, count in self._flapping.counts.items()}
