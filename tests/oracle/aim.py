"""A node of the cast that is killed where and when a round says."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from edge.demo.nodes import NodeProcess
from tests.oracle.steps import OPENING_STEPS, STEPS_OF, Hits, most_visits

ROOT = Path(__file__).resolve().parents[2]
REACHED_WITHIN_S = 8.0
NUDGED_AFTER_S = 1.5
OPENED_WITHIN_S = 20.0
TINY_GENERATION_BYTES = 1
"""Every commit begins a new generation: the first one of an opening comes to `generation.created`."""


def module_command(module: str, *arguments: str) -> tuple[str, ...]:
    """A node started as `python -m module`, from wherever the tests run."""
    return ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", module, *arguments)


def node_command(folder: Path) -> tuple[str, ...]:
    """The node whose folder it is, with a trace that waits to be aimed."""
    folder.mkdir(parents=True, exist_ok=True)
    return module_command("tests.oracle.node", "--hits", str(folder / "hits"), "--aim", str(folder / "aim"), "--")


class Target:
    """A running node, and the order in which its steps are aimed at."""

    def __init__(
        self, name: str, node: NodeProcess, random: Random, *, reached_within_s: float = REACHED_WITHIN_S
    ) -> None:
        self.name = name
        self.node = node
        self._random = random
        self._reached_within_s = reached_within_s
        self._hits_file = node.folder / "hits"
        self._next: list[str] = []
        self.random_kills = 0
        self.missed: list[str] = []

    def hits(self) -> Hits:
        return Hits(self._hits_file)

    def kill_at_random(self, within_s: float) -> str:
        """SIGKILL at some moment. Says what was done."""
        time.sleep(self._random.uniform(0.02, within_s))
        self.node.kill()
        self.random_kills += 1
        return f"{self.name}: at a random moment"

    def kill_at_next_step(self, nudge: Callable[[], None]) -> str:
        """SIGKILL at the step whose turn it is. `nudge` is called when it takes long. Says what was done."""
        if not self._next:
            self._next = list(STEPS_OF[self.name])
            self._random.shuffle(self._next)
        where, hit = self.kill_at(self._next.pop(), nudge)
        if not hit:
            return f"{self.name}: at a random moment, as {where} was not reached in time"
        return f"{self.name}: at {where}"

    def kill_at(self, step: str, nudge: Callable[[], None]) -> tuple[str, bool]:
        """SIGKILL at one of the next visits of `step`. Says which, and whether it came to that in time; it is dead anyway."""
        where = f"{step}:{self._random.randint(1, most_visits(self.name, step))}"
        before = self.hits().kills(step)
        if step in OPENING_STEPS:
            self._kill_opening(where)
        else:
            self._kill_running(where, nudge)
        hit = self.hits().kills(step) != before
        if not hit:
            self.missed.append(where)
        return where, hit

    def _kill_opening(self, where: str) -> None:
        self.node.kill()
        more = ["--kill-at", where]
        if where.startswith("generation"):
            more += ["--generation-bytes", str(TINY_GENERATION_BYTES)]
        self.node.start([*self.node.command[:-1], *more, "--"])
        if not self.node.wait(OPENED_WITHIN_S):
            self.node.kill()

    def _kill_running(self, where: str, nudge: Callable[[], None]) -> None:
        (self.node.folder / "aim").write_text(where, encoding="ascii")
        self.node.send(signal.SIGUSR1)
        deadline_s = time.monotonic() + self._reached_within_s
        nudge_s = time.monotonic() + NUDGED_AFTER_S
        while not self.node.wait(0.1):
            now_s = time.monotonic()
            if now_s > nudge_s:
                nudge_s = now_s + NUDGED_AFTER_S
                nudge()
            if now_s > deadline_s:
                self.node.kill()
                return
