"""Judges transactions: all of one is readable, in one piece in each segment, or nothing of it, and it ended as was asked."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from uuid import UUID

from storage import Position, SegmentStore
from storage.model import TransactionState
from tests.campaign.events import TRANSACTION, Identity, is_numbered
from tests.campaign.fresh import Fresh
from tests.campaign.journal import Acknowledged, Part
from tests.campaign.model import Model, Segment
from tests.campaign.reading import Reading
from tests.campaign.transactions import Open


class Transacted:
    """What became of each transaction. `settle` takes it over, once everything else was judged as well."""

    def __init__(self, store: SegmentStore, model: Model, now: Reading, fresh: Fresh) -> None:
        self._model = model
        self._now = now
        self._fresh = fresh
        self.problems: list[str] = []
        self._open: dict[int, Open] = {}
        committed: set[str] = set()
        for number, each in model.transactions.items():
            state = store.transaction_state(UUID(int=number))
            told = None if each.commit is None else model.told.get(each.commit, (None, None))[1]
            self._judge_state(number, each, state, told)
            if state is TransactionState.COMMITTED:
                committed.add(f"{TRANSACTION}{number}")
                self._judge_whole(number, each, told)
            if each.commit is not None:
                (fresh.there if state is TransactionState.COMMITTED else fresh.absent).add(each.commit)
            if state is TransactionState.OPEN:
                self._open[number] = each
        for identity, position in fresh.places.items():
            if identity.source.startswith(TRANSACTION) and identity.source not in committed:
                self._wrong(identity.source, f"{identity} is readable at {position}, and it was never committed")

    def _wrong(self, number: object, what: str) -> None:
        self.problems.append(f"transaction {number}: {what}")

    def settle(self) -> None:
        """Those that are open may still be ended: what was asked of them before is over."""
        for each in self._open.values():
            each.commit, each.aborting, each.expiring = None, False, False
        self._model.transactions = self._open

    def _judge_state(self, number: int, each: Open, state: TransactionState | None, told: Acknowledged | None) -> None:
        late = each.expiring and self._model.uptime_ns - each.touched_ns >= each.lease_s * 1e9
        if told is not None and state is not TransactionState.COMMITTED:
            self._wrong(number, f"was said to be committed by {told}, and is {state}")
        if each.aborted and state is not TransactionState.ABORTED:
            self._wrong(number, f"was said to be aborted, and is {state}")
        if state is TransactionState.COMMITTED and each.commit is None:
            self._wrong(number, "is committed, and nobody asked for that")
        if state is TransactionState.ABORTED and not each.aborting and not late:
            self._wrong(number, f"is aborted, and nobody asked for that within its lease of {each.lease_s} s")
        if state is None and each.put:
            self._wrong(number, "is forgotten, and something was put into it")

    def _judge_whole(self, number: int, each: Open, told: Acknowledged | None) -> None:
        places = self._fresh.places
        stood: dict[Segment, set[Position]] = {}
        for id_, part in self._in_it(each):
            identities = self._identities(part)
            there = [identity for identity in identities if identity in places]
            if len(there) < len(identities) and not self._fresh.may_be_gone(part.stream):
                if id_ in each.put:
                    self._wrong(number, f"{part} was put into it, and {len(there)} events of it are there")
                elif there and not is_numbered(part.source):
                    self._wrong(number, f"of {part}, in it or not, {len(there)} events are there")
            for position in map(places.__getitem__, there):
                stood.setdefault((part.stream, position.number, position.epoch), set()).add(position)
        for segment, positions in stood.items():
            for before, after in pairwise(sorted(positions)):
                if self._fresh.behind(segment[0], before) != after:
                    self._wrong(number, f"in {segment} something stands between {before} and {after} of it")
            commits = {self._commit_at(segment, position) for position in positions}
            if len(commits) != 1 or (told is not None and commits != {told.commit}):
                self._wrong(number, f"in {segment} it is of commits {commits}, its receipt says {told}")

    def _in_it(self, each: Open) -> list[tuple[int, Part]]:
        """What is in a transaction. Numbers that it may or may not have been given may be another's meanwhile."""
        sure = [(id_, part) for id_, part in each.parts.items() if id_ in each.put or not is_numbered(part.source)]
        commits = {commit for _, part in sure for commit in self._commits_of(part)}
        unsure = [(id_, part) for id_, part in each.parts.items() if (id_, part) not in sure]
        return sure + [(id_, part) for id_, part in unsure if self._commits_of(part) <= commits]

    def _commits_of(self, part: Part) -> set[int]:
        """The commits that made it visible."""
        positions = [
            self._fresh.places[identity] for identity in self._identities(part) if identity in self._fresh.places
        ]
        return {self._commit_at((part.stream, at.number, at.epoch), at) for at in positions}

    def _commit_at(self, segment: Segment, position: Position) -> int:
        entries = self._now.found[segment].entries
        return entries[bisect_right(entries, position.offset, key=lambda entry: entry.start) - 1].commit

    def _identities(self, part: Part) -> list[Identity]:
        """Its events, without those that the stream had before: their numbers said so, and they were not stored again."""
        safe = self._model.safe.get((part.stream, part.source), 0) if is_numbered(part.source) else 0
        numbers = range(max(part.first, safe), part.first + part.events)
        return [Identity(part.stream, part.source, number) for number in numbers]
