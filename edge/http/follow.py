"""One thread that waits for commits, for all followers together."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from storage.store import SegmentStore

POLL_S = 1.0
"""How long a stop may take: the store's wait can't be interrupted."""


class CommitSignal:
    """Tells coroutines that something became durable. `close` wakes all of them for good.

    While none waits, commits wake nobody: at some thousand commits a second that would cost more than it seems.
    """

    def __init__(self, store: SegmentStore) -> None:
        self._store = store
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._waiting = 0
        self._awaited = threading.Event()
        self.closed = False

    def start(self) -> None:
        """Begin to watch. To be called from the loop that will wait."""
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._thread = threading.Thread(target=self._watch, name="commit-signal", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.closed = True
        self._wake()

    async def wait(self, after: int) -> None:
        """Until a commit after `after` is durable, or `close`."""
        self._waiting += 1
        self._awaited.set()
        try:
            while self._store.last_commit <= after and not self.closed:
                assert self._changed is not None
                await self._changed.wait()
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._awaited.clear()

    def _watch(self) -> None:
        assert self._loop is not None
        seen = self._store.last_commit
        while not self.closed:
            if not self._awaited.wait(POLL_S):
                continue
            newest = self._store.wait_for_commit(seen, POLL_S)
            if newest > seen and not self.closed:
                seen = newest
                with contextlib.suppress(RuntimeError):  # a stop may have closed the loop in between
                    self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        """Let everyone who waits now look again; who comes later waits for the next."""
        assert self._changed is not None
        waiting, self._changed = self._changed, asyncio.Event()
        if self.closed:
            self._changed.set()
        waiting.set()
