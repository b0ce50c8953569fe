"""The run: lives of a gateway and its broker, in each of them rounds of kills, in the end a comparison.

In every second life the broker is killed too. In the others it keeps what it promises, so that more can be asked: every
message that a publisher has its answer for came, and none came again that was proved.
"""

from __future__ import annotations

import time
from collections import Counter

from tests.drivers.judging import judge
from tests.drivers.lives import AT_RANDOM, CAME_WITHIN_S, Campaign, Life
from tests.drivers.subscriber_campaign.cast import LAST_TOPIC, PROTOCOLS, TOPICS, Cast
from tests.drivers.subscriber_campaign.publisher import EQUAL_TOPIC
from tests.oracle.steps import STEPS_OF

BROKER_SHARE, PUBLISHER_SHARE = 0.5, 0.35
"""Rounds in which that one is killed besides; the broker in every second life."""
RANDOM_WITHIN_S = 1.0
DRAINED_WITHIN_S = 90.0
MANY_PACKETS = 25
"""The n-th packet that a kill may wait for, where there are always more."""
MOST_PACKETS = {"session.resumed": 2, "resent.arrived": 3}
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
STEPS = STEPS_OF["subscriber"]


class _Life:
    """One gateway and one broker, from nothing to the comparison. Raises ServerMissingError without a mosquitto."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._cast = Cast(life.folder, life.random, life.command)
        self._report = life.report
        self._random = life.random
        self._kills_broker = life.report.lives % 2 == 1

    def run(self) -> None:
        try:
            self._run()
        finally:
            self._cast.close()

    def _run(self) -> None:
        self._cast.start()
        for number in range(self._life.kills):
            if self._kills_broker and self._random.random() < BROKER_SHARE:
                self._kill_broker()
            if self._random.random() < PUBLISHER_SHARE:
                self._kill_publisher()
            self._life.come_back(self._cast.node, number, self._kill_gateway())
        self._compare()

    def _kill_gateway(self) -> str:
        site = self._life.deck.draw()
        if site == AT_RANDOM:
            self._cast.target.kill_at_random(RANDOM_WITHIN_S)
            hit = True
        elif site in STEPS:
            _, hit = self._cast.target.kill_at(site, lambda: None)
        else:
            nth = self._random.randint(1, MOST_PACKETS.get(site, MANY_PACKETS))
            hit = self._cast.kill_at_packet(site, nth, starting=site in AFTER_A_START)
        return self._report.killed(site, hit=hit)

    def _kill_broker(self) -> None:
        """While the gateway runs, or while it is down too."""
        self._report.others_killed["mosquitto"] += 1
        time.sleep(self._random.uniform(0.0, RANDOM_WITHIN_S))
        if self._random.random() < 0.5:
            self._cast.node.kill()
            self._cast.restart_broker()
            self._cast.node.start()
            self._cast.node.ready(CAME_WITHIN_S)
        else:
            self._cast.restart_broker()

    def _kill_publisher(self) -> None:
        self._report.others_killed["publishers"] += 1
        publisher = self._random.choice(self._cast.publishers)
        publisher.kill()
        publisher.start()

    def _compare(self) -> None:
        cast, report = self._cast, self._report
        missing = cast.drain(DRAINED_WITHIN_S)
        if missing is not None:
            report.problems.append(f"not drained: {missing}")
        self._life.end(cast.node)
        report.problems += cast.wire.book.strange[:10]
        for source in PROTOCOLS:
            held = cast.stored(source)
            for topic in TOPICS:
                verdict = judge(cast.session(source).sent(topic), held.pop(topic, []))
                report.judged(f"{PROTOCOLS[source]:8}{topic}", verdict)
            report.problems += [f"{source}: events of topic {topic}, which nobody sent" for topic in held]
            self._count(source)

    def _count(self, source: str) -> None:
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
        if self._kills_broker:
            return
        if never_came:
            problems.append(f"{source}: answered to publishers and never came: {never_came.most_common(3)}")
        if open_still:
            problems.append(f"{source}: {len(open_still)} messages came and were never answered: {open_still[0]}")
        if seen.forgotten or seen.ambiguous:
            problems.append(f"{source}: a broker that was not killed forgot: {seen}")


run_campaign = Campaign(PLACES, RANDOM_PER_DECK, lambda life: _Life(life).run())
