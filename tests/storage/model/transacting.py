"""Rules of transactions: over one stream or two, over scales, restarts and leases."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from storage import Ticket
from storage.errors import TransactionEndedError, UnknownTransactionError
from tests.storage.model.bench import InFlight, survives
from tests.storage.model.semantics import OPEN
from tests.storage.model.submissions import Abort, Append, Begin, Commit, Put, Submission
from tests.storage.model.writing import Writing, counts, keys, sizes

writers = st.sampled_from([None, None, "w", "x"])


class What(NamedTuple):
    """What is put into a transaction: of its streams one, of its writers one or none."""

    transaction: int
    stream: int
    key: str
    events: int
    size: int
    writer: str | None
    commit: bool


several = st.lists(
    st.builds(What, st.integers(0, 3), st.integers(0, 1), keys, counts, sizes, writers, st.booleans()),
    min_size=1,
    max_size=6,
)
LEASE_S = 25.0
MOST_OPEN = 4


class Transacting(Writing):
    """Their holders vanish, come back, ask twice."""

    def __init__(self) -> None:
        self.deadlines: dict[UUID, int] = {}
        self.doubtful: set[UUID] = set()
        """What was in flight to them when the power went may be in them or not: they are to be aborted."""
        super().__init__()

    def come_back(self) -> None:
        self.doubtful |= {each.submission.transaction for each in self.in_flight if isinstance(each.submission, Put)}
        super().come_back()
        now_ns = self.clock.boot_ns()
        self.deadlines = {each: now_ns + int(LEASE_S * 1e9) for each in self.deadlines}
        for each in self.transactions:
            if each in self.doubtful and self.store.transaction_state(each) is OPEN:
                self.queue(Abort(each), lambda each=each: self.store.abort_transaction(each))  # type: ignore[misc]

    def queue(self, submission: Begin | Put | Commit | Abort, call: Callable[[], Ticket]) -> None:
        """Queue a step of a transaction. One that has ended, or whose end waits, says so at once."""
        before = self.expected().transactions.get(submission.transaction)
        ending = any(self.ends(each.submission, submission.transaction) for each in self.in_flight)
        try:
            self.in_flight.append(InFlight(submission, call()))
        except (UnknownTransactionError, TransactionEndedError):
            assert ending or before is None or before.state is not OPEN

    @staticmethod
    def ends(submission: Submission, transaction: UUID) -> bool:
        return isinstance(submission, Commit | Abort) and submission.transaction == transaction

    def open_ones(self) -> list[UUID]:
        expected = self.expected().transactions
        return [each for each in self.transactions if each in expected and expected[each].state is OPEN]

    def note_heard(self, transaction: UUID) -> None:
        self.deadlines[transaction] = self.clock.boot_ns() + int(LEASE_S * 1e9)

    @rule(which=st.sampled_from([("a",), ("a",), ("a", "b/c"), ("b/c", "a"), ("d",)]), puts=several)
    @survives
    def begin(self, which: tuple[str, ...], puts: list[What]) -> None:
        if not set(which) <= set(self.names()) or len(self.open_ones()) >= MOST_OPEN:
            return
        transaction = UUID(int=len(self.transactions) + 1)
        self.transactions.append(transaction)
        self.note_heard(transaction)
        self.queue(Begin(transaction, which), lambda: self.store.transactions.begin(transaction, which, LEASE_S))
        for what in puts:
            self.put_one(transaction, what)

    @precondition(lambda self: self.open_ones())
    @rule(puts=several)
    @survives
    def put(self, puts: list[What]) -> None:
        for what in puts:
            if candidates := [each for each in self.open_ones() if each not in self.doubtful]:
                self.put_one(candidates[what.transaction % len(candidates)], what)

    def put_one(self, transaction: UUID, what: What) -> None:
        expected = self.expected()
        if transaction not in expected.transactions:
            return
        names = list(expected.transactions[transaction].then)
        name = names[what.stream % len(names)]
        first = 0
        if what.writer is not None:
            last = expected.streams[name].numbers.get(what.writer, -1)
            first = 1 + expected.transactions[transaction].numbers.get((name, what.writer), (0, last))[1]
        numbers = [None if what.writer is None else first + i for i in range(what.events)]
        said = [self.event(what.key, what.size, what.writer, number) for number in numbers]
        append = Append(name, said)
        encoded = self.encoded(append)
        if not any(self.ends(each.submission, transaction) for each in self.in_flight):
            self.note_heard(transaction)
        self.queue(Put(transaction, [append]), lambda: self.store.submit_to_transaction(transaction, [encoded]))
        if what.commit:
            self.store.commit()
            self.settle()

    @precondition(lambda self: self.transactions)
    @rule(which=st.integers(0, 30), what=st.sampled_from(["commit", "commit", "commit", "abort"]), wait=st.booleans())
    @survives
    def end(self, which: int, what: str, wait: bool) -> None:
        """Mostly of one that is open; now and then of one that has ended."""
        candidates = self.open_ones() if which % 5 else self.transactions
        candidates = [each for each in candidates if each not in self.doubtful]
        if not candidates:
            return
        transaction = candidates[which % len(candidates)]
        if what == "abort":
            self.queue(Abort(transaction), lambda: self.store.abort_transaction(transaction))
        else:
            self.cursor += 1
            cursors = {"cursor": b"%d" % self.cursor}
            self.queue(Commit(transaction, cursors), lambda: self.store.commit_transaction(transaction, cursors))
        if wait:
            self.commit_all()

    @rule(seconds=st.sampled_from([0.001, 1.0, 20.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        """And leases with it."""
        self.clock.advance(seconds)
        self.expire()

    def expire(self) -> None:
        """Aborts those that are open, and not those whose commit waits."""
        now_ns = self.clock.boot_ns()
        ending = {each.submission.transaction for each in self.in_flight if isinstance(each.submission, Commit | Abort)}
        late = [each for each in self.open_ones() if self.deadlines[each] < now_ns and each not in ending]
        expired = self.store.expire_transactions()
        # One whose beginning waits, and will be refused, is none to the model, and may be given up all the same.
        known = self.expected().transactions
        assert sorted(each for each in expired if each in known) == sorted(late)
        for each in late:
            self.queue(Abort(each), lambda each=each: self.store.abort_transaction(each))  # type: ignore[misc]

    def look_at_segments(self) -> None:
        super().look_at_segments()
        waiting = {getattr(each.submission, "transaction", None) for each in self.in_flight}
        for each in self.transactions:
            known = self.model.transactions.get(each)
            if each not in waiting:
                assert self.store.transaction_state(each) == (None if known is None else known.state)
