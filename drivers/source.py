"""The source: one configured driver, and everything around it that no driver should have to do itself.

`step()` does a bounded piece of work and says how long its caller may wait. Nothing that a driver raises leaves it:
a failure is counted, shown in `status()` and answered by a new driver object after a wait with full jitter.

A step
    1. What the store made durable is acknowledged to the driver, oldest first; what was left out of it is told before.
    2. What was gathered and is due is submitted, with its cursor (`drivers.outbox`).
    3. The driver is polled, unless the store has enough of its deliveries. A memoryless driver is polled even then, and
       what does not fit is counted as lost; one that `Tends` may do that instead.
    4. What came in is gathered, for `commit_interval_s` or as long as a bulk stream says, and submitted when due.

A driver is opened again only when every submission of the one before has an answer, so that the cursor it is given
covers all that will ever be on disk of it. What was gathered and not submitted is dropped then, unless the driver is
memoryless: the other side has it still.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from random import Random

from drivers.backoff import Backoff
from drivers.batch import check_size
from drivers.contract import (
    MAX_PARTS,
    AsksForLimits,
    AsksTheStore,
    Delivery,
    DeviceLostError,
    Driver,
    DriverConfigError,
    DriverError,
    GoesOnElsewhere,
    HasTrouble,
    HearsRefusals,
    Interruptible,
    KeepsParts,
    Shape,
    SourceSettings,
    Tends,
    Traced,
)
from drivers.outbox import Outbox, Sink
from drivers.status import SourceState, SourceStatus
from storage.clock import Clock
from storage.model import StreamConfig
from storage.trace import Trace, no_trace

STEADY_AFTER_S = 10.0
"""A driver that has run so long, and yielded something, starts its backoff anew when it fails."""
LOOK_FOR_EVERY_S = 60.0
"""For a device that may be absent."""
LONGEST_WAIT_S = 1.0
SHORTEST_WAIT_S = 0.001
ANSWER_WAIT_S = 0.02
"""At most this between two looks at whether the store has answered."""

_log = logging.getLogger(__name__)


def _nobody() -> None:
    """Nobody waits to be woken."""


class Source:
    """Runs one driver into the store. Used from one thread; `status`, `pause`, `resume`, `restart` from any."""

    def __init__(
        self,
        make_driver: Callable[[], Driver],
        settings: SourceSettings,
        sink: Sink,
        *,
        clock: Clock,
        random: Random,
        stream_config: Callable[[str], StreamConfig] = lambda name: StreamConfig(),
        trace: Trace = no_trace,
        wake: Callable[[], None] = _nobody,
    ) -> None:
        """`stream_config` says how a stream is kept that this source makes by its first use. `wake` is called, from the
        thread that commits, when a submission has got its answer."""
        self.settings = settings
        self._make_driver = make_driver
        self._sink = sink
        self._clock = clock
        self._trace = trace
        self._wake = wake
        self._outbox = Outbox(settings, sink, stream_config, clock=clock, trace=trace, wake=self._answered)
        self._backoff = Backoff(random)
        self._driver: Driver | None = None
        self._interruptible: Interruptible | None = None
        self._tends: Tends | None = None
        self._troubled: HasTrouble | None = None
        self._parts: set[str] = set()
        self._shape: Shape | None = None
        self._pushback = ""
        self._state = SourceState.STARTING
        self._wanted_paused = False
        self._wanted_restart = False
        self._was_there = False
        self._opened_ns = 0
        self._retry_ns = 0
        self._quiet_steps = 0
        self._restarts = 0
        self._past_counters: dict[str, int] = {}
        self._last_error: str | None = None
        self._logged_error: str | None = None
        self._logged_trouble: str | None = None
        self._last_event_ns: int | None = None

    # For any thread

    def pause(self) -> None:
        """Stop reading. What was read is made durable first."""
        self._wanted_paused = True

    def resume(self) -> None:
        self._wanted_paused = False

    def restart(self) -> None:
        """Close the driver and open a new one at once, also out of BACKOFF and FAILED."""
        self._wanted_restart = True

    def _answered(self) -> None:
        """The store has answered: a driver that waits has an acknowledgement to send."""
        if self._interruptible is not None:
            self._interruptible.interrupt()
        self._wake()

    @property
    def state(self) -> SourceState:
        if self._state is SourceState.RUNNING and self._outbox.blocked:
            return SourceState.BLOCKED
        return self._state

    def status(self) -> SourceStatus:
        driver = self._driver
        counters = dict(self._past_counters)
        of_driver = driver.counters if driver is not None else {}
        for counted in (of_driver, self._outbox.counters, {"restarts": self._restarts}):
            for name, count in counted.items():
                counters[name] = counters.get(name, 0) + count
        waits = self._state in (SourceState.BACKOFF, SourceState.ABSENT)
        return SourceStatus(
            name=self.settings.name,
            driver=self.settings.driver,
            state=self.state,
            counters=counters,
            last_error=self._last_error or self._trouble() or self._outbox.last_error,
            last_event_ns=self._last_event_ns,
            retry_in_s=self._retry_in_s() if waits else None,
            waiting_events=self._outbox.waiting_events,
            pushback=self._pushback,
        )

    def _trouble(self) -> str | None:
        troubled = self._troubled
        return None if troubled is None else troubled.trouble

    # Steps, for the thread that owns the source

    def step(self, timeout_s: float = 0.05) -> float:
        """One bounded piece of work, waiting in it at most `timeout_s` for the device.

        Returns how long, in seconds, the caller may wait before the next step.
        """
        self._settle()
        if self._driver is not None or self._shape is Shape.MEMORYLESS:
            self._outbox.flush(everything=self._wanted_paused)
        if self._wanted_restart:
            self._wanted_restart = False
            self._backoff.reset()
            self._was_there, self._logged_error = False, None
            self._close_driver()
            self._state = SourceState.STARTING
        if self._wanted_paused:
            return self._step_paused()
        if self._state is SourceState.FAILED:
            return LONGEST_WAIT_S
        if self._driver is None and not self._open_driver():
            return self._wait_for_opening_s()
        return self._step_running(timeout_s)

    def close(self) -> None:
        """Close the driver. What is not durable is not acknowledged to it."""
        self._settle()
        self._close_driver()

    def _step_paused(self) -> float:
        if self._driver is not None and (self._outbox.submitted or self._outbox.gathered):
            return ANSWER_WAIT_S
        self._close_driver()
        self._state = SourceState.PAUSED
        return LONGEST_WAIT_S

    def _step_running(self, timeout_s: float) -> float:
        driver = self._driver
        assert driver is not None
        wait_s = self._poll_wait_s(timeout_s)
        held_up = self._outbox.held_up and driver.shape is not Shape.MEMORYLESS
        if held_up and self._tends is None:
            self._quiet_steps += 1
            return wait_s
        try:
            if held_up and self._tends is not None:
                self._quiet_steps += 1
                self._tends.tend(wait_s)
                return 0.0
            delivery = driver.poll(wait_s)
            if delivery is not None:
                check_size(delivery)
                self._check_parts(delivery)
        except Exception as error:  # noqa: BLE001  (isolation: whatever a driver raises concerns its source alone)
            self._fail(error)
            return self._wait_for_opening_s()
        self._log_trouble()
        if delivery is None:
            self._quiet_steps += 1
            return 0.0 if driver.waits_in_poll else wait_s
        self._take(delivery, driver)
        return 0.0

    def _check_parts(self, delivery: Delivery) -> None:
        for name, part in delivery.parts.items():
            if part:
                self._parts.add(name)
            else:
                self._parts.discard(name)
        if len(self._parts) > MAX_PARTS:
            raise DriverError(
                f"a cursor of {len(self._parts)} parts: at most {MAX_PARTS}; the driver has to remove some"
            )

    def _take(self, delivery: Delivery, driver: Driver) -> None:
        self._quiet_steps = 0
        self._trace("source.polled", {"source": self.settings.name, "events": delivery.events})
        self._was_there, self._logged_error = True, None
        if delivery.events:
            self._last_event_ns = self._clock.boot_ns()
        taken = self._outbox.take(delivery, driver)
        if not taken:
            # A large one has no room beside what is gathered and not due yet.
            self._outbox.flush(everything=True)
            taken = self._outbox.take(delivery, driver)
        if taken:
            self._outbox.flush()
        elif driver.shape is Shape.MEMORYLESS:
            self._outbox.lose(delivery)
            if isinstance(driver, GoesOnElsewhere):
                driver.dropped(delivery)
        else:
            self._fail(RuntimeError("more deliveries than may wait for the store; reading again from the last durable"))

    def _log_trouble(self) -> None:
        trouble = self._trouble()
        if trouble is not None and trouble != self._logged_trouble:
            _log.warning("source %s: %s", self.settings.name, trouble)
        self._logged_trouble = trouble

    def _settle(self) -> None:
        """Acknowledge what is durable to the driver that it came from, if that is still the one."""
        for group in self._outbox.settle():
            self._quiet_steps = 0
            ours = [taken for taken in group if taken.driver is self._driver]
            if not ours:
                continue
            try:
                for taken in ours:
                    if taken.refused and isinstance(taken.driver, HearsRefusals):
                        taken.driver.refused(taken.delivery, taken.refused)
                    taken.driver.ack(taken.delivery)
            except Exception as error:  # noqa: BLE001  (isolation: as in poll)
                self._fail(error)
            else:
                self._trace("source.acked", {"source": self.settings.name, "deliveries": len(ours)})

    # Opening, failing, closing

    def _open_driver(self) -> bool:
        """A new driver, once the wait is over and the old one's submissions have their answers."""
        waits = self._state in (SourceState.BACKOFF, SourceState.ABSENT)
        if waits and self._retry_in_s() > 0:
            return False
        if self._outbox.submitted and self._shape is not Shape.MEMORYLESS:
            return False
        self._state = SourceState.STARTING
        try:
            driver = self._make_driver()
            self._driver, self._shape, self._pushback = driver, driver.shape, driver.pushback
            self._interruptible = driver if isinstance(driver, Interruptible) else None
            self._tends = driver if isinstance(driver, Tends) else None
            self._troubled = driver if isinstance(driver, HasTrouble) else None
            if isinstance(driver, Traced):
                driver.trace_with(self._trace)
            if isinstance(driver, AsksTheStore):
                driver.ask_with(self._sink.takes)
            if isinstance(driver, AsksForLimits):
                driver.limit_with(self._outbox.most_bytes)
            if isinstance(driver, KeepsParts):
                parts = self._committed_parts()
                self._parts = set(parts)
                driver.take_parts(parts)
            driver.open(self._sink.cursor(self.settings.cursor_name))
        except Exception as error:  # noqa: BLE001  (isolation: as in poll)
            self._fail(error)
            return False
        self._opened_ns = self._clock.boot_ns()
        self._last_error = None
        self._state = SourceState.RUNNING
        return True

    def _committed_parts(self) -> dict[str, bytes]:
        prefix = f"{self.settings.cursor_name}/"
        held = self._sink.cursors().items()
        return {name.removeprefix(prefix): state for name, state in held if name.startswith(prefix)}

    def _fail(self, error: Exception) -> None:
        now_ns = self._clock.boot_ns()
        label = f"source {self.settings.name}: "
        self._last_error = str(error).removeprefix(label) or type(error).__name__
        steady = self._state is SourceState.RUNNING and now_ns - self._opened_ns >= STEADY_AFTER_S * 1e9
        if steady and self._last_event_ns is not None and self._last_event_ns >= self._opened_ns:
            self._backoff.reset()
        self._close_driver()
        if steady:
            self._was_there, self._logged_error = True, None
        at_start = isinstance(error, DeviceLostError) and not self._was_there
        if isinstance(error, DriverConfigError) or (at_start and self.settings.startup == "error"):
            self._state = SourceState.FAILED
            _log.error("source %s: stopped: %s", self.settings.name, self._last_error)
            return
        if at_start and self.settings.startup == "probe":
            if self._logged_error is None:
                _log.info("source %s: not there: %s; looked for every minute", self.settings.name, self._last_error)
                self._logged_error = self._last_error
            self._retry_ns = now_ns + int(LOOK_FOR_EVERY_S * 1e9)
            self._state = SourceState.ABSENT
            return
        wait_s = self._backoff.next_s()
        self._restarts += 1
        self._retry_ns = now_ns + int(wait_s * 1e9)
        self._state = SourceState.BACKOFF
        if self._last_error != self._logged_error:
            _log.warning("source %s: %s; trying again until it works", self.settings.name, self._last_error)
            self._logged_error = self._last_error

    def _close_driver(self) -> None:
        driver, self._driver = self._driver, None
        self._interruptible = self._tends = self._troubled = None
        if driver is None:
            return
        try:
            for name, count in driver.counters.items():
                self._past_counters[name] = self._past_counters.get(name, 0) + count
            driver.close()
        except Exception as error:  # noqa: BLE001  (isolation: as in poll)
            _log.warning("source %s: closing its driver failed: %s", self.settings.name, error)
        if driver.shape is not Shape.MEMORYLESS:
            self._outbox.drop_gathered()

    # Waiting

    def _poll_wait_s(self, timeout_s: float) -> float:
        """Short while the store owes an answer that ends no poll, longer the longer nothing moves; never past what is due."""
        if self._outbox.held_up or (self._outbox.submitted and self._interruptible is None):
            return min(timeout_s, ANSWER_WAIT_S, SHORTEST_WAIT_S * 2.0 ** min(self._quiet_steps, 10))
        if self._outbox.gathered:
            return min(timeout_s, max(SHORTEST_WAIT_S, self._outbox.due_in_s()))
        return timeout_s

    def _retry_in_s(self) -> float:
        return max(0.0, (self._retry_ns - self._clock.boot_ns()) / 1e9)

    def _wait_for_opening_s(self) -> float:
        if self._state is SourceState.FAILED:
            return LONGEST_WAIT_S
        if self._outbox.submitted or self._outbox.gathered:
            return ANSWER_WAIT_S
        return min(LONGEST_WAIT_S, max(SHORTEST_WAIT_S, self._retry_in_s()))
