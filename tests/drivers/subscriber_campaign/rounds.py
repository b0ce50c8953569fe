"""The run: lives of a gateway and its broker, in each of them rounds of kills, in the end a comparison.

In every second life the broker is killed too. In the others it keeps what it promises, so that more can be asked: every
message that a publisher has its answer for came, and none came again that was proved.
"""

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
from tests.drivers.subscriber_campaign.cast import CAME_WITHIN_S, LAST_TOPIC, PROTOCOLS, TOPICS, Cast
from tests.drivers.subscriber_campaign.judging import Verdict, judge
from tests.drivers.subscriber_campaign.publisher import EQUAL_TOPIC
from tests.oracle.steps import STEPS_OF

ROUNDS_PER_LIFE = 25
BROKER_SHARE, PUBLISHER_SHARE = 0.5, 0.35
"""Rounds in which that one is killed besides; the broker in every second life."""
RANDOM_WITHIN_S = 1.0
DRAINED_WITHIN_S = 90.0
MANY_PACKETS = 25
"""The n-th packet that a kill may wait for, where there are always more."""
MOST_PACKETS = {"session.resumed": 2, "resent.arrived": 3}
AT_RANDOM = "a random moment"
RANDOM_PER_DECK = 5

PLACES = {
    "before the commit": (
        "source.polled", "source.submitted", "commit.building", "commit.writing", "commit.written",
    ),
    "after the commit, before PUBACK": ("commit.synced", "source.durable"),
    "after PUBACK, before its proof": ("source.acked", "puback.withheld", "puback.arrived"),
    "after the proof, before it is on disk": ("proof.arrived",),
    "while the session is resumed": ("store.loaded", "store.opened", "session.resumed", "resent.arrived"),
    "anywhere": (AT_RANDOM,),
}  # fmt: skip
"""Steps of the code, and packets, where the gateway is killed."""
AFTER_A_START = ("session.resumed", "resent.arrived")
AIMED = tuple(site for sites in PLACES.values() for site in sites if site != AT_RANDOM)
STEPS = STEPS_OF["subscriber"]


@dataclass
class Report:
    """What a run did, and what came of it. `problems` is empty where every promise was kept."""

    seed: int
    killed_at: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    broker_kills: int = 0
    publisher_kills: int = 0
    checks: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    verdicts: dict[tuple[str, str], list[Verdict]] = field(default_factory=dict)
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
            f"seed {self.seed}: {self.killed_at.total()} kills of the gateway, {self.broker_kills} of mosquitto, "
            f"{self.publisher_kills} of publishers, in {self.lives} lives; {self.duration_s:.0f} s",
            "",
            f"{'GATEWAY KILLED':40}{'AT':20}{'KILLS':>6}",
        ]
        for place, sites in PLACES.items():
            lines += [f"{place:40}{site:20}{self.killed_at[site]:6}" for site in sites]
        if self.missed:
            lines += [f"not reached in time, and killed anywhere: {dict(self.missed)}"]
        lines += [f"{self.checks} checks of the store", ""]
        lines += [f"{count:9} {what}" for what, count in self.counts.items()]
        heads = ("CAME", "OWED", "STORED", "LOST", "DUPLICATE", "OUT OF ORDER")
        lines += ["", f"{'SOURCE':8}{'TOPIC':14}" + "".join(f"{head:>{len(head) + 4}}" for head in heads)]
        for (source, topic), verdicts in self.verdicts.items():
            sums = [
                sum(v.came for v in verdicts), sum(v.owed for v in verdicts), sum(v.stored for v in verdicts),
                sum(v.lost for v in verdicts), sum(v.duplicate for v in verdicts), sum(v.out_of_order for v in verdicts),
            ]  # fmt: skip
            row = "".join(f"{value:{len(head) + 4}}" for head, value in zip(heads, sums, strict=True))
            lines.append(f"{PROTOCOLS[source]:8}{topic:14}{row}")
            lines += [f"PROBLEM {source} {topic}: {verdict.example}" for verdict in verdicts if not verdict.clean]
        lines += [f"PROBLEM {problem}" for problem in self.problems]
        lines += ["ok" if self.ok else "FAILED"]
        return "\n".join(lines)


def run_campaign(
    kills: int, seed: int, directory: Path, *, sites: Sequence[str] = (), per_life: int = ROUNDS_PER_LIFE,
    command: Callable[[Path], Sequence[str]] | None = None, say: Callable[[str], None] = lambda text: None,
) -> Report:  # fmt: skip
    """Run in `directory`, where the folder of a life that failed is kept. Raises ServerMissingError without a mosquitto.

    `sites`: where to kill first in each life, in this order; then, and otherwise, it is a shuffled deck of all.
    `command` starts another gateway than ours.
    """
    report = Report(seed)
    random = Random(seed)
    began_s = time.monotonic()
    left = kills
    while left and (report.ok or not report.lives):
        folder = directory / f"life-{report.lives + 1}"
        count = min(left, per_life)
        left -= count
        cast = Cast(folder, random, command)
        try:
            _Life(cast, report, random, list(sites), say).run(count, kills_broker=report.lives % 2 == 1)
        except EdgeError as error:
            report.problems.append(f"{folder.name}: {error}")
        finally:
            cast.close()
        report.lives += 1
        if report.ok:
            shutil.rmtree(folder)
    report.duration_s = time.monotonic() - began_s
    return report


class _Life:
    """One gateway and one broker, from nothing to the comparison."""

    def __init__(self, cast: Cast, report: Report, random: Random, deck: list[str], say: Callable[[str], None]) -> None:
        self._cast = cast
        self._report = report
        self._random = random
        self._deck = list(reversed(deck))
        self._say = say

    def run(self, rounds: int, *, kills_broker: bool) -> None:
        self._cast.start()
        for number in range(rounds):
            if kills_broker and self._random.random() < BROKER_SHARE:
                self._kill_broker()
            if self._random.random() < PUBLISHER_SHARE:
                self._kill_publisher()
            where = self._kill_gateway()
            self._say(f"life {self._report.lives + 1}, round {number + 1}: {where}")
            self._check(where)
            self._cast.node.start()
            self._cast.node.ready(CAME_WITHIN_S)
        self._compare(kills_broker=kills_broker)

    def _kill_gateway(self) -> str:
        if not self._deck:
            self._deck = [*AIMED, *[AT_RANDOM] * RANDOM_PER_DECK]
            self._random.shuffle(self._deck)
        site = self._deck.pop()
        if site == AT_RANDOM:
            self._cast.target.kill_at_random(RANDOM_WITHIN_S)
            hit = True
        elif site in STEPS:
            _, hit = self._cast.target.kill_at(site, lambda: None)
        else:
            nth = self._random.randint(1, MOST_PACKETS.get(site, MANY_PACKETS))
            hit = self._cast.kill_at_packet(site, nth, starting=site in AFTER_A_START)
        self._report.killed_at[site if hit else AT_RANDOM] += 1
        if not hit:
            self._report.missed[site] += 1
        return site if hit else f"{AT_RANDOM}, as {site} was not reached in time"

    def _kill_broker(self) -> None:
        """While the gateway runs, or while it is down too."""
        self._report.broker_kills += 1
        time.sleep(self._random.uniform(0.0, RANDOM_WITHIN_S))
        if self._random.random() < 0.5:
            self._cast.node.kill()
            self._cast.restart_broker()
            self._cast.node.start()
            self._cast.node.ready(CAME_WITHIN_S)
        else:
            self._cast.restart_broker()

    def _kill_publisher(self) -> None:
        self._report.publisher_kills += 1
        publisher = self._random.choice(self._cast.publishers)
        publisher.kill()
        publisher.start()

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

    def _compare(self, *, kills_broker: bool) -> None:
        cast, report = self._cast, self._report
        missing = cast.drain(DRAINED_WITHIN_S)
        if missing is not None:
            report.problems.append(f"not drained: {missing}")
        code = cast.node.stop()
        if code != 0:
            report.problems.append(f"the gateway ended with {code} on SIGTERM: {cast.node.log_end()}")
        self._check("at the end")
        report.problems += cast.wire.book.strange[:10]
        for source in PROTOCOLS:
            held = cast.stored(source)
            by_topic = {topic: [m for m in cast.session(source).messages if m.topic == topic] for topic in TOPICS}
            for topic, messages in by_topic.items():
                verdict = judge(messages, held.pop(topic, []))
                report.verdicts.setdefault((source, topic), []).append(verdict)
            report.problems += [f"{source}: events of topic {topic}, which nobody sent" for topic in held]
            self._count(source, broker_was_killed=kills_broker)

    def _count(self, source: str, *, broker_was_killed: bool) -> None:
        session, counts, problems = self._cast.session(source), self._report.counts, self._report.problems
        seen = session.counts
        came = Counter((m.topic, m.payload) for m in session.messages if m.topic != LAST_TOPIC)
        answered = Counter(item for publisher in self._cast.publishers for item in publisher.answered())
        never_came = answered - came
        open_still = [m for m in session.messages if not m.acknowledged and m.topic != LAST_TOPIC]
        counts["sent again by the broker (DUP)"] += seen.redelivered
        counts["of these, after our PUBACK had left"] += seen.after_puback
        counts["repeated as messages of their own, by publishers or a broker that were killed"] += sum(
            count - 1 for (topic, _), count in came.items() if topic != EQUAL_TOPIC
        )
        counts["answered by the broker to publishers"] += answered.total()
        counts["answered by a killed broker to publishers, and forgotten before it came"] += never_came.total()
        counts["sent to us, and forgotten by a killed broker before our PUBACK"] += len(open_still)
        counts["sent again by a killed broker that had proved it has our PUBACK: stored or not"] += seen.forgotten
        counts["on a reused packet id, equal, and sent again: stored or not"] += seen.ambiguous
        counts["sessions, the first ones and those that a killed broker forgot"] += seen.new_sessions
        if broker_was_killed:
            return
        if never_came:
            problems.append(f"{source}: answered to publishers and never came: {never_came.most_common(3)}")
        if open_still:
            problems.append(f"{source}: {len(open_still)} messages came and were never answered: {open_still[0]}")
        if seen.forgotten or seen.ambiguous:
            problems.append(f"{source}: a broker that was not killed forgot: {seen}")
