"""A store's transactions: what waits for its commit, and who still holds a lease."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from storage.catalog import Catalog
from storage.clock import Clock
from storage.errors import StorageError, TooLargeError, TransactionEndedError, UnknownTransactionError
from storage.group import Group
from storage.kv.contract import KeyValueStore
from storage.model import MAX_APPEND_BYTES, Append, TransactionState
from storage.queue import Take
from storage.state.table import Change, plan_changes
from storage.ticket import Ticket
from storage.transactions.record import TransactionRecord
from storage.transactions.taking import find, take_abort, take_append, take_begin, take_commit

MAX_TRANSACTION_BYTES = MAX_APPEND_BYTES
"""What a transaction holds at most, in bytes of offsets: it goes upstream in one unit."""
LIMIT_SHARE = 8
"""Under a disk limit it holds at most this part of it: nothing of it can be given up while it is open."""
MAX_TRANSACTION_APPENDS = 10_000
"""Appends to one transaction in one opening of the store: each may become a block, and its commit names them all."""
MIN_LEASE_S, MAX_LEASE_S = 1.0, 86_400.0


class Submit(Protocol):
    """Queues a step of a commit (`Committer.submit`)."""

    def __call__(self, take: Take, size_bytes: int, *, brings_bytes: int = 0) -> Ticket: ...


@dataclass(slots=True)
class _Held:
    """A transaction that is open, as far as it is not on disk."""

    lease_s: float
    deadline_ns: int
    appends: int = 0
    size_bytes: int = 0
    ending: TransactionState | None = None
    refused: StorageError | None = None
    """What refused one of its appends: it can't be committed without it."""
    streams: Sequence[str] = field(default=())


class Transactions:
    """Any thread may call anything. What is submitted is taken in the order of the calls."""

    def __init__(
        self, kv: KeyValueStore, catalog: Catalog, clock: Clock, submit: Submit, disk_limit: int | None
    ) -> None:
        self._kv = kv
        self._catalog = catalog
        self._clock = clock
        self._submit = submit
        self._most_bytes = min(MAX_TRANSACTION_BYTES, (disk_limit or 1 << 62) // LIMIT_SHARE)
        self._lock = threading.Lock()
        self._held: dict[UUID, _Held] = {}
        for record in catalog.open_transactions.values():
            self._held[record.id] = _Held(
                record.lease_s, self._deadline(record.lease_s), size_bytes=_held_bytes(catalog, record)
            )

    def _deadline(self, lease_s: float) -> int:
        return self._clock.boot_ns() + int(lease_s * 1e9)

    def begin(self, transaction: UUID, streams: Sequence[str], lease_s: float) -> Ticket:
        """Begin, durable when the ticket says so; appends may follow at once."""
        if not MIN_LEASE_S <= lease_s <= MAX_LEASE_S:
            raise StorageError(
                f"a lease of {lease_s} s: it must be between {MIN_LEASE_S:.0f} s and {MAX_LEASE_S:.0f} s"
            )
        with self._lock:
            self._held.setdefault(transaction, _Held(lease_s, self._deadline(lease_s), streams=tuple(streams)))

        def take(group: Group, ticket: Ticket) -> None:
            take_begin(group, ticket, transaction, streams, lease_s)

        ticket = self._submit(take, 0)
        ticket.on_done(lambda done: self._settled(transaction) if done.error() else None)
        return ticket

    def append(self, transaction: UUID, appends: Sequence[Append], size_bytes: int) -> Ticket:
        """Put appends into a transaction.

        Raises UnknownTransactionError, TransactionEndedError, TooLargeError, StoreBusyError.
        """
        held = self._open(transaction)
        if held.appends >= MAX_TRANSACTION_APPENDS:
            raise TooLargeError(
                f"{held.appends} appends in one transaction: at most {MAX_TRANSACTION_APPENDS}; append more at once"
            )
        held.deadline_ns = self._deadline(held.lease_s)
        held.appends += 1
        held.size_bytes += size_bytes

        def take(group: Group, ticket: Ticket) -> None:
            try:
                take_append(group, ticket, transaction, appends, self._most_bytes)
            except StorageError as error:
                held.refused = held.refused or error
                raise

        return self._submit(take, size_bytes)

    def ping(self, transaction: UUID) -> None:
        """Begin its lease anew. Raises UnknownTransactionError, TransactionEndedError."""
        held = self._open(transaction)
        held.deadline_ns = self._deadline(held.lease_s)

    def commit(self, transaction: UUID, cursors: Mapping[str, bytes], changes: Sequence[Change]) -> Ticket:
        """Make it readable, and its cursors durable, at once. Raises UnknownTransactionError, TransactionEndedError."""
        held = self._ending(transaction, TransactionState.COMMITTING)

        def take(group: Group, ticket: Ticket) -> None:
            if held is not None and held.refused is not None and _is_open(find(group, transaction)):
                raise held.refused
            take_commit(self._kv, group, ticket, transaction, dict(cursors) | plan_changes(group, changes))

        brings = 0 if held is None else held.size_bytes
        return self._end(transaction, held, take, sum(map(len, cursors.values())), brings)

    def abort(self, transaction: UUID) -> Ticket:
        """Give up what is in it. Raises UnknownTransactionError, TransactionEndedError."""
        held = self._ending(transaction, TransactionState.ABORTING)
        return self._end(transaction, held, lambda group, ticket: take_abort(self._kv, group, ticket, transaction), 0)

    def expire(self) -> list[UUID]:
        """One step: abort those whose holders were not heard of for their lease. Which those are."""
        now_ns = self._clock.boot_ns()
        with self._lock:
            late = [each for each, held in self._held.items() if held.ending is None and held.deadline_ns < now_ns]
        for transaction in late:
            self.abort(transaction)
        return late

    def state(self, transaction: UUID) -> TransactionState | None:
        """Where it stands. None: it was never begun, or ended so long ago that it was forgotten."""
        record = self._catalog.transaction(transaction)
        if record is not None and record.state is not TransactionState.OPEN:
            return record.state
        held = self._held.get(transaction)
        if held is None:
            return None if record is None else record.state
        return held.ending or TransactionState.OPEN

    def streams(self, transaction: UUID) -> Sequence[str]:
        """The streams that a transaction is of. Raises UnknownTransactionError."""
        record = self._catalog.transaction(transaction)
        if record is not None:
            return [self._catalog.by_number[shadow.stream].name for shadow in record.shadows]
        held = self._held.get(transaction)
        if held is None:
            raise _unknown(transaction)
        return held.streams

    def _open(self, transaction: UUID) -> _Held:
        held = self._held.get(transaction)
        if held is not None and held.ending is None:
            return held
        state = self.state(transaction)
        if state is None:
            raise _unknown(transaction)
        raise TransactionEndedError(f"transaction {transaction} is {state.name.lower()}: begin another")

    def _ending(self, transaction: UUID, ending: TransactionState) -> _Held | None:
        """Mark it as one whose end waits. None: it has ended."""
        with self._lock:
            held = self._held.get(transaction)
            if held is None and self._catalog.transaction(transaction) is None:
                raise _unknown(transaction)
            if held is not None:
                held.ending = held.ending or ending
            return held

    def _end(self, transaction: UUID, held: _Held | None, take: Take, size_bytes: int, brings_bytes: int = 0) -> Ticket:
        try:
            ticket = self._submit(take, size_bytes, brings_bytes=brings_bytes)
        except BaseException:
            if held is not None:
                held.ending = None
            raise
        ticket.on_done(lambda _: self._settled(transaction))
        return ticket

    def _settled(self, transaction: UUID) -> None:
        """Its end, or its beginning, was decided: it is as the tables say."""
        with self._lock:
            held = self._held.get(transaction)
            if transaction not in self._catalog.open_transactions:
                self._held.pop(transaction, None)
            elif held is not None:
                held.ending = None


def _held_bytes(catalog: Catalog, record: TransactionRecord) -> int:
    shadows = {shadow.number for shadow in record.shadows}
    return sum(segment.length for key, segment in catalog.segments.items() if key.stream in shadows)


def _is_open(record: TransactionRecord | None) -> bool:
    return record is not None and record.state is TransactionState.OPEN


def _unknown(transaction: UUID) -> UnknownTransactionError:
    return UnknownTransactionError(f"there is no transaction {transaction}, or it ended long ago: begin one")
