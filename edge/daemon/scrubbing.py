"""Looking through what is stored, slowly and always: what a disk has lost by itself is found before somebody asks for it."""

from __future__ import annotations

import logging

from edge.daemon.workers import Worker
from storage.store import SegmentStore

SCRUB_S = 30.0
"""Between two looks, of some 16 MiB each: a store of 8 GiB is gone through in about four hours."""

_log = logging.getLogger(__name__)


class ScrubWorker(Worker):
    """Scrubs the store on a thread of its own, since what it finds waits for a commit."""

    def __init__(self, store: SegmentStore) -> None:
        super().__init__("scrub")
        self._store = store
        self._told = len(store.recovery)

    def step(self) -> float:
        """Look at the next piece. While nothing can be made durable nothing is looked at either."""
        if self._store.blocked is None:
            self._store.scrub()
        for line in self._store.recovery[self._told :]:
            _log.error("found damaged: %s", line)
        self._told = len(self._store.recovery)
        return SCRUB_S

    def close(self) -> None:
        """Nothing is held between steps."""
