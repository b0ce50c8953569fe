"""The thread that makes things durable, and the only one that calls `commit`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from storage.store import SegmentStore
from storage.trace import Trace

WAIT_S = 0.5
BLOCKED_PAUSE_S = 0.25
"""Between two attempts while the disk is full or the engine asks for a pause."""
STOP_S = 10.0

_log = logging.getLogger(__name__)


class Committer:
    """Runs the store's commit step. `failed` is set, and `wake` called, when it can't go on."""

    def __init__(self, store: SegmentStore, wake: Callable[[], None]) -> None:
        self._store = store
        self._wake = wake
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._blocked: str | None = None
        self.failed: str | None = None
        self.beat_s = time.monotonic()
        """When it last finished a step (monotonic): what feeds the watchdog."""

    def start(self) -> None:
        self._store.own_commits()
        self._thread.start()

    def stop(self) -> None:
        """Take no more steps. What waits is made durable by closing the store."""
        self._stop.set()
        self._thread.join(STOP_S)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                if self._store.wait_for_work(WAIT_S) or self._store.blocked is not None:
                    self._store.commit()
                    self._look_at(self._store.blocked)
                else:
                    self._store.keep_time()
                self.beat_s = time.monotonic()
        except Exception as error:  # noqa: BLE001  (the end of the only thread that can make anything durable)
            self.failed = str(error) or type(error).__name__
            _log.critical("nothing can be made durable any more: %s", self.failed)
            self._wake()

    def _look_at(self, blocked: str | None) -> None:
        """Say what changed. Raises what ended the store, where something did."""
        if blocked is None:
            if self._blocked is not None:
                _log.warning("storing again; it was: %s", self._blocked)
            self._blocked = None
            return
        if self._store.failed is not None:
            raise self._store.failed
        if blocked != self._blocked:
            _log.error("not storing: %s; trying again until it works", blocked)
            self._blocked = blocked
        self._stop.wait(BLOCKED_PAUSE_S)


def logged(trace: Trace) -> Trace:
    """`trace`, and every step in the log at level DEBUG."""
    log = logging.getLogger("edge.step")

    def step(name: str, details: dict[str, object]) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s %s", name, " ".join(f"{key}={value}" for key, value in details.items()))
        trace(name, details)

    return step
