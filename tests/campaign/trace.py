"""A trace that counts visits of named steps, and kills its own process at one of them."""

from __future__ import annotations

import os
import signal

from tests.oracle.steps import CAMPAIGN_STEPS, Hits


class Killer:
    """Where this process is to be killed: at the n-th visit of a step, whichever store it is of."""

    def __init__(self, hits: Hits, aim: tuple[str, int] | None) -> None:
        self._hits = hits
        self._step, self._left = aim or ("", 0)

    def __call__(self, step: str, details: dict[str, object]) -> None:
        if step not in CAMPAIGN_STEPS:
            return
        self._hits.visited(step)
        if step == self._step:
            self._left -= 1
            if self._left == 0:
                self._hits.killed(step)
                os.kill(os.getpid(), signal.SIGKILL)
