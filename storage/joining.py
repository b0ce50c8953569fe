"""Single appends that wait side by side join: one frame and one place in the queue, and a ticket for each of them.

With many tickets in flight, what every event costs by itself is what decides. Only what the queue holds as its newest
can be joined, so the order in which appends came in is the order in which they are stored, whoever else appends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from storage.frame import FRAME_TARGET_BYTES
from storage.group import Group
from storage.model import Append, Frame, Headers, Position, Receipt
from storage.ticket import Committing, Ticket

MAX_EVENTS = 1000
"""So many appends join. What is judged and stored together stays small."""


class Queue(Committing, Protocol):
    """What they need of their store's committer."""

    def join(self, joined: Joined, payload: bytes) -> bool:
        """`joined.add(payload)` while that is the newest in the queue and there is room for it. False: it is not."""


class Joined(Ticket):
    """The ticket of appends that joined: events of one writer that follow each other and share all but payload.

    Each of them is judged as if it had come alone: some may be stored already, which are the first of them. At most
    `most` join.
    """

    __slots__ = ("_frame", "_most", "_payloads", "_queue", "_size", "_stream")

    def __init__(self, queue: Queue, stream: str, first: Frame, most: int = MAX_EVENTS) -> None:
        super().__init__(queue)
        self._queue = queue
        self._stream = stream
        self._frame = first
        self._most = most
        self._payloads = list(first.payloads)
        self._size = sum(map(len, self._payloads))

    def first(self) -> Ticket:
        """The ticket of the event that the others join."""
        return _Share(self, 0)

    def join(self, payload: bytes, number: int, key: str, content_type: str, headers: Headers) -> Ticket | None:
        """The ticket of the writer's event `number`, None where it can't join. One call at a time."""
        frame, place = self._frame, len(self._payloads)
        if (
            place >= self._most
            or self._size + len(payload) > FRAME_TARGET_BYTES
            or number != (frame.number or 0) + place
            or key != frame.routing_key
            or content_type != frame.content_type
            or headers != frame.headers
        ):
            return None
        return _Share(self, place) if self._queue.join(self, payload) else None

    def add(self, payload: bytes) -> None:
        """For the committer, which knows that this still waits."""
        self._payloads.append(payload)
        self._size += len(payload)

    def take(self, group: Group, ticket: Ticket) -> None:
        """What is submitted: all that joined so far."""
        group.take(ticket, (Append(self._stream, (self._frame._replace(payloads=self._payloads),)),), {})

    def share(self, receipt: Receipt, place: int) -> Receipt:
        """Of the `receipt` for all, what the event at `place` resolves to."""
        first = receipt.positions[0]
        if first is None or place < receipt.duplicates:
            return Receipt(receipt.commit, (None,), 0, 1)
        number, epoch, offset, index = first
        position = Position(number, epoch, offset, index + place - receipt.duplicates)
        return Receipt(receipt.commit, (position,), 1, 0)


class _Share(Ticket):
    """The ticket of one event that joined others."""

    __slots__ = ("_joined", "_place")

    def __init__(self, joined: Joined, place: int) -> None:
        self._joined = joined
        self._place = place

    def done(self) -> bool:
        return self._joined.done()

    def error(self) -> BaseException | None:
        return self._joined.error()

    def result(self, timeout_s: float | None = None) -> Receipt:
        return self._joined.share(self._joined.result(timeout_s), self._place)

    def on_done(self, callback: Callable[[Ticket], None]) -> None:
        self._joined.on_done(lambda _: callback(self))
