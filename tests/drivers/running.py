"""A source under test: stepped until something holds, with a store that commits when the test says so."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

from drivers.contract import Driver, SourceSettings
from drivers.fake import RecordingSink
from drivers.source import Source
from storage.clock import Clock, SystemClock
from storage.trace import Trace, no_trace

PATIENCE_S = 20.0


class Running:
    """A source and its sink. `commits` off: nothing becomes durable until `sink.commit()`."""

    def __init__(
        self,
        make_driver: Callable[[SourceSettings, Clock], Driver],
        settings: SourceSettings,
        sink: RecordingSink | None = None,
        *,
        clock: Clock | None = None,
        trace: Trace = no_trace,
    ) -> None:
        self.sink = sink if sink is not None else RecordingSink()
        self.clock = clock if clock is not None else SystemClock()
        self.commits = True
        self.source = Source(
            lambda: make_driver(settings, self.clock),
            settings,
            self.sink,
            clock=self.clock,
            random=Random(1),
            trace=trace,
        )

    def step(self) -> None:
        self.source.step(0.01)
        if self.commits:
            self.sink.commit()

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Step until `holds()`. Fails, saying `what` was awaited, when it never does."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, f"{what} never came: {self.source.status()}"
            self.step()

    def for_a_while(self, duration_s: float = 0.3) -> None:
        """Step on, for what must not happen."""
        deadline = time.monotonic() + duration_s
        while time.monotonic() < deadline:
            self.step()

    def counter(self, name: str) -> int:
        return self.source.status().counters[name]
