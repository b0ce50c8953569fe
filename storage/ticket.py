"""Tickets: an append that waits for its sync."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from storage.model import Receipt

_LOOK_AGAIN_S = 0.05


class Committing(Protocol):
    """What a ticket needs of its store."""

    def drive(self) -> bool:
        """Take a commit step unless a thread at the top owns them. True where this call took one."""

    def wait_for_outcomes(self, ticket: Ticket, timeout_s: float) -> None:
        """Wait until `ticket` is resolved, at most `timeout_s`."""


_callbacks_lock = threading.Lock()
"""One for all: it is held for an instant, and a lock for each ticket would cost more than the ticket."""


class Ticket:
    """Resolves to a Receipt once everything in its submission is on disk, or to the error that refused all of it."""

    __slots__ = ("_callbacks", "_outcome", "_store")

    def __init__(self, store: Committing) -> None:
        self._store = store
        self._outcome: Receipt | BaseException | None = None
        self._callbacks: list[Callable[[Ticket], None]] | None = None

    def done(self) -> bool:
        return self._outcome is not None

    def error(self) -> BaseException | None:
        """The error that refused the submission, None while it waits or where it was stored."""
        return self._outcome if isinstance(self._outcome, BaseException) else None

    def result(self, timeout_s: float | None = None) -> Receipt:
        """Wait until durable. Raises what refused the submission, or TimeoutError: it may still become durable then."""
        if self._outcome is None:
            self._wait(timeout_s)
        if isinstance(self._outcome, BaseException):
            # Many may raise it: it must not collect where each of them did.
            raise self._outcome.with_traceback(None)
        assert self._outcome is not None
        return self._outcome

    def _wait(self, timeout_s: float | None) -> None:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self._outcome is None:
            if self._store.drive():
                continue
            left = _LOOK_AGAIN_S if deadline is None else min(_LOOK_AGAIN_S, deadline - time.monotonic())
            if left <= 0:
                raise TimeoutError("not durable within the time given; it may still become so")
            self._store.wait_for_outcomes(self, left)

    def on_done(self, callback: Callable[[Ticket], None]) -> None:
        """Call `callback` once resolved, from the thread that commits (or now, if it is). It must not block."""
        with _callbacks_lock:
            if self._outcome is None:
                self._callbacks = self._callbacks or []
                self._callbacks.append(callback)
                return
        callback(self)

    def resolve(self, outcome: Receipt | BaseException) -> None:
        """For the committer: set the outcome and tell whoever asked to be called. Waiting threads are told by it."""
        with _callbacks_lock:
            self._outcome = outcome
            callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback(self)
