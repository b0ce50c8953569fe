"""One uplink: carries out what the state machine says, against the local store and one upstream."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from storage.clock import Clock
from storage.errors import OriginRefusedError, StorageError
from storage.mirror.boots import MOST_BOOTS
from storage.mirror.unit import Held, Holdings, Unit
from storage.model import Append, StreamInfo
from storage.ticket import Ticket
from storage.trace import Trace, no_trace
from sync.contract import BusyError, DivergedError, Hello, RefusedError, SyncError, UnreachableError, Upstream
from sync.hint import Hint, cursor_name, parse_hint
from sync.lag import StreamLag, lag_of, total
from sync.replicator import Failure, Handshake, LinkState, Pace, Put, Replicator, Wait
from sync.streams import selector

SMALLEST_UNIT_BYTES = 16 << 10
LARGEST_UNIT_BYTES = 4 << 20
LONGEST_WAIT_S = 60.0
HINT_INTERVAL_S = 10.0

_FAILURES: dict[type[SyncError], Failure] = {
    UnreachableError: Failure.UNREACHABLE,
    BusyError: Failure.BUSY,
    RefusedError: Failure.REFUSED,
    DivergedError: Failure.DIVERGED,
}


class ReplicatedStore(Protocol):
    """What an uplink needs of the local store."""

    @property
    def store_id(self) -> UUID: ...

    @property
    def opening(self) -> int: ...

    @property
    def last_commit(self) -> int: ...

    def next_unit(
        self, node: str, held: Mapping[str, Held], wanted: Callable[[str], bool], max_bytes: int,
        boots: int | None = None,
    ) -> Unit | None: ...  # fmt: skip

    def submit(self, appends: Sequence[Append], cursors: Mapping[str, bytes] | None = None) -> Ticket: ...

    def cursor(self, name: str) -> bytes | None: ...

    def streams(self, *, internal: bool = False) -> list[StreamInfo]: ...


@dataclass(frozen=True, slots=True)
class UplinkStatus:
    """An uplink as the screens show it.

    `units`, `events`, `bytes` were confirmed since the program started, `failures` failed. `problem` and `remedy` say
    what stands in the way now, None and empty while data moves; `last_error` keeps the newest one after that. Lag is by
    what upstream confirmed last, before a restart included; `events_behind` is None where only bytes are known.
    """

    name: str
    where: str
    guarantee: str
    state: LinkState
    paused: bool
    units: int
    events: int
    bytes: int
    failures: int
    problem: str | None
    remedy: str
    last_error: str | None
    last_confirmed_ns: int | None
    retry_at_s: float | None
    commits_behind: int
    events_behind: int | None
    bytes_behind: int
    streams: tuple[StreamLag, ...]


class Uplink:
    """The link from one store to one upstream. `step` belongs to one thread; the rest may be called from any.

    Reads no clock but for labels (`clock.wall_ns`), sleeps never, and draws from the `random` that it is given.
    """

    def __init__(
        self,
        name: str,
        node: str,
        store: ReplicatedStore,
        upstream: Upstream,
        *,
        clock: Clock,
        random: Callable[[], float],
        patterns: Sequence[str] = ("*",),
        pace: Pace | None = None,
        max_unit_bytes: int = LARGEST_UNIT_BYTES,
        hint_interval_s: float = HINT_INTERVAL_S,
        trace: Trace = no_trace,
    ) -> None:
        self.name = name
        self._node = node
        self._store = store
        self._upstream = upstream
        self._clock = clock
        self._wanted = selector(patterns)
        self._machine = Replicator(random, pace)
        self._max_unit_bytes = max(max_unit_bytes, SMALLEST_UNIT_BYTES)
        self._unit_bytes = min(1 << 20, self._max_unit_bytes)
        self._hint_interval_s = hint_interval_s
        self._trace = trace
        self._lock = threading.Lock()
        self._paused = False
        self._hurried = False
        self._seen_commit = 0
        self._units = self._events = self._bytes = self._failures = 0
        self._problem: str | None = None
        self._remedy = ""
        self._last_error: str | None = None
        hint = parse_hint(store.cursor(cursor_name(name)))
        known = hint is not None and hint.store == store.store_id
        self._held: dict[str, Held] = hint.streams if hint is not None and known else {}
        self._confirmed_ns = hint.confirmed_ns if hint is not None and known else None
        self._hinted = dict(self._held)
        self._hint_due_s: float | None = None

    @property
    def state(self) -> LinkState:
        return self._machine.state

    @property
    def follows(self) -> int | None:
        """For a caller that may wait: the commit after which a new one ends the wait. None: commits change nothing."""
        live = self._machine.state is LinkState.LIVE and not self._paused
        return self._seen_commit if live and self._store.last_commit <= self._seen_commit else None

    @property
    def confirmed(self) -> Mapping[str, Held]:
        """What upstream holds of each stream, as it said last, before a restart of this program included."""
        return self._held

    def wants(self, stream: str) -> bool:
        """Whether this uplink brings that stream upstream."""
        return self._wanted(stream)

    def pause(self) -> None:
        """Send nothing from the next step on, until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """Undo `pause`; the next step connects."""
        self._paused = False

    def hurry(self) -> None:
        """Connect in the next step, whatever pause was due. Nothing while paused."""
        self._hurried = True

    def step(self, now_s: float) -> float:
        """One bounded piece of work: at most one request. Returns for how long the caller may wait, in seconds.

        `now_s` is a reading of a clock that never steps. Raises what the local store raises (StoreClosedError …);
        what upstream raises is counted, shown and tried again.
        """
        self._obey()
        if self._store.last_commit > self._seen_commit:
            self._machine.committed()
        hint_in_s = self._keep_hint(now_s)
        action = self._machine.action(now_s)
        if isinstance(action, Handshake | Put):
            self._attempt(action)
            return 0.0
        wait_s = action.until_s - now_s if isinstance(action, Wait) else LONGEST_WAIT_S
        return max(0.0, min(wait_s, hint_in_s, LONGEST_WAIT_S))

    def close(self) -> None:
        """Write the hint and give up the connection."""
        self._write_hint()
        self._upstream.close()

    def status(self) -> UplinkStatus:
        """Everything about this uplink, as of now."""
        with self._lock:
            held, units, events, size = self._held, self._units, self._events, self._bytes
            failures, problem, remedy = self._failures, self._problem, self._remedy
            last_error, confirmed_ns = self._last_error, self._confirmed_ns
        infos = [info for info in self._store.streams(internal=True) if self._wanted(info.name)]
        lags = tuple(lag_of(info, held.get(info.name)) for info in infos)
        behind = total(lags)
        return UplinkStatus(
            name=self.name,
            where=self._upstream.where,
            guarantee=self._upstream.guarantee,
            state=self._machine.state,
            paused=self._paused,
            units=units,
            events=events,
            bytes=size,
            failures=failures,
            problem=problem,
            remedy=remedy,
            last_error=last_error,
            last_confirmed_ns=confirmed_ns,
            retry_at_s=self._machine.retry_at_s,
            commits_behind=behind.commits,
            events_behind=behind.events,
            bytes_behind=behind.bytes,
            streams=lags,
        )

    def _obey(self) -> None:
        if self._paused and not self._machine.paused:
            self._machine.pause()
            self._upstream.close()
        elif self._machine.paused and not self._paused:
            self._machine.resume()
        if self._hurried:
            self._hurried = False
            if not self._machine.paused:
                self._machine.try_now()

    def _attempt(self, action: Handshake | Put) -> None:
        try:
            if isinstance(action, Put):
                self._put(action)
            else:
                self._handshake()
        except SyncError as error:
            if isinstance(action, Put) and isinstance(error, UnreachableError):
                # A link that is up for seconds at a time still gets on when less is at stake in each request.
                self._unit_bytes = max(SMALLEST_UNIT_BYTES, self._unit_bytes // 2)
            self._failed(error)

    def _handshake(self) -> None:
        holdings = self._upstream.handshake(Hello(self._node, self._store.store_id, self._store.opening))
        self._check_holdings(holdings)
        self._machine.connected(holdings)
        with self._lock:
            self._held = dict(holdings.streams)
            self._confirmed_ns = self._clock.wall_ns()

    def _put(self, put: Put) -> None:
        self._seen_commit = self._store.last_commit
        unit = self._next_unit(put)
        if unit is None:
            self._machine.drained()
            self._moved()
            return
        details: dict[str, object] = {"uplink": self.name, "events": unit.events, "bytes": unit.size_bytes}
        self._trace("uplink.sending", details)
        holdings = self._upstream.put(unit)
        self._check_confirmed(unit, holdings)
        self._trace("uplink.confirmed", details)
        self._machine.confirmed(holdings, caught_up=unit.size_bytes < self._unit_bytes and len(unit.boots) < MOST_BOOTS)
        self._unit_bytes = min(self._max_unit_bytes, self._unit_bytes * 2)
        with self._lock:
            self._held = {**self._held, **holdings.streams}
            self._confirmed_ns = self._clock.wall_ns()
            self._units += 1
            self._events += unit.events
            self._bytes += unit.size_bytes
        self._moved()

    def _check_holdings(self, holdings: Holdings) -> None:
        if holdings.store is not None and holdings.store != self._store.store_id:
            raise RefusedError(
                f"{self._upstream.where} holds store {holdings.store} under the name {self._node!r}, "
                f"this one is {self._store.store_id}",
                "Give this gateway another [node] name, or put the store back that was replicated under this one.",
            )

    def _next_unit(self, put: Put) -> Unit | None:
        try:
            return self._store.next_unit(self._node, put.held, self._wanted, self._unit_bytes, put.boots)
        except OriginRefusedError as error:
            raise RefusedError(f"{self._upstream.where}: {error}") from error

    def _check_confirmed(self, unit: Unit, holdings: Holdings) -> None:
        for part in unit.parts:
            held = holdings.streams.get(part.stream)
            if held is None or held.incarnation != part.incarnation or held.through < part.through:
                holds = "nothing" if held is None else f"up to {held.through}"
                raise DivergedError(
                    f"{self._upstream.where} confirmed {part.stream!r} up to commit {part.through} and holds {holds}"
                )

        if unit.boots and holdings.boots < unit.boots_through:
            raise DivergedError(
                f"{self._upstream.where} confirmed boots up to commit {unit.boots_through} and holds {holdings.boots}"
            )

    def _failed(self, error: SyncError) -> None:
        failure = _FAILURES.get(type(error), Failure.UNREACHABLE)
        self._machine.failed(failure, error.retry_after_s if isinstance(error, BusyError) else 0.0)
        text = str(error)
        remedy = error.remedy if isinstance(error, RefusedError) else ""
        self._trace("uplink.failed", {"uplink": self.name, "failure": failure.value, "error": text})
        with self._lock:
            self._failures += 1
            self._problem = self._last_error = text
            self._remedy = remedy

    def _moved(self) -> None:
        with self._lock:
            self._problem, self._remedy = None, ""

    def _keep_hint(self, now_s: float) -> float:
        """Write the hint where it is due. Returns in how many seconds it will be."""
        if self._held == self._hinted:
            return LONGEST_WAIT_S
        if self._hint_due_s is None:
            self._hint_due_s = now_s + self._hint_interval_s
        if now_s < self._hint_due_s:
            return self._hint_due_s - now_s
        self._hint_due_s = None
        self._write_hint()
        return LONGEST_WAIT_S

    def _write_hint(self) -> None:
        if self._held == self._hinted or self._confirmed_ns is None:
            return
        hint = Hint(self._store.store_id, self._confirmed_ns, self._held)
        try:
            self._store.submit((), cursors={cursor_name(self.name): hint.to_json()})
        except StorageError as error:
            # A full or closed store is reported by whoever must write to it; a hint can wait.
            self._trace("uplink.hint_skipped", {"uplink": self.name, "error": str(error)})
            return
        self._hinted = dict(self._held)
