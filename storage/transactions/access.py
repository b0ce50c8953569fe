"""How a store's user comes to transactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID, uuid4

from storage.model import Append, TransactionState
from storage.records import StreamRecord
from storage.state.table import Change
from storage.ticket import Ticket
from storage.transactions.taking import check_streams
from storage.transactions.transaction import Transacting, Transaction
from storage.transactions.transactions import Transactions

LEASE_S = 30.0


class Having(Protocol):
    """A store that has transactions."""

    @property
    def transactions(self) -> Transactions: ...


class Beginning(Having, Transacting, Protocol):
    """A store that knows its streams, too."""

    def _stream(self, name: str) -> StreamRecord: ...
    def begin_transaction(
        self, streams: Sequence[str], *, lease_s: float = LEASE_S, transaction: UUID | None = None
    ) -> Transaction: ...


class Measuring(Having, Protocol):
    """A store that judges what is to be appended."""

    def _measure(self, appends: Sequence[Append]) -> int: ...


class TransactionAccess:
    """What a store offers of transactions (`storage.transactions`)."""

    def transaction(self: Beginning, *streams: str, lease_s: float = LEASE_S) -> Transaction:
        """A transaction on streams that exist, to be used as a context: commits at the end of it, aborts on an error.

        Raises as `begin_transaction`.
        """
        return self.begin_transaction(streams, lease_s=lease_s)

    def begin_transaction(
        self: Beginning, streams: Sequence[str], *, lease_s: float = LEASE_S, transaction: UUID | None = None
    ) -> Transaction:
        """Begin a transaction, under an id of the caller's or a fresh one. It is aborted where nobody appends for `lease_s`.

        Raises UnknownStreamError, StreamSealedError, StorageError (mirrored streams, streams of different policies, a
        lease that is too long), StoreBusyError.
        """
        names = tuple(dict.fromkeys(streams))
        check_streams([self._stream(name) for name in names])
        chosen = transaction or uuid4()
        self.transactions.begin(chosen, names, lease_s)
        return Transaction(self, chosen, names)

    def resume_transaction(self: Beginning, transaction: UUID) -> Transaction:
        """A transaction that was begun before, by whomever, also before the store was reopened.

        Raises UnknownTransactionError.
        """
        return Transaction(self, transaction, self.transactions.streams(transaction))

    def transaction_state(self: Having, transaction: UUID) -> TransactionState | None:
        """Where a transaction stands, None where it is not known (any more)."""
        return self.transactions.state(transaction)

    def expire_transactions(self: Having) -> list[UUID]:
        """One step, to be taken every second or so: abort what was left open. Which transactions those are."""
        return self.transactions.expire()

    def submit_to_transaction(self: Measuring, transaction: UUID, appends: Sequence[Append]) -> Ticket:
        """Queue appends to a transaction, all or nothing of them.

        Raises as `submit`, and UnknownTransactionError, TransactionEndedError.
        """
        return self.transactions.append(transaction, tuple(appends), self._measure(appends))

    def commit_transaction(
        self: Having, transaction: UUID, cursors: Mapping[str, bytes] | None = None, changes: Sequence[Change] = ()
    ) -> Ticket:
        """Queue a transaction's commit (`Transaction.commit`)."""
        return self.transactions.commit(transaction, dict(cursors or {}), changes)

    def abort_transaction(self: Having, transaction: UUID) -> Ticket:
        """Queue a transaction's end without a commit."""
        return self.transactions.abort(transaction)

    def ping_transaction(self: Having, transaction: UUID) -> None:
        """Begin a transaction's lease anew."""
        self.transactions.ping(transaction)
