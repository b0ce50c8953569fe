"""What a store gives up, when, and why: the one place that decides it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from storage import drops
from storage.budget import DiskBudget, Sizes
from storage.catalog import Catalog, FamilyRecord, StreamRecord
from storage.committer import Committer
from storage.errors import ConditionFailedError
from storage.group import Group
from storage.kv.contract import KeyValueStore
from storage.model import Position, Receipt
from storage.retiring import dead_chain, dead_generations, needed_from, take_gone
from storage.room import Bounds, Room
from storage.ticket import Ticket
from storage.truncating import Cut, cuts_of, take_cuts

SMALL_BYTES = 1 << 20
"""A generation that is still written to is not given up for less."""


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """What one step did. `retired`: the generations that went."""

    retired: tuple[str, ...] = ()


class Retention:
    """Truncates, retires generations that hold nothing, and makes room under the disk limit."""

    def __init__(
        self,
        kv: KeyValueStore,
        catalog: Catalog,
        committer: Committer,
        limit_bytes: int | None,
        used: Callable[[], int],
    ) -> None:
        """`used` says how many bytes everything takes on disk now."""
        self._kv = kv
        self._catalog = catalog
        self._committer = committer
        self._room = Room(kv, catalog, committer.generations, limit_bytes or 0)
        committer.budget = DiskBudget(limit_bytes, Sizes.under(limit_bytes), used, kv.unflushed_bytes)
        committer.make_room = self._room.choose

    @property
    def bounds(self) -> Bounds:
        """What upstreams have confirmed and consumers have read."""
        return self._room.bounds

    def truncate(self, stream: StreamRecord, positions: Iterable[Position]) -> bool:
        """Give up what lies before the positions, durable when it returns. False: nothing."""
        asked = list(positions)
        while True:
            cuts = cuts_of(self._kv, self._catalog, stream, asked, self.bounds.confirmed.get(stream.name))
            if not cuts:
                return False
            try:
                self._submit(cuts, drops.REQUEST).result()
            except ConditionFailedError:
                continue
            return True

    def retain(self, confirmed: Mapping[str, int], consumed: Mapping[str, Sequence[Position]]) -> RetentionReport:
        """One bounded step: take over what is confirmed and read, give up what streams' retention says, free its space.

        `confirmed` has every stream that an upstream wants, with the commit up to which all of them hold it (0: not
        known yet). `consumed` has every stream that consumers read, with the first position of each segment that one of
        them has yet to read.
        """
        self._room.bounds = Bounds(
            dict(confirmed),
            {name: {(p.number, p.epoch): p.offset for p in positions} for name, positions in consumed.items()},
        )
        return RetentionReport(tuple(self.retire()))

    def retire(self, *, everything: bool = False) -> list[str]:
        """Drop the generations that hold nothing any more. The names of those that went, durable when it returns.

        One that is still written to goes only where it is large, or with `everything`: making a fresh one costs time.
        """
        gone = [f for f in dead_generations(self._catalog) if everything or self._worth_it(f)]
        gone += dead_chain(self._catalog, needed_from(self._catalog, self.bounds.confirmed))
        if gone:

            def take(group: Group, ticket: Ticket) -> None:
                take_gone(group, gone)
                group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))

            self._committer.submit(Ticket(self._committer), take, 0, urgent=True).result()
        return [family.name for family in gone if family.name not in self._catalog.families]

    def _worth_it(self, family: FamilyRecord) -> bool:
        newest = self._catalog.newest_family(family.kind, family.group)
        return family != newest or self._committer.generations.bytes_of(family.name) >= SMALL_BYTES

    def _submit(self, cuts: list[Cut], reason: str) -> Ticket:
        def take(group: Group, ticket: Ticket) -> None:
            take_cuts(group, cuts, reason)
            group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))

        return self._committer.submit(Ticket(self._committer), take, 0, urgent=True)
