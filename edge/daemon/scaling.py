"""Streams scale with their load: the step that is taken every second, and what the log says of it."""

from __future__ import annotations

import logging

from storage.clock import Clock
from storage.load import Scaler
from storage.model import SegmentId
from storage.store import SegmentStore

_log = logging.getLogger(__name__)


class LoadScaling:
    """Measures the streams whose policy asks for it, and scales them. `step` belongs to one thread, `rates` to any."""

    def __init__(self, store: SegmentStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._scaler = Scaler(store)
        self._failed: dict[str, str] = {}

    def step(self) -> None:
        """Look once. While nothing can be made durable nothing is scaled either."""
        if self._store.blocked is not None:
            return
        for name, scale in self._scaler.step(self._clock.boot_ns() / 1e9):
            sealed = ", ".join(f"{segment.number}.{segment.epoch}" for segment in scale.seal)
            what = "merged into" if len(scale.seal) > len(scale.ranges) else "split into"
            _log.info("stream %s: %s %s %d, by its load", name, sealed, what, len(scale.ranges))
        failed = self._scaler.failed
        for name, why in failed.items():
            if self._failed.get(name) != why:
                _log.warning("stream %s: not scaled: %s; trying again", name, why)
        self._failed = failed

    def rates(self, segment: SegmentId) -> tuple[float, ...]:
        """What comes in per second over the short, the middle and the long window; nothing where no policy asks."""
        return self._scaler.rates(segment) or ()
