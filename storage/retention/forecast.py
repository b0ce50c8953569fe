"""How long until something has to give way: what comes in against what is left, and which stream is the first to feel it."""

from __future__ import annotations

import math
from dataclasses import dataclass

TIME_CONSTANT_S = 1800.0
"""What came in longer ago than this counts for about a third."""
SHORTEST_S = 60.0
"""Watched for less is no rate."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a full disk would mean now.

    `reclaimable_bytes` can be given up with no loss: every upstream has it, every consumer has read it. Then `stream`
    is the first to feel it: it `loses` its oldest, or takes in no more.
    """

    reclaimable_bytes: int = 0
    stream: str | None = None
    loses: bool = False


class Intake:
    """An exponentially weighted rate of what is written, with a time constant of half an hour."""

    def __init__(self) -> None:
        self._last: tuple[float, int] | None = None
        self._sum = 0.0
        self._watched_s = 0.0

    def sample(self, now_s: float, written_bytes: int) -> None:
        """Take note of how much was written until now. `now_s` is on a clock that never steps."""
        if self._last is not None:
            duration_s, grown = now_s - self._last[0], written_bytes - self._last[1]
            if duration_s <= 0:
                return
            weight = 1 - math.exp(-duration_s / TIME_CONSTANT_S)
            self._sum += weight * (grown / duration_s - self._sum)
            self._watched_s += duration_s
        self._last = (now_s, written_bytes)

    @property
    def bytes_per_s(self) -> float | None:
        """None until it was watched for a minute."""
        if self._watched_s < SHORTEST_S:
            return None
        return self._sum / (1 - math.exp(-self._watched_s / TIME_CONSTANT_S))


def full_in_s(left_bytes: int, bytes_per_s: float | None) -> float | None:
    """Seconds until `left_bytes` are used up at that rate; None where nothing comes in or the rate is not known."""
    if bytes_per_s is None or bytes_per_s <= 0:
        return None
    return max(0, left_bytes) / bytes_per_s
