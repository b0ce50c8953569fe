"""The way from a driver to the store: gather, submit, and tell in order what has become durable.

Limits
    16 submissions not durable. A group is submitted at 4 MiB or 1,000 deliveries at the latest, or when the first of it has
    waited for `commit_interval_s`, or for as long as the bulk streams say that it is for. 16 MiB and 10,000
    deliveries gathered, above which `take` refuses. 1,000 streams made by one source.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from drivers.batch import cursors, merged, parts_bytes, within_limits
from drivers.contract import Delivery, Driver, SourceSettings
from storage.clock import Clock
from storage.errors import StorageError, StoreBusyError, StoreClosedError, StoreFailedError, StoreFullError
from storage.model import BULK, MAX_APPEND_BYTES, MAX_EVENT_BYTES, Append, StreamConfig
from storage.ticket import Ticket
from storage.trace import Trace

MAX_SUBMISSIONS = 16
MAX_GROUP_BYTES = 4 << 20
MAX_GROUP_DELIVERIES = 1_000
MAX_GATHERED_BYTES = 16 << 20
MAX_GATHERED_DELIVERIES = 10_000
MAX_STREAMS = 1_000
STALLED_AFTER_S = 5.0
"""A submission that waits longer means that the store is blocked."""
LONGEST_PAUSE_S = 1.0
"""Between two attempts to submit to a store that takes nothing."""

_NONE: frozenset[str] = frozenset()

_log = logging.getLogger(__name__)


class Sink(Protocol):
    """What a source needs of the store. `storage.SegmentStore` is one."""

    def submit(
        self, appends: Sequence[Append], cursors: Mapping[str, bytes] | None = None, *, whole: bool = True
    ) -> Ticket: ...

    def create_stream(self, name: str, config: StreamConfig = ...) -> bool: ...

    def has_stream(self, name: str) -> bool: ...

    def takes(self, name: str) -> bool: ...

    def cursor(self, name: str) -> bytes | None: ...

    def cursors(self) -> Mapping[str, bytes]: ...


class Taken(NamedTuple):
    """A delivery on its way, and the driver object that it came from. Of the streams `refused` something was left out."""

    delivery: Delivery
    driver: Driver
    size_bytes: int
    refused: frozenset[str] = _NONE


class _Submission(NamedTuple):
    group: Sequence[Taken]
    events: int
    ticket: Ticket | None
    since_ns: int
    refused: frozenset[str]
    """Streams whose events were not submitted."""

    def done(self) -> bool:
        return self.ticket is None or self.ticket.done()

    def error(self) -> BaseException | None:
        return None if self.ticket is None else self.ticket.error()

    def left_out(self) -> frozenset[str]:
        """The streams that took nothing more when it was committed."""
        return _NONE if self.ticket is None else frozenset(self.ticket.result().left_out)

    def told(self, refused: frozenset[str]) -> Sequence[Taken]:
        """The deliveries, each with the streams of which something of it was left out, `refused` among them."""
        refused |= self.refused
        if not refused:
            return self.group
        return [taken._replace(refused=taken.refused | (_streams(taken.delivery) & refused)) for taken in self.group]


def _streams(delivery: Delivery) -> frozenset[str]:
    return frozenset(append.stream for append in delivery.appends)


def _missing(appends: Sequence[Append], kept: Sequence[Append]) -> frozenset[str]:
    """The streams of which something is left out in `kept`."""
    return frozenset(append.stream for append in appends if append not in kept)


def _events(appends: Sequence[Append]) -> int:
    return sum(len(frame.payloads) for append in appends for frame in append.frames)


class Outbox:
    """Deliveries of one source on their way to the store. Used from one thread; counters are read from any."""

    def __init__(
        self,
        settings: SourceSettings,
        sink: Sink,
        stream_config: Callable[[str], StreamConfig],
        *,
        clock: Clock,
        trace: Trace,
        wake: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._stream_config = stream_config
        self._clock = clock
        self._trace = trace
        self._wake = wake
        self._gathered: deque[Taken] = deque()
        self._gathered_bytes = 0
        self._due_ns = 0
        self._submissions: deque[_Submission] = deque()
        self._oldest_ns: int | None = None
        self._pause_until_ns = 0
        self._refusals = 0
        self._alone = 0
        self._streams: set[str] = set()
        self.counters = {"durable": 0, "lost": 0, "refused": 0}
        self.waiting_events = 0
        self.last_error: str | None = None

    @property
    def gathered(self) -> bool:
        return bool(self._gathered)

    @property
    def submitted(self) -> bool:
        """Something waits for the store."""
        return bool(self._submissions)

    @property
    def held_up(self) -> bool:
        """The store has enough of ours, or said so."""
        return len(self._submissions) >= MAX_SUBMISSIONS or self._clock.boot_ns() < self._pause_until_ns

    @property
    def blocked(self) -> bool:
        """The store has taken nothing for a while."""
        oldest_ns = self._oldest_ns
        stalled = oldest_ns is not None and self._clock.boot_ns() - oldest_ns > STALLED_AFTER_S * 1e9
        return stalled or self._refusals > 3

    def due_in_s(self) -> float:
        """How long until what is gathered has to be submitted."""
        return max(0.0, (self._due_ns - self._clock.boot_ns()) / 1e9)

    def _interval_s(self, delivery: Delivery) -> float:
        """How long a delivery may wait for others: as long as its bulk streams say, where it is for such alone."""
        intervals = [self._stream_config(append.stream).durable_every_s for append in delivery.appends]
        return min(intervals, default=0.0) or self._settings.commit_interval_s

    def take(self, delivery: Delivery, driver: Driver) -> bool:
        """Gather `delivery`. False, and it is not taken, where the limit is reached."""
        handed_over = delivery.appends
        delivery, refused = within_limits(delivery, self.most_bytes)
        self._refuse(refused)
        size_bytes = delivery.size_bytes + parts_bytes(delivery.parts)
        crowded = self._gathered_bytes + size_bytes > MAX_GATHERED_BYTES
        if self._gathered and (crowded or len(self._gathered) >= MAX_GATHERED_DELIVERIES):
            return False
        due_ns = self._clock.boot_ns() + int(self._interval_s(delivery) * 1e9)
        self._due_ns = min(self._due_ns, due_ns) if self._gathered else due_ns
        cut = _missing(handed_over, delivery.appends) if refused else _NONE
        self._gathered.append(Taken(delivery, driver, size_bytes, cut))
        self._gathered_bytes += size_bytes
        self.waiting_events += delivery.events
        return True

    def most_bytes(self, stream: str) -> int:
        """The largest event that a stream takes."""
        return MAX_APPEND_BYTES if self._stream_config(stream).kind == BULK else MAX_EVENT_BYTES

    def lose(self, delivery: Delivery) -> None:
        """Count what could not be taken."""
        if not self.counters["lost"]:
            _log.warning("source %s: the store takes no more, and readings are being lost", self._settings.name)
        self.counters["lost"] += delivery.events

    def drop_gathered(self) -> None:
        """Forget what was not submitted, because the other side has it still."""
        self.waiting_events -= sum(taken.delivery.events for taken in self._gathered)
        self._gathered.clear()
        self._gathered_bytes = 0

    def flush(self, *, everything: bool = False) -> None:
        """Submit what is due, as far as the store takes it; `everything`: also what is not due yet."""
        while self._gathered and not self.held_up:
            large = self._gathered_bytes >= MAX_GROUP_BYTES or len(self._gathered) >= MAX_GROUP_DELIVERIES
            if not everything and not large and self.due_in_s() > 0:
                return
            submitted = self._submit(self._next_group())
            if not submitted:
                return
            for _ in range(submitted):
                self._gathered_bytes -= self._gathered.popleft().size_bytes

    def settle(self) -> list[Sequence[Taken]]:
        """What has become durable since the last call, but for what was refused for good: oldest first."""
        settled: list[Sequence[Taken]] = []
        while self._submissions and self._submissions[0].done():
            submission = self._submissions[0]
            error = submission.error()
            if isinstance(error, (StoreFailedError, StoreClosedError)):
                self.last_error = str(error)
                break
            self._submissions.popleft()
            self.waiting_events -= submission.events
            if error is None:
                refused = submission.left_out()
                kept_events = submission.events - self._refuse_streams(submission.group, refused)
                self.counters["durable"] += kept_events
            else:
                refused = _NONE.union(*[_streams(taken.delivery) for taken in submission.group])
                self._refuse([str(error)] * submission.events)
            self._trace("source.durable", {"source": self._settings.name, "events": submission.events})
            settled.append(submission.told(refused))
        self._oldest_ns = self._submissions[0].since_ns if self._submissions else None
        return settled

    def _next_group(self) -> list[Taken]:
        group: list[Taken] = []
        size_bytes = 0
        for taken in self._gathered:
            size_bytes += taken.size_bytes
            if group and (size_bytes > MAX_GROUP_BYTES or len(group) >= MAX_GROUP_DELIVERIES or self._alone):
                break
            group.append(taken)
        return group

    def _submit(self, group: Sequence[Taken], left_out: Sequence[str] = ()) -> int:
        """Submit as one. Returns how many of `group` that were: 0 where the store takes nothing now.

        `left_out`: why, for each event that was in `group` and is refused. It counts when the rest of it is submitted.
        """
        deliveries = [taken.delivery for taken in group]
        appends = merged(deliveries)
        state = cursors(deliveries, self._settings.cursor_name)
        events = sum([delivery.events for delivery in deliveries])
        refused = _NONE
        try:
            kept = self._with_streams(appends)
            if len(kept) < len(appends):
                refused = _missing(appends, kept)
                reason = (
                    f"this source has {MAX_STREAMS} streams already: {', '.join(sorted(refused)[:3])} would be more"
                )
                left_out = [*left_out, *[reason] * (events - _events(kept))]
                appends, events = kept, _events(kept)
            ticket = self._sink.submit(appends, state, whole=False) if appends or state else None
        except (StoreBusyError, StoreFullError, StoreFailedError, StoreClosedError) as error:
            self._push_back(error)
            return 0
        except StorageError as error:
            return self._submit_without(group, error)
        if self._refusals:
            self._refusals, self.last_error = 0, None
        self._refuse(left_out)
        self.waiting_events -= len(left_out)
        self._alone = max(0, self._alone - 1)
        now_ns = self._clock.boot_ns()
        self._submissions.append(_Submission(group, events, ticket, now_ns, refused))
        self._oldest_ns = self._submissions[0].since_ns
        self._trace("source.submitted", {"source": self._settings.name, "events": events})
        if ticket is not None:
            ticket.on_done(lambda _: self._wake())
        return len(group)

    def _submit_without(self, group: Sequence[Taken], error: StorageError) -> int:
        """The store refuses something in `group` for good: find the delivery, leave it out, commit its cursor alone.

        Every delivery of the group is then submitted by itself, in order, so that the others keep their cursors.
        """
        if len(group) > 1:
            self._alone = len(group)
            return self._submit(group[:1])
        events = group[0].delivery.events
        if not events:
            self._push_back(error)
            return 0
        delivery = group[0].delivery
        emptied = group[0]._replace(
            delivery=replace(delivery, appends=()), refused=group[0].refused | _streams(delivery)
        )
        return self._submit([emptied], [str(error)] * events)

    def _with_streams(self, appends: Sequence[Append]) -> list[Append]:
        """The appends, their streams made where missing, without those for which that would be one stream too many."""
        kept = []
        for append in appends:
            if append.stream not in self._streams and len(self._streams) >= MAX_STREAMS:
                continue
            if not self._sink.has_stream(append.stream):
                self._sink.create_stream(append.stream, self._stream_config(append.stream))
            self._streams.add(append.stream)
            kept.append(append)
        return kept

    def _push_back(self, error: StorageError) -> None:
        self._refusals = min(self._refusals + 1, 10)
        pause_s = min(LONGEST_PAUSE_S, 0.002 * 2**self._refusals)
        self._pause_until_ns = self._clock.boot_ns() + int(pause_s * 1e9)
        self.last_error = str(error)

    def _refuse_streams(self, group: Sequence[Taken], streams: frozenset[str]) -> int:
        """Count what was left out of `group` when it was committed. How many events that were."""
        if not streams:
            return 0
        appends = [append for taken in group for append in taken.delivery.appends if append.stream in streams]
        reason = f"{', '.join(sorted(streams)[:3])}: sealed, or mirrored from another node: it takes nothing"
        self._refuse([reason] * _events(appends))
        return _events(appends)

    def _refuse(self, reasons: Sequence[str]) -> None:
        if not reasons:
            return
        self.counters["refused"] += len(reasons)
        self.last_error = f"refused: {reasons[0]}"
        _log.warning("source %s: %d refused and left out: %s", self._settings.name, len(reasons), reasons[0])
