"""A source on a fake device, for tests of the source itself."""

from __future__ import annotations

from random import Random

from drivers.contract import SourceSettings, Startup
from drivers.fake import FakeConfig, FakeDevice, FakeDriver, RecordingSink
from drivers.source import Source
from drivers.status import SourceState
from storage.clock import FakeClock
from storage.model import StreamConfig


class Bench:
    """A source on a fake device, a recording store and a fake clock."""

    def __init__(
        self,
        driver: type[FakeDriver] = FakeDriver,
        *,
        commit_interval_s: float = 0.0,
        stream: str = "plant/flow",
        per_poll: int = 1,
        config: StreamConfig | None = None,
        startup: Startup = "retry",
    ) -> None:
        self.settings = SourceSettings(
            name="flow", driver="fake", stream=stream, commit_interval_s=commit_interval_s, startup=startup
        )
        self.device = FakeDevice()
        self.sink = RecordingSink()
        self.clock = FakeClock()
        self.steps: list[str] = []
        self.made: list[FakeDriver] = []
        self.woken = 0

        def make() -> FakeDriver:
            self.made.append(driver(self.device, self.settings, self.clock, FakeConfig(per_poll=per_poll)))
            return self.made[-1]

        self.source = Source(
            make,
            self.settings,
            self.sink,
            clock=self.clock,
            random=Random(7),
            stream_config=lambda name: config or StreamConfig(priority=3),
            trace=lambda step, details: self.steps.append(step),
            wake=self._wake,
        )

    def run(self, steps: int, *, commit: bool = True, advance_s: float = 0.01) -> None:
        for _ in range(steps):
            self.source.step()
            if commit:
                self.sink.commit()
            self.clock.advance(advance_s)

    def count(self, name: str) -> int:
        return self.source.status().counters[name]

    def state(self) -> SourceState:
        return self.source.state

    def _wake(self) -> None:
        self.woken += 1


def numbers(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]
