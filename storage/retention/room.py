"""Making room: what is given up when the disk limit is reached, and in which order.

First what nobody can miss: generations that hold nothing any more, and the chain as far as no upstream needs it. Then
by priority, the smaller number first; within it streams that are `drop-oldest` or `thin` before those that `block`; then
the oldest (of `thin` streams it is thinned first: `storage.retention.thinning`). A generation goes whole, with all that its
streams have in it. A bulk stream gives up its oldest chunk, with the rest of the commit that the chunk ends in; it is
not thinned. A stream that blocks gives up only what every upstream that wants it has confirmed and every consumer has
read, and nothing where no upstream wants it; one of kind `state` gives up nothing. So with `block` nothing that was
taken is lost; what is held is then said, and commits wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from storage import entry
from storage.bulk.chunks import ChunkRecord
from storage.catalog import Catalog
from storage.errors import DamagedBlockError
from storage.generations import Generations, holds_pointers, policy_of
from storage.group import Group
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.model import STATE, Receipt, StreamConfig
from storage.reading import SegmentScan
from storage.records import FamilyRecord
from storage.retention import drops
from storage.retention.forecast import Outlook
from storage.retention.retiring import dead_chain, dead_generations, needed_from, take_gone
from storage.retention.thinning import Thinning, thinnable
from storage.retention.truncating import Cut, commit_start, measure, take_cuts
from storage.ticket import Ticket
from storage.transactions.record import is_shadow

MOST_AT_ONCE = 4
"""Generations and chunks given up in one commit."""
CHAIN_SHARE = 8
"""Above this part of the limit the chain's oldest goes although an upstream is behind: the segments tell the same."""

Victim = FamilyRecord | ChunkRecord
"""What can be given up as a whole."""


@dataclass(slots=True)
class Bounds:
    """What may not be given up without a policy that says so.

    `confirmed`: by stream that some upstream wants, the commit up to which all of them hold it. `consumed`: by stream
    with consumers, up to where all of them have read each segment.
    """

    confirmed: Mapping[str, int] = field(default_factory=dict)
    consumed: Mapping[str, Mapping[tuple[int, int], int]] = field(default_factory=dict)


class Room:
    """Chooses what goes."""

    def __init__(
        self, kv: KeyValueStore, catalog: Catalog, generations: Generations, limit_bytes: int, generation_bytes: int
    ) -> None:
        self._kv = kv
        self._catalog = catalog
        self._generations = generations
        self._limit_bytes = limit_bytes
        self._generation_bytes = generation_bytes
        self._thinning: Thinning | None = None
        self.bounds = Bounds()

    def reserve(self) -> int:
        """What must stay free for the compaction of a thinned generation."""
        thin = any(family.group.startswith("thin/") for family in self._catalog.families.values())
        return self._generation_bytes * 5 // 4 if thin else 0

    def choose(self, missing: int) -> Callable[[Group, Ticket], None] | str | None:
        """What to put into a commit of its own so that `missing` bytes come free, or why nothing can be given up.

        None: something came free just now, without a commit.
        """
        if self._thinning is not None:
            if not self._thinning.done:
                return self._thinning.take
            name, self._thinning = self._thinning.family.name, None
            self._kv.compact_family(name)
            self._generations.measure(name)
            return None
        gone = dead_generations(self._catalog) + dead_chain(
            self._catalog, needed_from(self._catalog, self.bounds.confirmed)
        )
        gone = gone or self._surplus_chain()
        if gone:
            return _give_up((), gone)
        victims: list[Victim] = []
        freed = 0
        for victim in self._by_priority(MOST_AT_ONCE):
            if freed >= missing or len(victims) >= MOST_AT_ONCE:
                break
            if not self.may_go(victim):
                continue
            if isinstance(victim, FamilyRecord) and thinnable(self._catalog, victim):
                if victims:
                    break
                self._thinning = Thinning(self._kv, self._catalog, victim, self.bounds.confirmed)
                return self._thinning.take
            victims.append(victim)
            freed += self._bytes_of(victim)
        if not victims:
            return self._why_not(missing)
        return _give_up(self.cuts(victims), [v for v in victims if isinstance(v, FamilyRecord)])

    def outlook(self) -> Outlook:
        """What a full disk would mean as things stand."""
        reclaimable = sum(self._generations.bytes_of(family.name) for family in dead_generations(self._catalog))
        first: tuple[str, bool] | None = None
        for victim in self._by_priority():
            live = self.live(victim)
            felt = [
                key
                for key, end in live
                if not self._is_safe(victim, key, end) and key.stream in self._catalog.by_number
            ]
            if live and not felt:
                reclaimable += self._bytes_of(victim)
            if felt and first is None:
                stream = self._catalog.by_number[felt[0].stream]
                first = (stream.name, stream.config.when_full != "block")
        return Outlook(reclaimable, *(first or (None, False)))

    def _surplus_chain(self) -> list[FamilyRecord]:
        chain = [family for family in self._catalog.families.values() if family.kind == "chain"]
        if sum(self._generations.bytes_of(family.name) for family in chain) < self._limit_bytes // CHAIN_SHARE:
            return []
        return dead_chain(self._catalog, 1 << 62)[:1]

    def _by_priority(self, most_chunks: int | None = None) -> list[Victim]:
        """What can be given up, in that order; of each segment at most the oldest `most_chunks` chunks."""

        def order(victim: Victim) -> tuple[int, bool, bool, int, int, int]:
            if isinstance(victim, ChunkRecord):
                stream = self._catalog.owner(victim.segment.stream)
                config = StreamConfig() if stream is None else stream.config
                blocks = config.when_full == "block"
                return config.priority, blocks, True, 0, self._first_commit(victim), victim.number
            when_full, priority = policy_of(victim.group)
            thin = thinnable(self._catalog, victim)
            thinned = victim.thinned if thin else 0
            return priority, when_full == "block", not thin, thinned, victim.first, victim.number

        victims: list[Victim] = [
            family
            for family in self._catalog.families.values()
            if family.kind == "telemetry" and not holds_pointers(family.group)
        ]
        for segment in {chunk.segment for chunk in list(self._catalog.chunks.values())}:
            victims += self._catalog.chunks_of(segment)[:most_chunks]
        return sorted(victims, key=order)

    def _first_commit(self, chunk: ChunkRecord) -> int:
        """The commit of the oldest entry that leads to a chunk; 0 where it does not say."""
        found = SegmentScan(self._kv, self._catalog, chunk.segment).entry_at(chunk.first)
        try:
            return 0 if found is None else entry.head(found[1]).commit
        except DamagedBlockError:
            return 0

    def _bytes_of(self, victim: Victim) -> int:
        return victim.size_bytes if isinstance(victim, ChunkRecord) else self._generations.bytes_of(victim.name)

    def may_go(self, victim: Victim) -> bool:
        """Whether the policy of every stream in it allows to give it up as it is."""
        live = self.live(victim)
        return bool(live) and all(self._may_lose(victim, key, end) for key, end in live)

    def live(self, victim: Victim) -> list[tuple[SegmentKey, int]]:
        """`(segment, offset behind its last entry there)` of what is still readable in it."""
        if isinstance(victim, ChunkRecord):
            scan = SegmentScan(self._kv, self._catalog, victim.segment)
            readable = scan.record.start < victim.end
            return [(victim.segment, commit_start(scan, victim.end, onward=True))] if readable else []
        found = []
        for key, _, end in self._catalog.segments_in(victim.number):
            record = self._catalog.segments.get(key)
            if record is not None and record.start < end:
                placed = self._catalog.placed.get(key)
                # What a transaction's pointers lead to is felt where they stand.
                found.append((key, end) if placed is None else (placed.segment, placed.end))
        return found

    def cuts(self, victims: Sequence[Victim]) -> list[Cut]:
        """The truncations after which they hold nothing: one of each segment."""
        ends: dict[SegmentKey, int] = {}
        for victim in victims:
            for key, end in self.live(victim):
                ends[key] = max(end, ends.get(key, 0))
        return [measure(self._kv, self._catalog, key, end, self._sent(key)) for key, end in ends.items()]

    def _may_lose(self, victim: Victim, key: SegmentKey, end: int) -> bool:
        stream = self._catalog.by_number.get(key.stream)
        if is_shadow(key.stream) or (stream is not None and stream.config.kind == STATE):
            return False
        if stream is not None and stream.config.when_full != "block":
            return True
        return self._is_safe(victim, key, end)

    def _is_safe(self, victim: Victim, key: SegmentKey, end: int) -> bool:
        """Whether what a segment has in it, up to `end`, is held upstream and read by its consumers."""
        known = key.stream in self._catalog.by_number
        return known and self.is_confirmed(victim, key, end) and self.is_consumed(key, end)

    def is_confirmed(self, victim: Victim, key: SegmentKey, end: int) -> bool:
        """Whether every upstream that wants the stream holds what is in it before `end`. False: none wants it.

        All of a generation was committed from its first commit on, and before the next one's of its class: only of the
        generation in which upstream stands, the entry itself is asked; of a chunk, always.
        """
        sent = self._sent(key)
        after: list[int] = []
        led = [placed.commit for _, placed in self._catalog.placed_in(key) if placed.end == end]
        if led:
            return sent is not None and sent >= max(led)
        if isinstance(victim, FamilyRecord):
            after = [f.first for f in self._catalog.families.values() if self._follows(f, victim)]
        if sent is None or (isinstance(victim, FamilyRecord) and sent < victim.first):
            return False
        if sent >= self._catalog.segments[key].last_commit or (after and sent >= min(after) - 1):
            return True
        if self._catalog.by_number[key.stream].origin is not None:
            return False
        found = SegmentScan(self._kv, self._catalog, key).entry_at(end - 1)
        try:
            return found is not None and 0 < entry.head(found[1]).commit <= sent
        except DamagedBlockError:
            return False

    @staticmethod
    def _follows(family: FamilyRecord, before: FamilyRecord) -> bool:
        return (family.kind, family.group) == (before.kind, before.group) and family.number > before.number

    def is_consumed(self, key: SegmentKey, end: int) -> bool:
        """Whether every consumer has read all before `end`. True where there is none."""
        stream = self._catalog.by_number[key.stream]
        read = self.bounds.consumed.get(stream.name)
        return read is None or read.get((key.segment, key.epoch), 0) >= end

    def _sent(self, key: SegmentKey) -> int | None:
        stream = self._catalog.by_number.get(key.stream)
        return None if stream is None else self.bounds.confirmed.get(stream.name)

    def _why_not(self, missing: int) -> str:
        held: dict[str, int] = {}
        for victim in self._by_priority():
            live = self.live(victim)
            total = sum(end for _, end in live) or 1
            for key, end in live:
                stream = self._catalog.owner(key.stream)
                name = "?" if stream is None else stream.name
                held[name] = held.get(name, 0) + self._bytes_of(victim) * end // total
        largest = sorted(held.items(), key=lambda item: -item[1])[:3]
        names = ", ".join(f"{name} (about {size >> 20} MiB)" for name, size in largest) or "no stream"
        return (
            f"disk_limit of {self._limit_bytes >> 20} MiB is reached, {max(1, missing >> 10)} KiB more are needed, and "
            f"nothing may be given up. Most is held by {names}: not confirmed by an upstream, and when_full is block. "
            "Bring the upstream back, raise disk_limit, truncate a stream, or set its when_full. "
            "What was accepted is kept and written then"
        )


def _give_up(cuts: Sequence[Cut], gone: Sequence[FamilyRecord]) -> Callable[[Group, Ticket], None]:
    def take(group: Group, ticket: Ticket) -> None:
        take_cuts(group, cuts, drops.DISK_LIMIT)
        take_gone(group, gone)
        group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))

    return take
