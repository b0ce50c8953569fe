"""The life of a link as a pure state machine: what happened goes in, what to do next comes out.

It reads no clock, draws no random number of its own and touches nothing: `action` is told the time, and the rest of
its inputs are what the last action came to. Pauses are counted from the first `action` after what caused them, so an
attempt that took a minute to fail is not followed by a pause that has already passed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from storage.mirror.unit import Held, Holdings


class LinkState(Enum):
    """Where a link stands. Only DRAINING and LIVE mean that data moves."""

    OFFLINE = "offline"
    CONNECTING = "connecting"
    DRAINING = "draining"
    LIVE = "live"
    BACKOFF = "backoff"


class Failure(Enum):
    """How an action failed: the classes of error in `sync.contract`."""

    UNREACHABLE = "unreachable"
    BUSY = "busy"
    REFUSED = "refused"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True)
class Handshake:
    """Ask upstream what it holds. Answer with `connected` or `failed`."""


@dataclass(frozen=True, slots=True)
class Put:
    """Send the unit that follows `held`, with the boots that changed after commit `boots`.

    Answer with `confirmed`, `drained` or `failed`.
    """

    held: Mapping[str, Held]
    boots: int = 0


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until_s`, except where new commits arrive."""

    until_s: float


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing to do before somebody resumes the link."""


Action = Handshake | Put | Wait | Idle


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a link is tried. All in seconds.

    `first_pause_s` doubles with every failure in a row up to `longest_pause_s`; the pause is drawn evenly from zero to
    that (full jitter). `refused_pause_s` is for an upstream that says no. An idle link is probed every
    `probe_interval_s`. A busy upstream's own wish is followed up to `longest_wish_s`. On a link that is up to date, new
    commits gather for `gather_s` after a unit was begun: under steady load that spares both sides most requests.
    """

    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0
    refused_pause_s: float = 60.0
    probe_interval_s: float = 15.0
    longest_wish_s: float = 300.0
    gather_s: float = 0.02


class Replicator:
    """The machine of one link. `random` yields numbers in [0, 1)."""

    def __init__(self, random: Callable[[], float], pace: Pace | None = None) -> None:
        self._random = random
        self._pace = pace if pace is not None else Pace()
        self._pause_s: float | None = None
        self._until_s: float | None = None
        self._put_s: float | None = None
        self._behind = True
        self._failures_in_row = 0
        self._diverged = False
        self.state = LinkState.OFFLINE
        self.paused = False
        self.held: Holdings | None = None

    @property
    def retry_at_s(self) -> float | None:
        """When a link in BACKOFF tries again, by the clock given to `action`; None where it is not known yet."""
        return self._until_s if self.state is LinkState.BACKOFF else None

    def action(self, now_s: float) -> Action:
        """What to do now. Asked again without an answer to the last action, the same."""
        if self.paused:
            return Idle()
        if self.state is LinkState.BACKOFF:
            return self._backing_off(now_s)
        if self.state is LinkState.OFFLINE:
            self.state = LinkState.CONNECTING
        if self.state is LinkState.CONNECTING or self.held is None:
            return Handshake()
        if not self._behind:
            return self._probing(now_s)
        if self.state is LinkState.LIVE and self._put_s is not None and now_s < self._put_s + self._pace.gather_s:
            return Wait(self._put_s + self._pace.gather_s)
        self._put_s = now_s
        return Put(self.held.streams, self.held.boots)

    def connected(self, held: Holdings) -> None:
        """The handshake came back: upstream holds `held`."""
        self.held = held
        self._until_s = None
        # A probe may find that upstream went back in time (a restored disk): always look for what follows.
        self._behind = True
        if self.state is not LinkState.LIVE:
            self.state = LinkState.DRAINING

    def confirmed(self, held: Holdings, *, caught_up: bool = False) -> None:
        """A unit was confirmed: upstream holds `held` of its streams. `caught_up`: nothing had been left out of it."""
        before = self.held if self.held is not None else Holdings(None, 0)
        streams = {**before.streams, **held.streams}
        self.held = Holdings(held.store, held.opening, streams, max(before.boots, held.boots))
        self.state = LinkState.LIVE if caught_up else LinkState.DRAINING
        self._behind = not caught_up
        self._until_s = None
        self._diverged = False
        self._failures_in_row = 0

    def drained(self) -> None:
        """There is nothing to send beyond what upstream holds."""
        self.state = LinkState.LIVE
        self._behind = False
        self._failures_in_row = 0

    def committed(self) -> None:
        """The local store has new commits."""
        self._behind = True

    def failed(self, failure: Failure, wish_s: float = 0.0) -> None:
        """The last action failed. What upstream holds is unknown now. `wish_s` is how long a busy one asked for."""
        self.held = None
        self._until_s = None
        if failure is Failure.DIVERGED and not self._diverged:
            self._diverged = True
            self.state = LinkState.CONNECTING
            return
        self.state = LinkState.BACKOFF
        self._pause_s = self._pause_after(failure, wish_s)
        self._failures_in_row += 1

    def pause(self) -> None:
        """Do nothing until `resume`."""
        self.paused = True
        self.held = None
        self.state = LinkState.OFFLINE

    def resume(self) -> None:
        """Go on, at once."""
        self.paused = False
        self.try_now()

    def try_now(self) -> None:
        """Connect at once, whatever pause was due; a link that is up is asked to prove it."""
        self._until_s = self._pause_s = None
        self.held = None
        self.state = LinkState.OFFLINE

    def _backing_off(self, now_s: float) -> Action:
        if self._until_s is None:
            self._until_s = now_s + (self._pause_s or 0.0)
        if now_s < self._until_s:
            return Wait(self._until_s)
        self._until_s = None
        self.state = LinkState.CONNECTING
        return Handshake()

    def _probing(self, now_s: float) -> Action:
        if self._until_s is None:
            self._until_s = now_s + self._pace.probe_interval_s
        return Wait(self._until_s) if now_s < self._until_s else Handshake()

    def _pause_after(self, failure: Failure, wish_s: float) -> float:
        # A doubling beyond the longest pause changes nothing, and 2.0 ** n overflows on a link that is down for years.
        doublings = min(self._failures_in_row, 30)
        ceiling_s = min(self._pace.longest_pause_s, self._pace.first_pause_s * 2.0**doublings)
        jitter_s = self._random() * ceiling_s
        if failure in (Failure.REFUSED, Failure.DIVERGED):
            return self._pace.refused_pause_s + jitter_s
        if failure is Failure.BUSY:
            return min(max(wish_s, 0.0), self._pace.longest_wish_s) + jitter_s
        return jitter_s
