"""A transaction's steps, as parts of commits: it begins, takes appends, is committed or aborted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from uuid import UUID

from storage.errors import StorageError, StreamSealedError, TransactionEndedError, UnknownTransactionError
from storage.group import Group
from storage.kv.contract import KeyValueStore
from storage.model import STATE, Append, Receipt, StreamConfig, TransactionState
from storage.records import StreamRecord
from storage.scaling import own_stream
from storage.ticket import Ticket
from storage.transactions.burying import bury, delete_entries
from storage.transactions.placing import Placement
from storage.transactions.record import Shadow, TransactionRecord, shadow_stream

MAX_OPEN = 1000
"""Transactions open at once."""
MAX_REMEMBERED = 10_000
"""Transactions that ended and can still be asked for by id."""


def take_begin(group: Group, ticket: Ticket, transaction: UUID, names: Sequence[str], lease_s: float) -> None:
    """Put a transaction's beginning into a commit. Raises what is wrong with it. One that is open stays as it is."""
    known = find(group, transaction)
    if known is not None:
        _must_be_open(known)
        group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))
        return
    streams = [own_stream(group, name) for name in dict.fromkeys(names)]
    check_streams(streams)
    if len(_open(group)) >= MAX_OPEN:
        raise StorageError(f"{MAX_OPEN} transactions are open: commit or abort some of them first")
    fresh = (shadow.number for record in group.changes.transactions.values() for shadow in record.shadows)
    number = max(group.catalog.newest_shadow, *fresh, 0)
    shadows = tuple(Shadow(stream.number, number + 1 + at, stream.epoch) for at, stream in enumerate(streams))
    record = TransactionRecord(transaction, TransactionState.OPEN, lease_s, shadows)
    group.changes.transactions[transaction] = record
    group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))


def check_streams(streams: Sequence[StreamRecord]) -> None:
    """Raises StorageError where these streams can't be written in one transaction, StreamSealedError."""
    if not streams:
        raise StorageError("a transaction needs at least one stream")
    for stream in streams:
        if stream.config.kind == STATE:
            raise StorageError(
                f"{stream.name!r} is of kind state: it changes by conditional appends, not in transactions"
            )
        if not stream.open_layout:
            raise StreamSealedError(f"{stream.name!r} was sealed: it can be read, and takes nothing more")
    first = streams[0]
    for stream in streams[1:]:
        if _policy(stream.config) != _policy(first.config):
            raise StorageError(
                f"{first.name!r} and {stream.name!r} can't be in one transaction: they have not the same when_full and "
                "priority, so a full disk would give up one half of it; give both the same"
            )


def _policy(config: StreamConfig) -> tuple[str, int]:
    return config.when_full, config.priority


def find(group: Group, transaction: UUID) -> TransactionRecord | None:
    """A transaction as it stands, this commit's changes included."""
    return group.changes.transactions.get(transaction) or group.catalog.transaction(transaction)


def _known(group: Group, transaction: UUID) -> TransactionRecord:
    record = find(group, transaction)
    if record is None:
        raise UnknownTransactionError(f"there is no transaction {transaction}, or it ended long ago: begin one")
    return record


def _must_be_open(record: TransactionRecord) -> None:
    if record.state is not TransactionState.OPEN:
        raise TransactionEndedError(f"transaction {record.id} was {record.state.name.lower()}: begin another")


def _open(group: Group) -> set[UUID]:
    still = set(group.catalog.open_transactions)
    for transaction, record in group.changes.transactions.items():
        (still.add if record.state is TransactionState.OPEN else still.discard)(transaction)
    return still


def _shadows(group: Group, record: TransactionRecord) -> list[tuple[StreamRecord, StreamRecord, int]]:
    """Each of a transaction's streams, the stream that its shadows make up, and the epoch that they are of."""
    fresh = {stream.number: stream for stream in group.changes.streams.values()}
    found = []
    for shadow in record.shadows:
        stream = fresh.get(shadow.stream) or group.catalog.by_number[shadow.stream]
        found.append((stream, shadow_stream(stream, shadow), shadow.epoch))
    return found


def take_append(group: Group, ticket: Ticket, transaction: UUID, appends: Sequence[Append], most_bytes: int) -> None:
    """Put appends to a transaction into a commit. Raises, with nothing taken, what its ticket is to raise."""
    record = _known(group, transaction)
    _must_be_open(record)
    shadows = {stream.name: shadow for stream, shadow, _ in _shadows(group, record)}
    size = sum(len(payload) for append in appends for frame in append.frames for payload in frame.payloads)
    for append in appends:
        if append.expected_length is not None:
            raise StorageError("a transaction takes no conditional append")
        if append.stream not in shadows:
            raise StorageError(f"transaction {transaction} is not of stream {append.stream!r}: name it when you begin")
    held = sum(group.length(shadow, layout) for shadow in shadows.values() for layout in shadow.layout)
    if held + size > most_bytes:
        raise StorageError(
            f"transaction {transaction} would hold {held + size} bytes: at most {most_bytes}; commit what is in it"
        )
    group.take(ticket, appends, {}, shadows)
    _, receipt = group.outcomes[-1]
    # Where it will stand is known once it is committed.
    group.outcomes[-1] = (ticket, receipt._replace(positions=(None,) * len(appends)))


def take_commit(
    kv: KeyValueStore, group: Group, ticket: Ticket, transaction: UUID, cursors: Mapping[str, bytes]
) -> None:
    """Put a transaction's commit into a commit. Raises, with nothing taken, what stands against it.

    The receipt has the position of each stream's first event, in the order in which the streams were named.
    """
    record = _known(group, transaction)
    if record.state is TransactionState.COMMITTED:
        group.outcomes.append((ticket, Receipt(record.ended, (), 0, 0)))
        return
    _must_be_open(record)
    placements = [Placement(kv, group, *each) for each in _shadows(group, record)]
    events = sum(placement.events for placement in placements)
    repeated = sum(placement.stored_before for placement in placements)
    if 0 < repeated < events:
        raise TransactionEndedError(
            f"transaction {transaction} holds {events} events, {repeated} of which are stored already, as their writers' "
            "numbers say: abort it, and send what is missing"
        )
    kept: set[int] = set()
    if repeated:
        receipt = Receipt(group.number, (None,) * len(placements), 0, events)
    else:
        for placement in placements:
            placement.check()
        positions = tuple(placement.place() for placement in placements)
        kept = {placement.shadow.number for placement in placements if placement.leads}
        receipt = Receipt(group.number, positions, events, 0)
    group.changes.cursors.update(cursors)
    _end(kv, group, record, TransactionState.COMMITTED, kept)
    group.outcomes.append((ticket, receipt))


def take_abort(kv: KeyValueStore, group: Group, ticket: Ticket, transaction: UUID) -> None:
    """Put a transaction's end into a commit: nothing of it is ever seen. Raises where it was committed."""
    record = _known(group, transaction)
    if record.state is TransactionState.COMMITTED:
        raise TransactionEndedError(f"transaction {transaction} was committed: it can't be aborted any more")
    if record.state is TransactionState.OPEN:
        _end(kv, group, record, TransactionState.ABORTED, set())
    group.outcomes.append((ticket, Receipt(record.ended or group.number, (), 0, 0)))


def _end(kv: KeyValueStore, group: Group, record: TransactionRecord, state: TransactionState, kept: set[int]) -> None:
    """Write down a transaction's end, and let go of the shadows that are not kept."""
    group.changes.transactions[record.id] = replace(record, state=state, ended=group.number)
    for _, shadow, _ in _shadows(group, record):
        group.changes.forgotten += [(shadow.number, each) for each in group.catalog.writers.get(shadow.number, {})]
        if shadow.number not in kept:
            group.withdraw(shadow.number)
            for layout in shadow.layout:
                delete_entries(kv, group, shadow.key(layout))
                bury(group, shadow.key(layout))
    ended = group.catalog.ended_transactions
    for oldest in islice(ended, max(0, len(ended) + 1 - MAX_REMEMBERED)):
        if oldest not in group.changes.gone_transactions:
            group.changes.gone_transactions.append(oldest)
