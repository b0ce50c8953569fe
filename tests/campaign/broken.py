"""Stores with one promise broken on purpose: what the campaign must notice.

unsynced        a commit is called durable without a sync of the log
early           acknowledged before anything is written
loose chunks    chunks are not synced before the pointers to them are written
soon unlinked   chunks are unlinked before the commit that gives them up
halves          of a transaction only the first stream's share becomes readable
numbers         writers' numbers are ignored
unconditional   conditional appends are not judged
too far         truncation goes on to the end of the commit that it was to begin with
unconfirmed     retention takes what upstream has not confirmed
uncounted       what is given up is not counted
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from storage.bulk.chunks import ChunkDirectory, ChunkFiles
from storage.bulk.writes import BulkWrites
from storage.committer import Committer, _Pending
from storage.group import Group
from storage.model import Append
from storage.reading import SegmentScan
from storage.records import StreamRecord
from storage.retention import steps, truncating
from storage.retention.drops import Dropped, Drops
from storage.trace import Trace
from storage.transactions import taking


def break_sync() -> None:
    def persist(self: Committer, pending: _Pending) -> bool:
        pending.group.bulk.persist(self._kv.chunks, self._trace)
        for step in ("commit.writing", "commit.written", "commit.synced"):
            self._trace(step, {})
            if step == "commit.writing":
                self._kv.write(pending.batch)
        return True

    Committer._persist = persist  # type: ignore[method-assign]


def break_acknowledgement() -> None:
    persist = Committer._persist

    def acknowledge_first(self: Committer, pending: _Pending) -> bool:
        if not pending.group.changes.streams:
            # A stream that is not there yet would stop the load itself.
            self._acknowledge(pending.group)
        return persist(self, pending)

    Committer._persist = acknowledge_first  # type: ignore[method-assign]


def break_chunks() -> None:
    def sync(self: ChunkDirectory, numbers: Iterable[int]) -> None:
        pass

    ChunkDirectory.sync = sync  # type: ignore[method-assign]


def break_unlinking() -> None:
    persist = BulkWrites.persist

    def unlink_first(self: BulkWrites, chunks: ChunkFiles, trace: Trace) -> None:
        self.unlink_given_up(chunks, trace)
        persist(self, chunks, trace)

    BulkWrites.persist = unlink_first  # type: ignore[method-assign]


def break_transactions() -> None:
    shadows = taking._shadows

    def first(group: Group, record: object) -> object:
        return shadows(group, record)[:1]  # type: ignore[arg-type]

    take_commit = taking.take_commit

    def take_half(*args: object) -> None:
        taking._shadows = first  # type: ignore[assignment]
        try:
            take_commit(*args)  # type: ignore[arg-type]
        finally:
            taking._shadows = shadows

    from storage.transactions import transactions

    transactions.take_commit = take_half  # type: ignore[assignment, attr-defined]


def break_numbers() -> None:
    def last_number(self: Group, stream: StreamRecord, writer: str) -> int | None:
        return None

    Group.last_number = last_number  # type: ignore[method-assign]


def break_conditions() -> None:
    plan = Group._plan

    def unconditional(self: Group, append: Append, *rest: object) -> object:
        return plan(self, append._replace(expected_length=None), *rest)  # type: ignore[arg-type]

    Group._plan = unconditional  # type: ignore[method-assign, assignment]


def break_truncation() -> None:
    commit_start = truncating.commit_start

    def onward(scan: SegmentScan, offset: int, *, onward: bool = False) -> int:
        return commit_start(scan, offset, onward=True)

    truncating.commit_start = onward


def break_retention() -> None:
    def all_sent(scan: SegmentScan, stream: StreamRecord, confirmed: int | None) -> int:
        return scan.record.length

    steps.sent_before = all_sent  # type: ignore[attr-defined]


def break_counting() -> None:
    def plus(self: Drops, reason: str, dropped: Dropped) -> Drops:
        return self

    Drops.plus = plus  # type: ignore[method-assign]


BREAKS: dict[str, Callable[[], None]] = {
    "unsynced": break_sync,
    "early": break_acknowledgement,
    "loose chunks": break_chunks,
    "soon unlinked": break_unlinking,
    "halves": break_transactions,
    "numbers": break_numbers,
    "unconditional": break_conditions,
    "too far": break_truncation,
    "unconfirmed": break_retention,
    "uncounted": break_counting,
}
