"""An HTTP response that must be there, whole, within one deadline: a peer that trickles is as silent as one that stops.

A socket's own timeout starts again with every byte that arrives.
"""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class _TimedReader(io.RawIOBase):
    """Reads `raw`, the unbuffered file of `link`, until `deadline_s` by `monotonic`. Raises TimeoutError after it."""

    def __init__(
        self, link: socket.socket, raw: socket.SocketIO, deadline_s: float, monotonic: Callable[[], float]
    ) -> None:
        super().__init__()
        self._link = link
        self._raw = raw
        self._deadline_s = deadline_s
        self._monotonic = monotonic

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        left_s = self._deadline_s - self._monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer took longer than allowed")
        self._link.settimeout(left_s)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class TimedResponse(http.client.HTTPResponse):
    """A response that `http.client` makes itself, through the class that `within` returns."""

    timeout_s = 30.0
    monotonic: Callable[[], float]

    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp.close()
        raw = sock.makefile("rb", buffering=0)
        deadline_s = type(self).monotonic() + self.timeout_s
        self.fp = io.BufferedReader(_TimedReader(sock, raw, deadline_s, type(self).monotonic))

    @classmethod
    def within(cls, timeout_s: float, monotonic: Callable[[], float]) -> type[TimedResponse]:
        """The class of responses that have `timeout_s` from when the request was sent."""
        return type("TimedResponse", (cls,), {"timeout_s": timeout_s, "monotonic": staticmethod(monotonic)})
