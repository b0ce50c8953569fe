"""How long until the disk is full, at the rate of the last while."""

from __future__ import annotations

from collections import deque

SAMPLE_S = 10.0
WINDOW_S = 3600.0
SHORTEST_S = 60.0
"""Less is no rate: the engine writes in bursts."""


class Filling:
    """Watches how the store grows. Samples every ten seconds, for an hour."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque(maxlen=int(WINDOW_S / SAMPLE_S))

    def sample(self, now_s: float, disk_bytes: int) -> None:
        """Take note of the size now. `now_s` is on a clock that never steps; too frequent samples are left out."""
        if not self._samples or now_s - self._samples[-1][0] >= SAMPLE_S:
            self._samples.append((now_s, disk_bytes))

    def full_in_s(self, left_bytes: int) -> float | None:
        """Seconds until `left_bytes` are used up; None where it does not grow, or was not watched for a minute."""
        if not self._samples:
            return None
        (first_s, first_bytes), (last_s, last_bytes) = self._samples[0], self._samples[-1]
        if last_s - first_s < SHORTEST_S or last_bytes <= first_bytes:
            return None
        return max(0, left_bytes) * (last_s - first_s) / (last_bytes - first_bytes)
