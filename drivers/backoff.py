"""How long to wait before the next attempt: full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015)."""

from __future__ import annotations

from random import Random


class Backoff:
    """Waits drawn evenly from 0 to a ceiling that doubles with every failure, from `first_s` up to `ceiling_s`.

    The ceiling is low: an attempt at a device costs little, and whoever plugs it in again stands there and watches.
    """

    def __init__(self, random: Random, first_s: float = 0.5, ceiling_s: float = 5.0) -> None:
        self._random = random
        self._first_s = first_s
        self._ceiling_s = ceiling_s
        self.failures = 0

    def next_s(self) -> float:
        """The wait after one more failure."""
        ceiling_s = min(self._ceiling_s, self._first_s * 2 ** min(self.failures, 30))
        self.failures += 1
        return self._random.uniform(0.0, ceiling_s)

    def reset(self) -> None:
        self.failures = 0
