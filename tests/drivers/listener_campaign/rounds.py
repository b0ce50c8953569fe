"""The run: lives of a gateway and its devices, in each of them rounds of kills, in the end a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from edge.errors import EdgeError
from tests.drivers.listener_campaign.cast import CAME_WITHIN_S, Cast
from tests.drivers.listener_campaign.habits import HABITS, topic
from tests.drivers.listener_campaign.judging import judge_device, session_problems
from tests.drivers.lives import AT_RANDOM, Deck, Report, run_lives

ROUNDS_PER_LIFE = 25
DEVICE_SHARE = 0.5
"""Rounds in which a device is killed besides."""
RANDOM_WITHIN_S = 1.0
MOST_ANSWERS = 25
"""The n-th answer that a kill may wait for."""
ANSWERED_AT_FIRST = 3
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


def run_campaign(
    kills: int, seed: int, directory: Path, *, sites: Sequence[str] = (), per_life: int = ROUNDS_PER_LIFE,
    command: Callable[[Path], Sequence[str]] | None = None, say: Callable[[str], None] = lambda text: None,
) -> Report:  # fmt: skip
    """Run in `directory`, where the folder of a life that failed is kept.

    `sites`: where to kill first, in this order; then, and otherwise, it is a shuffled deck of all.
    `command` starts another gateway than ours.
    """
    report = Report(seed, PLACES)
    random = Random(seed)
    deck = Deck(PLACES, random, sites, at_random=RANDOM_PER_DECK)

    def live(folder: Path, count: int) -> None:
        cast = Cast(folder, random, command)
        try:
            _Life(cast, report, random, deck, say).run(count)
        finally:
            report.others_killed["devices"] += sum(device.kills for device in cast.devices)
            cast.close()

    return run_lives(report, kills, per_life, directory, live)


class _Life:
    """One gateway and its devices, from nothing to the comparison."""

    def __init__(self, cast: Cast, report: Report, random: Random, deck: Deck, say: Callable[[str], None]) -> None:
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
            self._report.check(self._cast.node.store, where)
            self._cast.node.start()
            self._cast.node.ready(CAME_WITHIN_S)
            died = [device.name for device in self._cast.devices if not device.alive]
            if died:
                raise EdgeError(f"round {number + 1}: {', '.join(died)} ended: see what they said")
        self._compare()

    def _kill_gateway(self) -> str:
        site = self._deck.draw()
        if site == AT_RANDOM:
            self._cast.target.kill_at_random(RANDOM_WITHIN_S)
            hit = True
        elif site.startswith("pub"):
            nth = self._random.randint(1, MOST_ANSWERS)
            hit = self._cast.kill_at_answer(site.rstrip("+"), nth, also=site.endswith("+"))
        else:
            _, hit = self._cast.target.kill_at(site, lambda: None)
        return self._report.killed(site, hit=hit)

    def _compare(self) -> None:
        cast, report = self._cast, self._report
        report.problems += cast.drain()
        (source,) = cast.node.client.status().sources
        code = cast.node.stop()
        if code != 0:
            report.problems.append(f"the gateway ended with {code} on SIGTERM: {cast.node.log_end()}")
        report.check(cast.node.store, "at the end")
        held = cast.stored()
        for device in cast.devices:
            journal, name = device.journal(), device.name
            stored = held.pop(topic(name), [])
            verdict = judge_device(name, journal, stored)
            report.judged(name, verdict)
            report.problems += session_problems(name, journal)
            report.counts["connections"] += sum(journal.connections.values())
            report.counts["sent again by devices: PUBLISHes with DUP, and PUBRELs"] += journal.again
            if HABITS[name].clean:
                report.counts["repeated without a session, and stored again"] += len(stored) - len(set(stored))
        report.problems += [f"events of topic {each}, which nobody sent" for each in held]
        report.counts["recognised by the last gateways of the lives as sent again"] += source.duplicates
