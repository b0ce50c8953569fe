"""Programs beside the gateway, on its local socket: one that writes and one that reads."""

from __future__ import annotations

import threading
import time

from edge.client import Client
from edge.demo.feed import Feed
from edge.demo.numbering import read_number, stamp
from edge.errors import EdgeError, RequestRefusedError

RETRY_S = 0.1


class NumberedWriter(Feed):
    """Writes batches under its writer id. What was not answered for is sent again, and so is, after every lost answer, the
    batch before it: a careful program can't know which side of it the gateway remembers.

    `told` holds the numbers that the gateway answered for.
    """

    def __init__(self, who: str, client: Client, stream: str, batches_per_s: float, batch: int = 10) -> None:
        super().__init__(who)
        self._client = client
        self._stream = stream
        self._pause_s = 1 / batches_per_s
        self._batch = batch
        self._lock = threading.Lock()
        self._told: set[int] = set()
        self._broken_off = False
        self.repeated = 0
        """Events sent again that had been answered for."""

    def told(self) -> dict[str, set[int]]:
        with self._lock:
            return {self.name: set(self._told)}

    def run(self) -> None:
        confirmed = 0
        while not self.stopping.is_set():
            first = confirmed
            self.sent = max(self.sent, first + self._batch)
            while not self._try(first):
                # What it has begun it brings to its end, unless the gateway stays away.
                if self.failed is not None or self._given_up():
                    return
                time.sleep(RETRY_S)
            confirmed = first + self._batch
            self.stopping.wait(self._pause_s)

    _stop_seen_s: float | None = None

    def _given_up(self) -> bool:
        if not self.stopping.is_set():
            return False
        self._stop_seen_s = self._stop_seen_s or time.monotonic()
        return time.monotonic() - self._stop_seen_s > 5.0

    def _try(self, first: int) -> bool:
        try:
            if self._broken_off and first:
                self._write(first - self._batch)
                self.repeated += self._batch
            self._broken_off = False
            self._write(first)
        except RequestRefusedError as error:
            if error.status == 409:
                self.failed = f"the gateway forgot what it had answered for: {error}"
            self._broken_off = True
            return False
        except EdgeError:
            self._broken_off = True
            return False
        return True

    def _write(self, first: int) -> None:
        numbers = range(first, first + self._batch)
        payloads = [stamp(self.name, number) for number in numbers]
        self._client.write(self._stream, payloads, key=self.name, writer=self.name, number=first)
        with self._lock:
            self._told.update(numbers)


class DurableReader(Feed):
    """Follows a stream on the gateway's socket. `told` holds what it saw: a reader sees only what is durable."""

    def __init__(self, client: Client, stream: str) -> None:
        super().__init__(f"reader of {stream}")
        self._client = client
        self._stream = stream
        self._lock = threading.Lock()
        self._told: dict[str, set[int]] = {}
        self._frozen = False

    def freeze(self) -> None:
        """What is told stays as it is."""
        with self._lock:
            self._frozen = True

    def told(self) -> dict[str, set[int]]:
        with self._lock:
            return {who: set(numbers) for who, numbers in self._told.items()}

    def run(self) -> None:
        place = "head"
        while not self.stopping.is_set():
            try:
                for event in self._client.read(self._stream, place, follow=True):
                    place = str(event.next)
                    number = read_number(event.payload)
                    with self._lock:
                        if number is not None and not self._frozen:
                            self._told.setdefault(number[0], set()).add(number[1])
                    if self.stopping.is_set():
                        return
            except EdgeError:
                # The gateway is away, or the stream is not there yet.
                self.stopping.wait(RETRY_S)
