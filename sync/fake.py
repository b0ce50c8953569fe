"""Upstreams for tests: one within the process, and a wrapper that fails by a schedule drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from storage.errors import StorageError
from storage.mirror.unit import Holdings, Unit
from storage.trace import Trace, no_trace
from sync.contract import Hello, SyncError, UnreachableError, Upstream
from sync.hub.receiver import Receiver, translate

DURABLE_WITHIN_S = 10.0


class LoopbackUpstream:
    """A hub's receiver in the same process. `receiver` may be exchanged, as by a restart."""

    guarantee = "exactly once, transactional"
    where = "hub in this process"

    def __init__(self, receiver: Receiver, trace: Trace = no_trace) -> None:
        self.receiver = receiver
        self._trace = trace

    def handshake(self, hello: Hello) -> Holdings:
        try:
            return self.receiver.admit(hello)
        except StorageError as error:
            raise translate(error) from error

    def put(self, unit: Unit) -> Holdings:
        try:
            ticket = self.receiver.apply(unit)
            self._trace("uplink.sent", {"where": self.where, "events": unit.events, "bytes": unit.size_bytes})
            ticket.result(DURABLE_WITHIN_S)
            return self.receiver.applied(unit)
        except StorageError as error:
            raise translate(error) from error
        except TimeoutError as error:
            raise UnreachableError(f"{self.where}: not durable within {DURABLE_WITHIN_S} s") from error

    def close(self) -> None:
        """Nothing is held open."""


class Fault(Enum):
    """What can happen to one request."""

    NONE = "none"
    REQUEST_LOST = "request lost"
    ANSWER_LOST = "answer lost"
    DUPLICATED = "duplicated"
    DELAYED = "delayed"
    RESTART_BEFORE = "upstream restarts before"
    RESTART_AFTER = "upstream restarts after"


@dataclass(frozen=True, slots=True)
class Schedule:
    """How likely each fault is, as weights. A delayed unit arrives during one of the next `longest_delay` requests."""

    weights: dict[Fault, float] = field(default_factory=lambda: dict.fromkeys(Fault, 1.0))
    longest_delay: int = 5

    def draw(self, random: Random) -> Fault:
        faults = list(self.weights)
        return random.choices(faults, [self.weights[fault] for fault in faults])[0]


CALM = Schedule({Fault.NONE: 1.0})


class FaultyUpstream:
    """`inner` behind a bad link. `restart` takes the upstream down without warning, and up again.

    A delayed unit is reported lost and arrives later, behind younger ones. `hits` counts the faults that happened.
    """

    def __init__(
        self,
        inner: Upstream,
        random: Random,
        schedule: Schedule | None = None,
        restart: Callable[[], None] = lambda: None,
    ) -> None:
        self._inner = inner
        self._random = random
        self._restart = restart
        self._late: list[tuple[int, Unit]] = []
        self._requests = 0
        self.schedule = schedule if schedule is not None else Schedule()
        self.hits: dict[Fault, int] = dict.fromkeys(Fault, 0)
        self.guarantee = inner.guarantee
        self.where = f"{inner.where}, over a bad link"

    def handshake(self, hello: Hello) -> Holdings:
        return self._suffer(lambda: self._inner.handshake(hello), None)

    def put(self, unit: Unit) -> Holdings:
        return self._suffer(lambda: self._inner.put(unit), unit)

    def close(self) -> None:
        self._inner.close()

    def _suffer(self, request: Callable[[], Holdings], unit: Unit | None) -> Holdings:
        self._requests += 1
        self._deliver_late()
        fault = self.schedule.draw(self._random)
        self.hits[fault] += 1
        if fault is Fault.REQUEST_LOST:
            raise UnreachableError(f"{self.where}: the request was lost")
        if fault is Fault.DELAYED:
            if unit is not None:
                due = self._requests + self._random.randint(1, self.schedule.longest_delay)
                self._late.append((due, unit))
            raise UnreachableError(f"{self.where}: the request is late")
        if fault is Fault.RESTART_BEFORE:
            self._restart()
            raise UnreachableError(f"{self.where}: it restarted")
        answer = request()
        if fault is Fault.DUPLICATED:
            answer = request()
        if fault is Fault.RESTART_AFTER:
            self._restart()
        if fault in (Fault.ANSWER_LOST, Fault.RESTART_AFTER):
            raise UnreachableError(f"{self.where}: the answer was lost")
        return answer

    def _deliver_late(self) -> None:
        due = [unit for when, unit in self._late if when <= self._requests]
        self._late = [(when, unit) for when, unit in self._late if when > self._requests]
        for unit in due:
            try:
                self._inner.put(unit)
            except SyncError:
                # Nobody waits for this answer any more, and refusing it is right where younger units were applied.
                continue
