"""Single appends that wait side by side join: one frame and one place in the queue, and a ticket for each of them.

With many tickets in flight, what every event costs by itself is what decides. Only what the queue holds as its newest
can be joined, so the order in which appends came in is the order in which they are stored, whoever else appends.
"""

from __future__ import annotations

from collections.abc import Callable

from storage.frame import FRAME_TARGET_BYTES
from storage.group import Group
from storage.model import Append, Frame, Headers, Receipt
from storage.ticket import Committing, Ticket

MAX_EVENTS = 1000
"""So many appends join. What is judged and stored together stays small."""


class Joined(Ticket):
    """The ticket of appends that joined: events of one writer that follow each other and share all but payload.

    Each of them is judged by itself, as if it had come alone: some may be stored already, which are the first of them.
    """

    __slots__ = ("_frame", "_payloads", "_size", "stream")

    def __init__(self, store: Committing, stream: str, first: Frame) -> None:
        super().__init__(store)
        self.stream = stream
        self._frame = first
        self._payloads = list(first.payloads)
        self._size = sum(map(len, self._payloads))

    def continued_by(self, number: int, size_bytes: int, key: str, content_type: str, headers: Headers) -> bool:
        """Whether the writer's event `number` could join."""
        frame, count = self._frame, len(self._payloads)
        return (
            count < MAX_EVENTS
            and self._size + size_bytes <= FRAME_TARGET_BYTES
            and number == (frame.number or 0) + count
            and key == frame.routing_key
            and content_type == frame.content_type
            and headers == frame.headers
        )

    def add(self, payload: bytes) -> None:
        """For the committer, which knows that this still waits, and as the newest."""
        self._payloads.append(payload)
        self._size += len(payload)

    def newest(self) -> Ticket:
        """The ticket of the event that joined last."""
        return _Share(self, len(self._payloads) - 1)

    def take(self, group: Group, ticket: Ticket) -> None:
        """What is submitted: all that joined so far."""
        group.take(ticket, (Append(self.stream, (self._frame._replace(payloads=self._payloads),)),), {})

    def share(self, receipt: Receipt, place: int) -> Receipt:
        """Of the `receipt` for all, what the event at `place` resolves to."""
        first = receipt.positions[0]
        if first is None or place < receipt.duplicates:
            return Receipt(receipt.commit, (None,), 0, 1)
        position = first._replace(place=first.place + place - receipt.duplicates)
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
