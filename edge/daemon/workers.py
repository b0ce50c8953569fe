"""The threads around sources and uplinks: they own the waiting that the steps below them only ask for."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod

from drivers.source import Source
from storage.errors import StoreClosedError
from storage.store import SegmentStore
from sync.replicator import LinkState
from sync.uplink import Uplink

POLL_S = 0.25
"""The longest that a source waits in one step for its device, and so how soon it stops and obeys."""
FOLLOW_S = 0.5
AFTER_BUG_S = 5.0
STOP_S = 5.0

_log = logging.getLogger(__name__)


class Worker(ABC):
    """A thread that takes steps until it is stopped. What a step raises is logged and does not end it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._wanted = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._busy_since_s: float | None = None
        self._started = False

    def start(self) -> None:
        _log.info("%s: started", self.name)
        self._started = True
        self._thread.start()

    def wake(self) -> None:
        """Take the next step now."""
        self._wanted.set()

    def ask_to_stop(self) -> None:
        self._stop.set()
        self._wanted.set()

    def join(self, deadline_s: float) -> bool:
        """Wait until it has ended, at most until `deadline_s` (monotonic). False: it hangs, and is left behind."""
        if not self._started:
            return True
        self._thread.join(max(0.0, deadline_s - time.monotonic()))
        if self._thread.is_alive():
            _log.error("%s hangs and is left behind", self.name)
        return not self._thread.is_alive()

    @property
    def stuck_for_s(self) -> float:
        """How long the step has taken that it is in."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    @abstractmethod
    def step(self) -> float:
        """One bounded piece of work. Returns how long to wait, in seconds."""

    @abstractmethod
    def close(self) -> None:
        """After the last step."""

    def pause(self, wait_s: float) -> None:
        """Wait between steps."""
        self._wanted.wait(wait_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wanted.clear()
            self._busy_since_s = time.monotonic()
            try:
                wait_s = self.step()
            except StoreClosedError:
                break
            except Exception:  # noqa: BLE001  (isolation: one worker's failure must not end the others)
                _log.exception("%s: a step failed in a way that nobody foresaw; going on", self.name)
                wait_s = AFTER_BUG_S
            self._busy_since_s = None
            if wait_s > 0 and not self._stop.is_set():
                self.pause(wait_s)
        self.close()


class SourceWorker(Worker):
    """One source on its thread."""

    def __init__(self, source: Source) -> None:
        super().__init__(f"source {source.settings.name}")
        self.source = source

    def step(self) -> float:
        return self.source.step(POLL_S)

    def close(self) -> None:
        self.source.close()


class UplinkWorker(Worker):
    """One uplink on its thread. While it is up to date it waits for commits."""

    def __init__(self, uplink: Uplink, store: SegmentStore, kind: str, patterns: tuple[str, ...]) -> None:
        super().__init__(f"uplink {uplink.name}")
        self.uplink = uplink
        self.kind = kind
        self.patterns = patterns
        self._store = store
        self._said: tuple[LinkState, str | None] | None = None

    def step(self) -> float:
        wait_s = self.uplink.step(time.monotonic())
        self._say()
        return wait_s

    def pause(self, wait_s: float) -> None:
        after = self.uplink.follows
        if after is None:
            self._wanted.wait(wait_s)
            return
        until_s = time.monotonic() + wait_s
        while not self._wanted.is_set() and (left_s := until_s - time.monotonic()) > 0:
            if self._store.wait_for_commit(after, min(left_s, FOLLOW_S)) > after:
                return

    def close(self) -> None:
        self.uplink.close()

    def _say(self) -> None:
        """Log what changed about the link, once."""
        state = self.uplink.state
        if state is LinkState.DRAINING or (state is LinkState.LIVE and self._said == (state, None)):
            return
        problem = self.uplink.status().problem
        if problem is not None and (self._said is None or self._said[1] != problem):
            _log.warning("uplink %s: %s; trying again until it works", self.uplink.name, problem)
        elif state is LinkState.LIVE:
            _log.info("uplink %s: live, upstream holds everything", self.uplink.name)
        self._said = (state, problem)
