"""What a store gives up, when, and why: the one place that decides it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from storage.catalog import Catalog
from storage.clock import Clock
from storage.committer import Committer
from storage.errors import ConditionFailedError, StoreFullError
from storage.forgetting import Forgetting, take_forgetting
from storage.group import Group
from storage.kv.contract import KeyValueStore
from storage.model import Position, Receipt, RetentionPolicy
from storage.reading import SegmentScan
from storage.records import FamilyRecord, StreamRecord
from storage.retention import drops
from storage.retention.budget import DiskBudget, Sizes
from storage.retention.compacting import WORTH_BYTES, Compactor
from storage.retention.forecast import Outlook
from storage.retention.keeping import cut_by_age, cut_by_bytes, live_bytes, sent_before
from storage.retention.retiring import dead_chain, dead_generations, needed_from, take_gone
from storage.retention.room import Bounds, Room
from storage.retention.truncating import Cut, commit_start, cuts_of, measure, take_cuts
from storage.seeking import timeline_of
from storage.ticket import Ticket

STREAMS_AT_ONCE = 50
"""Streams with a policy that one step looks at."""
WAIT_S = 1.0
"""So long a step waits for what it gives up to be durable."""
SMALL_BYTES = 1 << 20
"""A generation that is still written to is not given up for less."""


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """What one step did. `truncated` streams, generations `retired`, one that was `compacted`, how many boots were forgotten."""

    truncated: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    compacted: str | None = None
    forgotten_boots: int = 0


class Retention:
    """Truncates, retires generations that hold nothing, and makes room under the disk limit."""

    def __init__(
        self, kv: KeyValueStore, catalog: Catalog, committer: Committer, clock: Clock, limit_bytes: int | None,
        used: Callable[[], int],
    ) -> None:  # fmt: skip
        """`used` says how many bytes everything takes on disk now."""
        self._kv = kv
        self._catalog = catalog
        self._committer = committer
        self._clock = clock
        self._next_stream = 0
        self._mirrored: Mapping[str, RetentionPolicy] = {}
        self._refused: dict[str, int] = {}
        """Bytes that a stream at its own limit would not take, by its name."""
        sizes = Sizes.under(limit_bytes)
        self._room = Room(kv, catalog, committer.generations, limit_bytes or 0, sizes.generation)
        self._waiting: Ticket | None = None
        self._forgetting = Forgetting(kv, catalog, clock)
        self._compactor = Compactor(kv, catalog, committer, self._wait, min(WORTH_BYTES, sizes.generation // 4))
        committer.budget = DiskBudget(limit_bytes, sizes, used, kv.unflushed_bytes, self._room.reserve)
        committer.make_room = self._room.choose

    @property
    def bounds(self) -> Bounds:
        """What upstreams have confirmed and consumers have read."""
        return self._room.bounds

    def outlook(self) -> Outlook:
        """What a full disk would mean now."""
        return self._room.outlook()

    def truncate(self, stream: StreamRecord, positions: Iterable[Position]) -> bool:
        """Give up what lies before the positions, durable when it returns. False: nothing."""
        asked = list(positions)
        while True:
            cuts = cuts_of(self._kv, self._catalog, stream, asked, self.bounds.confirmed.get(stream.name))
            if not cuts:
                return False
            try:
                ticket = self._submit(cuts, drops.REQUEST)
                self._committer.durable(ticket, f"stream {stream.name!r} was not truncated")
            except ConditionFailedError:
                continue
            return True

    def retain(
        self,
        confirmed: Mapping[str, int],
        consumed: Mapping[str, Sequence[Position]],
        mirrored: Mapping[str, RetentionPolicy],
    ) -> RetentionReport:
        """One bounded step: take over what is confirmed and read, give up what streams' retention says, free its space.

        `confirmed` has every stream that an upstream wants, with the commit up to which all of them hold it (0: not
        known yet). `consumed` has every stream that consumers read, with the first position of each segment that one of
        them has yet to read. A stream that is mirrored here is kept as `mirrored` says, not as its origin keeps it.
        """
        self._mirrored = dict(mirrored)
        if self._waiting is not None and not self._waiting.done():
            return RetentionReport()
        self._room.bounds = Bounds(
            dict(confirmed),
            {name: {(p.number, p.epoch): p.offset for p in positions} for name, positions in consumed.items()},
        )
        truncated = self._keep()
        forgotten = self._forget_boots()
        return RetentionReport(truncated, tuple(self.retire()), self._compactor.step(), forgotten)

    def _forget_boots(self) -> int:
        """One step towards letting go of boots that nothing readable names; how many went."""
        first = self._forgetting.step()
        if not first:
            return 0
        before = sum(len(timeline.boots) for timeline in self._catalog.timelines.copy().values())
        take = partial(take_forgetting, first=first)
        self._wait(self._committer.submit(Ticket(self._committer), take, 0))
        return before - sum(len(timeline.boots) for timeline in self._catalog.timelines.copy().values())

    def _keep(self) -> tuple[str, ...]:
        """Truncate the next streams that have a policy as it says, all of them in one commit."""
        none = RetentionPolicy()
        streams = [s for s in self._catalog.streams.copy().values() if self._policy(s) != none]
        first, self._next_stream = self._next_stream, self._next_stream + STREAMS_AT_ONCE
        if self._next_stream >= len(streams):
            self._next_stream = 0
        names = []
        waiting = []
        for stream in streams[first : first + STREAMS_AT_ONCE]:
            by_reason: dict[str, list[Cut]] = {}
            for scan in self._scans(stream):
                cut, reason = self._cut(stream, scan)
                if cut > scan.record.start:
                    sent = self.bounds.confirmed.get(stream.name)
                    by_reason.setdefault(reason, []).append(measure(self._kv, self._catalog, scan.key, cut, sent))
            if by_reason:
                names.append(stream.name)
            waiting += [self._submit(cuts, reason) for reason, cuts in by_reason.items()]
        for ticket in waiting:
            self._wait(ticket)
        return tuple(names)

    def _wait(self, ticket: Ticket) -> bool:
        """Wait for a while until a step is durable. Where that takes longer, the next steps are left out until it is."""
        try:
            ticket.result(WAIT_S)
        except ConditionFailedError:
            return False
        except TimeoutError:
            self._waiting = ticket
            return False
        return True

    def _policy(self, stream: StreamRecord) -> RetentionPolicy:
        if stream.origin is None:
            return stream.config.retention
        return self._mirrored.get(stream.name, RetentionPolicy())

    def _scans(self, stream: StreamRecord) -> list[SegmentScan]:
        keys = (stream.key(layout) for layout in stream.layout)
        return [SegmentScan(self._kv, self._catalog, key) for key in keys]

    def _cut(self, stream: StreamRecord, scan: SegmentScan) -> tuple[int, str]:
        """Where a segment is to begin by its stream's policy, and why."""
        policy, record = self._policy(stream), scan.record
        read = self.bounds.consumed.get(stream.name)
        read_to = record.length if read is None else read.get((scan.key.segment, scan.key.epoch), record.start)
        allowed = commit_start(scan, min(sent_before(scan, stream, self.bounds.confirmed.get(stream.name)), read_to))
        found = (record.start, drops.AGE)
        if policy.max_age_s is not None:
            max_age_ns = int(policy.max_age_s * 1e9)
            clock = self._clock if stream.origin is None else None
            cut = cut_by_age(scan, timeline_of(self._catalog, stream, scan), max_age_ns, clock)
            found = max(found, (min(cut, allowed), drops.AGE))
        if policy.consumed and read is not None:
            found = max(found, (min(commit_start(scan, read_to), allowed), drops.CONSUMED))
        if policy.max_bytes is not None:
            blocks = stream.config.when_full == "block"
            most = policy.max_bytes
            if blocks:
                # Room for what comes next, or for what was refused.
                most = max(0, min(most * 3 // 4, most - self._refused.get(stream.name, 0)))
            cut = cut_by_bytes(self._scans(stream), most).get(scan.key, record.start)
            if blocks:
                cut = min(commit_start(scan, cut), allowed) if stream.name in self.bounds.confirmed else record.start
            found = max(found, (cut, drops.BYTES))
        return found

    def admit(self, stream: StreamRecord, size_bytes: int) -> None:
        """Raises StoreFullError where a stream that blocks is at its own `max_bytes`."""
        most = stream.config.retention.max_bytes
        if most is None or stream.config.when_full != "block":
            return
        held = live_bytes(self._catalog, stream)
        if not held or held + size_bytes <= most:
            self._refused.pop(stream.name, None)
        else:
            self._refused[stream.name] = size_bytes
            raise StoreFullError(
                f"{stream.name!r} is full: it holds {held} bytes, retention.max_bytes is {most} and when_full is block. "
                "It goes on when upstream has confirmed more of it, or when max_bytes or when_full is changed"
            )

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

            self._wait(self._committer.submit(Ticket(self._committer), take, 0, urgent=True))
        return [family.name for family in gone if family.name not in self._catalog.families]

    def _worth_it(self, family: FamilyRecord) -> bool:
        newest = self._catalog.newest_family(family.kind, family.group)
        return family != newest or self._committer.generations.bytes_of(family.name) >= SMALL_BYTES

    def _submit(self, cuts: list[Cut], reason: str) -> Ticket:
        def take(group: Group, ticket: Ticket) -> None:
            take_cuts(group, cuts, reason)
            group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))

        return self._committer.submit(Ticket(self._committer), take, 0, urgent=True)
