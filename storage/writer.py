"""A writer: appends to one stream under one id, numbered, so that what is sent again is not stored again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol
from uuid import uuid4

from storage.joining import Joined
from storage.model import Append, Frame, Headers
from storage.ticket import Ticket


class Submitting(Protocol):
    """What a writer needs of its store."""

    def submit(self, appends: Sequence[Append]) -> Ticket: ...

    def submit_joined(self, stream: str, first: Frame) -> Joined: ...

    def last_number(self, stream: str, writer_id: str) -> int | None: ...


class Writer:
    """Appends to one stream. `next_number` goes on from what the store last made durable of this writer id.

    Without an id it takes a fresh one. Threads may share a writer; numbers follow the order of the calls.
    """

    def __init__(self, store: Submitting, stream: str, writer_id: str | None = None) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._waiting: Joined | None = None
        self.stream = stream
        self.writer_id = writer_id if writer_id is not None else uuid4().hex
        last = store.last_number(stream, self.writer_id)
        self.next_number = 0 if last is None else last + 1

    def append(
        self,
        payload: bytes,
        routing_key: str = "",
        *,
        number: int | None = None,
        content_type: str = "",
        headers: Headers = (),
    ) -> Ticket:
        """Append one event. `number` says which it is, where the caller keeps count; else the next one."""
        with self._lock:
            place = self.next_number if number is None else number
            waiting = self._waiting
            ticket = None if waiting is None else waiting.join(payload, place, routing_key, content_type, headers)
            if ticket is None:
                frame = Frame([payload], routing_key, content_type, headers, writer=self.writer_id, number=place)
                self._waiting = self._store.submit_joined(self.stream, frame)
                ticket = self._waiting.first()
            self.next_number = place + 1
            return ticket

    def append_many(
        self,
        payloads: Sequence[bytes],
        routing_key: str = "",
        *,
        number: int | None = None,
        content_type: str = "",
        headers: Headers = (),
    ) -> Ticket:
        """Append events under one ticket: contiguous, all or nothing. `number` is the first one's.

        Raises what `SegmentStore.submit` raises; the numbers then stay unused.
        """
        with self._lock:
            first = self.next_number if number is None else number
            frame = Frame(payloads, routing_key, content_type, headers, writer=self.writer_id, number=first)
            ticket = self._store.submit([Append(self.stream, [frame])])
            self.next_number = first + len(payloads)
            return ticket
