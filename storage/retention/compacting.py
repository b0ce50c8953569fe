"""Gives space back where a generation can't go whole: what is dead in it is deleted, and the family is compacted.

Bounded steps: some thousand keys in a commit, or one family compacted. Nothing rests on the deletions: what they
delete lies below its segment's start.
"""

from __future__ import annotations

from collections.abc import Callable

from storage import keys
from storage.catalog import Catalog
from storage.committer import Committer
from storage.errors import DamagedBlockError
from storage.group import Group
from storage.kv.contract import KeyValueStore
from storage.model import Receipt
from storage.records import FamilyRecord
from storage.ticket import Ticket

KEYS_AT_ONCE = 5000
WORTH_BYTES = 1 << 20
"""Less is not worth a compaction."""


class Compactor:
    """Looks for generations that are mostly dead."""

    def __init__(
        self,
        kv: KeyValueStore,
        catalog: Catalog,
        committer: Committer,
        wait: Callable[[Ticket], bool],
        worth_bytes: int,
    ) -> None:
        self._kv = kv
        self._catalog = catalog
        self._committer = committer
        self._wait = wait
        self._worth_bytes = worth_bytes
        self._dead_before: dict[str, int] = {}
        """Offsets that were dead in a family when it was last compacted."""
        self._open: FamilyRecord | None = None

    def step(self) -> str | None:
        """Delete some of what is dead in one generation, or compact it once all of it is. The name of one compacted."""
        family = self._open or self._choose()
        if family is None or family.name not in self._catalog.families:
            self._open = None
            return None
        self._open = family
        dead = self._dead_keys(family)
        if dead:
            self._delete(family, dead)
            return None
        self._open = None
        self._dead_before[family.name] = self._dead_offsets(family)
        size = self._committer.generations.measure(family.name)
        if self._committer.budget.missing(size):
            return None
        with self._committer.budget.held(size):
            try:
                self._kv.compact_family(family.name)
            except DamagedBlockError:
                return None  # What is left of it is read as it is.
        self._committer.generations.measure(family.name)
        return family.name

    def _choose(self) -> FamilyRecord | None:
        """The generation whose compaction gives most back, None where none is worth it."""
        best: tuple[float, FamilyRecord] | None = None
        for family in list(self._catalog.families.values()):
            if family.kind != "telemetry":
                continue
            size = self._committer.generations.bytes_of(family.name)
            held = sum(end - first for _, first, end in self._catalog.segments_in(family.number))
            reclaimed = self._dead_before.get(family.name, 0)
            fresh = self._dead_offsets(family) - reclaimed
            gain = size * fresh / max(1, held - reclaimed)
            if gain >= max(self._worth_bytes, size / 2) and (best is None or gain > best[0]):
                best = (gain, family)
        return None if best is None else best[1]

    def _dead_offsets(self, family: FamilyRecord) -> int:
        dead = 0
        for key, first, end in self._catalog.segments_in(family.number):
            record = self._catalog.segments.get(key)
            dead += 0 if record is None else max(0, min(end, record.start) - first)
        return dead

    def _dead_keys(self, family: FamilyRecord) -> list[bytes]:
        found: list[bytes] = []
        for key, first, _ in self._catalog.segments_in(family.number):
            record = self._catalog.segments.get(key)
            start = keys.block(key, first)
            while record is not None and len(found) < KEYS_AT_ONCE:
                items = self._kv.scan(family.name, start, keys.block(key, record.start), limit=KEYS_AT_ONCE)
                if not items:
                    break
                found += [item for item, _ in items]
                start = found[-1] + b"\0"
        return found

    def _delete(self, family: FamilyRecord, dead: list[bytes]) -> None:
        def take(group: Group, ticket: Ticket) -> None:
            if family.name in self._catalog.families:
                group.deletions += [(family.name, key) for key in dead]
            group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))

        self._wait(self._committer.submit(Ticket(self._committer), take, 0, urgent=True))
