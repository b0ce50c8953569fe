"""Tickets: an append that waits for its sync."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from storage.model import Receipt


class Committing(Protocol):
    """What a ticket needs of its store: to drive the commit step when nobody at the top does."""

    def drive(self) -> bool:
        """Take a commit step unless a thread at the top owns them. True where this call took one."""


class Ticket:
    """Resolves to a Receipt once everything in its submission is on disk, or to the error that refused all of it."""

    def __init__(self, store: Committing) -> None:
        self._store = store
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._receipt: Receipt | None = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Ticket], None]] = []

    def done(self) -> bool:
        return self._done.is_set()

    def error(self) -> BaseException | None:
        """The error that refused the submission, None while it waits or where it was stored."""
        return self._error

    def result(self, timeout_s: float | None = None) -> Receipt:
        """Wait until durable. Raises what refused the submission, or TimeoutError: it may still become durable then."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._done.is_set():
            if self._store.drive():
                continue
            left = 0.05 if deadline is None else min(0.05, deadline - time.monotonic())
            if left <= 0:
                raise TimeoutError("not durable within the time given; it may still become so")
            self._done.wait(left)
        if self._error is not None:
            raise self._error
        assert self._receipt is not None
        return self._receipt

    def on_done(self, callback: Callable[[Ticket], None]) -> None:
        """Call `callback` once resolved, from the thread that commits (or now, if it is). It must not block."""
        with self._lock:
            if not self._done.is_set():
                self._callbacks.append(callback)
                return
        callback(self)

    def resolve(self, outcome: Receipt | BaseException) -> None:
        """For the committer: set the outcome and tell whoever waits."""
        with self._lock:
            if isinstance(outcome, Receipt):
                self._receipt = outcome
            else:
                self._error = outcome
            self._done.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)
