"""What sends numbered events in a thread of its own, until it is told to stop."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod


class Feed(ABC):
    """`sent` counts what was sent; numbers run from 0. `failed` says what ended it before its time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent = 0
        self.failed: str | None = None
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"feed-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 15.0) -> None:
        """Returns when nothing more will be sent."""
        self.stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    @abstractmethod
    def run(self) -> None:
        """Send until `stopping`."""

    def _run(self) -> None:
        try:
            self.run()
        except Exception as error:  # noqa: BLE001  (whatever ends a feed, the comparison is worth nothing without it)
            self.failed = f"{type(error).__name__}: {error}"
