"""The run: lives of a gateway and its devices, in each of them rounds of kills, in the end a comparison."""

from __future__ import annotations

from edge.errors import EdgeError
from tests.drivers.listener_campaign.cast import Cast
from tests.drivers.listener_campaign.habits import HABITS, topic
from tests.drivers.listener_campaign.judging import judge_device, session_problems
from tests.drivers.lives import AT_RANDOM, Campaign, Life

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


class _Life:
    """One gateway and its devices, from nothing to the comparison."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._cast = Cast(life.folder, life.random, life.command)
        self._report = life.report
        self._random = life.random

    def run(self) -> None:
        try:
            self._run()
        finally:
            self._report.others_killed["devices"] += sum(device.kills for device in self._cast.devices)
            self._cast.close()

    def _run(self) -> None:
        self._cast.start()
        self._cast.wait_for_traffic(ANSWERED_AT_FIRST)
        for number in range(self._life.kills):
            if self._random.random() < DEVICE_SHARE:
                device = self._random.choice(self._cast.devices)
                device.kill()
                device.start()
            self._life.come_back(self._cast.node, number, self._kill_gateway())
            died = [device.name for device in self._cast.devices if not device.alive]
            if died:
                raise EdgeError(f"round {number + 1}: {', '.join(died)} ended: see what they said")
        self._compare()

    def _kill_gateway(self) -> str:
        site = self._life.deck.draw()
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
        self._life.end(cast.node)
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


run_campaign = Campaign(PLACES, RANDOM_PER_DECK, lambda life: _Life(life).run())
