"""The committer: the step that makes what waits in the queue durable as one commit."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import UUID

from storage.bulk.chunks import CHUNK_BYTES
from storage.catalog import Catalog
from storage.chain import CommitRecord
from storage.clock import Clock
from storage.errors import (
    StorageError,
    StoreBusyError,
    StoreClosedError,
    StoreFailedError,
    StoreFullError,
)
from storage.generations import Generations
from storage.group import Group
from storage.joining import Joined
from storage.kv.contract import Batch, KeyValueStore
from storage.model import Receipt
from storage.queue import Queue, Submission, Take
from storage.records import NodeRecord
from storage.retention.budget import DiskBudget, Sizes
from storage.ticket import Ticket
from storage.trace import Trace
from storage.witness import Witness

GROUP_BYTES = 8 << 20
"""One commit takes about this much; what comes after waits for the next."""
GENERATION_BYTES = 64 << 20
"""A generation that holds this much is followed by a fresh one, unless much is stored already (`Generations.begin`)."""
SETTLED_BYTES = 128 << 20
"""So many bytes after a commit, the engine has long moved it out of its log, which it keeps below a quarter of that."""

CHANGE_S = 10.0
"""So long whoever asked for a change of streams or segments waits for it to be durable."""
_ROOM_ROUNDS = 16
"""So often one step gives something up before it lets others work."""


def _no_room(missing: int) -> Take | str | None:
    return f"the disk limit is reached: {missing} bytes more are needed"


@dataclass(slots=True)
class _Pending:
    """A commit that is built, but not yet durable. It is written with the same bytes however often it takes."""

    group: Group
    batch: Batch
    record: CommitRecord
    submissions: Sequence[Submission]
    written: bool = False
    urgent: bool = False


class Committer:
    """Owns the order of commits. `commit` is its only step; one call at a time."""

    def __init__(
        self, kv: KeyValueStore, catalog: Catalog, clock: Clock, trace: Trace, *, store: UUID, last: CommitRecord | None
    ) -> None:
        self._kv = kv
        self._catalog = catalog
        self._clock = clock
        self._trace = trace
        self._store = store
        self.opening = 0 if catalog.node is None else catalog.node.opening
        self.last_commit = 0 if last is None else last.number
        self._last_checksum = 0 if last is None else last.checksum
        self._queue = Queue()
        self._pending: _Pending | None = None
        self.failed: StorageError | None = None
        self._step = threading.Lock()
        self._committed = threading.Condition()
        self._resolved = threading.Condition()
        self.owned = False
        self.blocked: str | None = None
        self.budget = DiskBudget(None, Sizes(), kv.disk_bytes, kv.unflushed_bytes)
        self.make_room: Callable[[int], Take | str | None] = _no_room
        """Asked when the budget says that so many bytes are missing: what to give up, or why nothing can be."""
        self.generations = Generations(kv, catalog)
        self._settling: deque[tuple[int, int]] = deque()
        self._witness = Witness(kv.witness, store, clock.boot_id)
        self._written_bytes = 0
        """Through the engine's log."""
        self._bulk_bytes = 0

    # producers

    def submit(
        self, ticket: Ticket, take: Take, size_bytes: int, *, brings_bytes: int = 0, urgent: bool = False
    ) -> Ticket:
        """Queue a submission. Raises StoreBusyError with nothing taken, or what ended the store.

        `size_bytes` is what it holds in the queue; `brings_bytes`, where that is more, what it makes readable: a commit goes
        upstream in one piece, so both bound what is put into one. What gives space back is `urgent`: it goes first, in a
        commit of its own, whatever the budget says.
        """
        submission = Submission(ticket, take, size_bytes, max(size_bytes, brings_bytes))
        with self._queue.changed:
            if self.failed is not None:
                raise self.failed
            if urgent:
                self._queue.add_urgent(submission)
            elif not self._queue.add(submission):
                why = f": {self.blocked}" if self.blocked else ""
                raise StoreBusyError(f"{self.waiting} appends wait to be written{why}. Nothing was taken: try again")
        return ticket

    def join(self, joined: Joined, payload: bytes) -> bool:
        """Let one more event join those that wait. False: they are not the newest in the queue (any more), or it is full."""
        return self.failed is None and self._queue.join(joined, payload)

    @property
    def waiting(self) -> int:
        return self._queue.appends

    @property
    def written_bytes(self) -> int:
        """Bytes of all commits since the store was opened, and of what they put into chunks."""
        return self._written_bytes + self._bulk_bytes

    def wait_for_work(self, timeout_s: float) -> bool:
        """Wait until something is queued. While commits are blocked, wait the whole time: trying again soon is no use."""
        with self._queue.changed:
            if not self._queue.urgent and (self.blocked is not None or (self._queue.empty and self.failed is None)):
                self._queue.changed.wait(timeout_s)
            return not self._queue.empty or self._pending is not None

    def wait_for_commit(self, after: int, timeout_s: float) -> int:
        with self._committed:
            if self.last_commit <= after and self.failed is None:
                self._committed.wait(timeout_s)
            return self.last_commit

    def drive(self) -> bool:
        """For tickets: take a step where nobody at the top does."""
        return False if self.owned else self.commit()

    def durable(self, ticket: Ticket, otherwise: str) -> Receipt:
        """What `ticket` resolves to. Raises StoreFullError or StoreBusyError, with `otherwise`, where that takes too long."""
        try:
            return ticket.result(CHANGE_S)
        except TimeoutError as error:
            why = self.blocked
            text = f"{otherwise} within {CHANGE_S:g} s: {why or 'much else is being written'}. It is still queued"
            if why is None:
                raise StoreBusyError(f"{text}; try again") from error
            raise StoreFullError(f"{text}, and goes on by itself once there is room") from error

    def wait_for_outcomes(self, ticket: Ticket, timeout_s: float) -> None:
        """For tickets: wait until `ticket` is resolved, at most `timeout_s`."""
        with self._resolved:
            if not ticket.done():
                self._resolved.wait(timeout_s)

    # the step

    def commit(self) -> bool:
        """Make durable what waits. False where nothing did, or where it can't be now (`blocked` says why)."""
        with self._step:
            if self.failed is not None:
                self._refuse_all(self.failed)
                return False
            pending = self._next()
            if pending is None:
                return False
            if pending.group.empty:
                group = pending.group
                group.outcomes = [(ticket, r._replace(commit=self.last_commit)) for ticket, r in group.outcomes]
                self._acknowledge(group)
                return True
            self._pending = pending
            if not (self._prepare(pending) and self._persist(pending)):
                return False
            self._publish(pending)
            return True

    def _next(self) -> _Pending | None:
        """The commit that is to be written now: one that gives up something where the budget has no room for more."""
        for _ in range(_ROOM_ROUNDS):
            if self._queue.urgent and self._pending is not None and not self._pending.written:
                self._put_back(self._pending)
            pending = self._pending or self._build()
            if pending is None or pending.group.empty or pending.written or pending.urgent:
                return pending
            missing = self.budget.missing(pending.batch.size_bytes, pending.group.bulk.size_bytes)
            if not missing:
                return pending
            self._put_back(pending)
            given_up = self.make_room(missing)
            if given_up is None:
                continue
            if isinstance(given_up, str):
                self.blocked = given_up
                return None
            self._queue.add_urgent(Submission(Ticket(self), given_up, 0, 0))
            pending = self._build()
            if pending is None or pending.group.empty:
                continue
            self._pending = pending
            if not (self._prepare(pending) and self._persist(pending)):
                return None
            self._publish(pending)
        return None

    def _put_back(self, pending: _Pending) -> None:
        """Take a commit apart that was not written: what is in it goes to the head of the queue."""
        self._pending = None
        self._queue.put_back(pending.submissions)

    def _build(self) -> _Pending | None:
        urgent, submissions = self._queue.next(min(GROUP_BYTES, self.budget.sizes.group))
        if not submissions:
            return None
        self._trace("commit.building", {"commit": self.last_commit + 1, "submissions": len(submissions)})
        group = Group(
            self._catalog, self._clock, store=self._store, opening=self.opening, number=self.last_commit + 1,
            previous=self._last_checksum,
            into=self.generations.begin(self.last_commit + 1, GENERATION_BYTES, self.budget.sizes.generation),
            chunk_bytes=min(CHUNK_BYTES, self.budget.sizes.generation),
        )  # fmt: skip
        for submission in submissions:
            try:
                submission.take(group, submission.ticket)
            except StorageError as error:
                submission.ticket.resolve(error)
        submissions = [submission for submission in submissions if not submission.ticket.done()]
        if group.empty:
            return _Pending(group, Batch(), CommitRecord(0, 0, 0, group.boot, 0, 0, ()), submissions)
        self._settle(group)
        batch, record = group.finish()
        return _Pending(group, batch, record, submissions, urgent=urgent)

    def _prepare(self, pending: _Pending) -> bool:
        """Make the generations that this commit names first. False where it can't be now."""
        try:
            for name in () if pending.written else pending.group.into.created:
                self._kv.create_family(name)
                self._trace("generation.created", {"family": name})
        except (StoreFullError, StoreBusyError) as error:
            self.blocked = str(error)
            return False
        except (StoreFailedError, StoreClosedError) as error:
            self._fail(error)
            return False
        return True

    def _drop_families(self, group: Group) -> None:
        """Let go of the generations whose end this commit made durable. What stays of them, the next opening drops.

        The commit is durable whatever becomes of this: it has to be published, or the next would take its number.
        """
        for family in group.changes.gone_families:
            self._trace("generation.dropping", {"family": family.name})
            self.generations.forget(family.name)
            try:
                self._kv.drop_family(family.name)
            except StorageError as error:
                self._trace("generation.drop_failed", {"family": family.name, "why": str(error)})

    def _settle(self, group: Group) -> None:
        """Move the mark behind which opening need not look for holes in the chain."""
        settled = None
        while self._settling and self._written_bytes - self._settling[0][1] >= self._settled_bytes:
            settled = self._settling.popleft()[0]
        if settled is not None and group.changes.node is None:
            node = self._catalog.node or NodeRecord(self._store, self.opening, 0)
            group.changes.node = replace(node, opening=self.opening, verified=settled)

    @property
    def _settled_bytes(self) -> int:
        return min(SETTLED_BYTES, self.budget.sizes.settled)

    def _persist(self, pending: _Pending) -> bool:
        try:
            if not pending.written:
                pending.group.bulk.persist(self._kv.chunks, self._trace)
                self._trace("commit.writing", {"commit": pending.record.number})
                self._kv.write(pending.batch)
                pending.written = True
            self._trace("commit.written", {"commit": pending.record.number})
            self._kv.sync()
        except (StoreFullError, StoreBusyError) as error:
            self.blocked = str(error)
            return False
        except (StoreFailedError, StoreClosedError) as error:
            self._fail(error)
            return False
        self._trace("commit.synced", {"commit": pending.record.number})
        self.blocked = None
        return True

    def _publish(self, pending: _Pending) -> None:
        """Make known what is on disk. Where that fails no other commit may follow: it would take the same number."""
        try:
            self._take_over(pending)
        except Exception as error:
            self._fail(
                StoreFailedError(
                    f"commit {pending.record.number} is on disk, but could not be made known ({error}): open the store again"
                )
            )
            raise
        self._pending = None
        self._acknowledge(pending.group)

    def _take_over(self, pending: _Pending) -> None:
        record, group = pending.record, pending.group
        self._catalog.apply(group.changes)
        self._last_checksum = record.checksum
        self.generations.written(pending.batch.puts)
        self._drop_families(group)
        group.bulk.unlink_given_up(self._kv.chunks, self._trace)
        size = pending.batch.size_bytes
        self.budget.written(size, group.bulk.size_bytes)
        if not self._settling or self._written_bytes + size - self._settling[-1][1] >= self._settled_bytes // 16:
            self._settling.append((record.number, self._written_bytes))
        self._written_bytes += size
        self._bulk_bytes += group.bulk.size_bytes
        if group.changes.node is not None:
            self.opening = group.changes.node.opening
        self._witness.note(self.opening, record.number, group.changes.segments)
        with self._committed:
            self.last_commit = record.number
            self._committed.notify_all()

    def _acknowledge(self, group: Group) -> None:
        for ticket, receipt in group.outcomes:
            ticket.resolve(receipt)
        self._tell_waiters()

    def _tell_waiters(self) -> None:
        with self._resolved:
            self._resolved.notify_all()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No commit is taken inside."""
        with self._step:
            yield

    # the end

    def close(self) -> None:
        """Refuse what still waits. Nothing that was acknowledged depends on it."""
        with self._step:
            if self._pending is None:
                self._witness.close()
            self._fail(StoreClosedError("the store was closed before this was on disk"))

    def _fail(self, error: StorageError) -> None:
        self.failed = error
        self.blocked = str(error)
        pending, self._pending = self._pending, None
        if pending is not None:
            for ticket, _ in pending.group.outcomes:
                ticket.resolve(error)
        self._refuse_all(error)
        with self._committed:
            self._committed.notify_all()

    def _refuse_all(self, error: StorageError) -> None:
        for submission in self._queue.clear():
            submission.ticket.resolve(error)
        self._tell_waiters()

    def refuse_to_open(self) -> None:
        """For opening: the first commit could not be written. Raises what stands in its way."""
        raise self.failed or StoreFullError(self.blocked or "the first commit of this opening could not be written")
