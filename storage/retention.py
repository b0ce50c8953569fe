"""What a store gives up, when, and why: the one place that decides it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from storage import drops
from storage.catalog import Catalog, StreamRecord
from storage.committer import Committer
from storage.errors import ConditionFailedError
from storage.group import Group
from storage.kv.contract import KeyValueStore
from storage.model import Position, Receipt
from storage.ticket import Ticket
from storage.truncating import Cut, cuts_of, take_cuts


class Retention:
    """Truncates, retires generations that hold nothing, and makes room."""

    def __init__(self, kv: KeyValueStore, catalog: Catalog, committer: Committer) -> None:
        self._kv = kv
        self._catalog = catalog
        self._committer = committer
        self.confirmed: Mapping[str, int] = {}
        """By stream that an upstream wants: the commit up to which all of them hold it."""

    def truncate(self, stream: StreamRecord, positions: Iterable[Position]) -> bool:
        """Give up what lies before the positions, durable when it returns. False: nothing."""
        asked = list(positions)
        while True:
            cuts = cuts_of(self._kv, self._catalog, stream, asked, self.confirmed.get(stream.name))
            if not cuts:
                return False
            try:
                self._submit(cuts, drops.REQUEST).result()
            except ConditionFailedError:
                continue
            return True

    def _submit(self, cuts: list[Cut], reason: str) -> Ticket:
        def take(group: Group, ticket: Ticket) -> None:
            take_cuts(group, cuts, reason)
            group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))

        return self._committer.submit(Ticket(self._committer), take, 0)
