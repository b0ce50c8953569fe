"""A transaction as whoever writes it holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self
from uuid import UUID

from storage.errors import StorageError
from storage.model import Append, Frame, Headers, Receipt, TransactionState
from storage.state.table import Change
from storage.ticket import Ticket


class Transacting(Protocol):
    """What a transaction needs of its store."""

    def submit_to_transaction(self, transaction: UUID, appends: Sequence[Append]) -> Ticket: ...
    def commit_transaction(
        self, transaction: UUID, cursors: Mapping[str, bytes] | None = None, changes: Sequence[Change] = ()
    ) -> Ticket: ...
    def abort_transaction(self, transaction: UUID) -> Ticket: ...
    def ping_transaction(self, transaction: UUID) -> None: ...
    def transaction_state(self, transaction: UUID) -> TransactionState | None: ...


class Transaction:
    """Appends that become readable together. As a context it commits at the end, and aborts on an error."""

    def __init__(self, store: Transacting, transaction: UUID, streams: Sequence[str]) -> None:
        self._store = store
        self.id = transaction
        self.streams = tuple(streams)
        self._ended = False

    def append(
        self, payload: bytes, routing_key: str = "", *, stream: str | None = None, content_type: str = "",
        headers: Headers = (), writer: str | None = None, number: int | None = None,
    ) -> Ticket:  # fmt: skip
        """Append one event; `stream` may be left out where the transaction is of one. Raises as `append_many`."""
        return self.append_many(
            [payload], routing_key, stream=stream, content_type=content_type, headers=headers, writer=writer, number=number
        )  # fmt: skip

    def append_many(
        self, payloads: Sequence[bytes], routing_key: str = "", *, stream: str | None = None, content_type: str = "",
        headers: Headers = (), writer: str | None = None, number: int | None = None,
    ) -> Ticket:  # fmt: skip
        """Append events under one ticket: durable, and not readable before the commit. `number` is the first one's.

        Raises TransactionEndedError, TooLargeError, StoreBusyError and what else `SegmentStore.submit` raises. What a
        ticket raises, the commit raises as well.
        """
        if stream is None:
            if len(self.streams) != 1:
                raise StorageError(f"this transaction is of {len(self.streams)} streams: say which, with stream=")
            stream = self.streams[0]
        frame = Frame(payloads, routing_key, content_type, headers, writer=writer, number=number)
        return self.submit([Append(stream, [frame])])

    def submit(self, appends: Sequence[Append]) -> Ticket:
        """Append frames as they are. Raises as `append_many`."""
        return self._store.submit_to_transaction(self.id, appends)

    def commit(self, cursors: Mapping[str, bytes] | None = None, changes: Sequence[Change] = ()) -> Receipt:
        """Make all of it readable, with `cursors` and `changes` of tables, durable when it returns; a second time: nothing.

        The receipt has the position of each stream's first event, in the order of `streams`. Where the writers' numbers
        say that all of it is stored already, nothing is stored, and `duplicates` says so. Raises TransactionEndedError
        (it was aborted, or its lease expired), StreamSealedError, WriterNumberGapError, ConditionFailedError, and what
        one of its appends was refused with: it is still open then, and to be aborted.
        """
        receipt = self._store.commit_transaction(self.id, cursors, changes).result()
        self._ended = True
        return receipt

    def abort(self) -> None:
        """Give up what is in it. A second time: nothing. Raises TransactionEndedError where it was committed."""
        self._ended = True
        self._store.abort_transaction(self.id).result()

    def ping(self) -> None:
        """Begin its lease anew. Raises TransactionEndedError."""
        self._store.ping_transaction(self.id)

    @property
    def state(self) -> TransactionState | None:
        """Where it stands; None where it ended so long ago that it was forgotten."""
        return self._store.transaction_state(self.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if kind is not None:
            if self.state is TransactionState.OPEN:
                self._store.abort_transaction(self.id)
            return
        if self._ended:
            return
        try:
            self.commit()
        except StorageError:
            if self.state is TransactionState.OPEN:
                self._store.abort_transaction(self.id)
            raise
