"""Wakes a driver that waits for sockets in `poll`, from another thread."""

from __future__ import annotations

import socket
from threading import Lock


class Waker:
    """A socket to wait for beside others: it can be read once `wake` was called."""

    def __init__(self) -> None:
        self._reading, self._writing = socket.socketpair()
        self._lock = Lock()
        self._awake = False
        self._closed = False

    def fileno(self) -> int:
        return self._reading.fileno()

    def wake(self) -> None:
        """From any thread, also when closed."""
        with self._lock:
            if not self._awake and not self._closed:
                self._awake = True
                self._writing.send(b"w")

    def drain(self) -> None:
        """For the thread that waits, once it has been woken and before it looks for why.

        Without the lock, which whoever woke it may hold still. In this order: who calls `wake` in between sends nothing, and
        has given its reason before.
        """
        if self._awake:
            self._reading.recv(1)
            self._awake = False

    def close(self) -> None:
        # Under the lock: another thread must not write to what has taken over the number of the closed socket.
        with self._lock:
            self._closed = True
            self._awake = False
            self._reading.close()
            self._writing.close()
