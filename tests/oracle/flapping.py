"""A link that fails on a seeded schedule: now it is cut, now it stalls, now replies are lost."""

from __future__ import annotations

import threading
from random import Random

from edge.demo.link import Link, LinkMode

UP_S = (0.2, 1.2)
DOWN_S = (0.05, 0.4)
STALLED_FOR_S = (0.05, 0.3)


class Flapping:
    """Lets `link` flap, and breaks off the connection to the broker now and then, until `stop`, which leaves all up."""

    def __init__(self, link: Link, broker_link: Link | None, random: Random) -> None:
        self._link = link
        self._broker_link = broker_link
        self._random = random
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flapping", daemon=True)
        self.counts = dict.fromkeys([*LinkMode, "broker"], 0)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._link.set(LinkMode.UP)

    def _run(self) -> None:
        while not self._stopping.wait(self._random.uniform(*UP_S)):
            mode = self._random.choice([LinkMode.CUT, LinkMode.STALLED, LinkMode.DEAF])
            self.counts[mode] += 1
            self._link.set(mode)
            self._stopping.wait(self._random.uniform(*(STALLED_FOR_S if mode is LinkMode.STALLED else DOWN_S)))
            if mode is LinkMode.STALLED and self._random.random() < 0.5:
                self._link.set(LinkMode.CUT)
            self._link.set(LinkMode.UP)
            if self._broker_link is not None and self._random.random() < 0.2:
                self.counts["broker"] += 1
                self._broker_link.break_off()
