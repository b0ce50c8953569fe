"""A driver that works, but not with everything; and one that lets go of what it hands over."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from drivers.contract import Delivery, SourceSettings
from drivers.fake import FakeConfig, FakeDevice, FakeDriver, RecordingSink
from drivers.source import Source
from drivers.status import SourceState
from storage import FakeClock
from storage.model import BULK, MAX_APPEND_BYTES, MAX_EVENT_BYTES, Append, Frame, StreamConfig

SETTINGS = SourceSettings(name="flow", driver="fake", stream="plant/flow", commit_interval_s=60)


class TroubledDriver(FakeDriver):
    """Hands over what `say` gave it, and has whatever trouble it is given."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(FakeDevice(), SETTINGS, clock, FakeConfig())
        self.trouble: str | None = None
        self.saying: list[Delivery] = []
        self.largest: Callable[[str], int] = lambda stream: 0

    def limit_with(self, most_bytes: Callable[[str], int]) -> None:
        self.largest = most_bytes

    def poll(self, timeout_s: float) -> Delivery | None:
        return self.saying.pop(0) if self.saying else None

    def ack(self, delivery: Delivery) -> None:
        """Nothing to do."""


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.driver = TroubledDriver(self.clock)
        self.sink = RecordingSink()
        self.source = Source(
            lambda: self.driver, SETTINGS, self.sink, clock=self.clock, random=Random(1),
            stream_config=lambda name: StreamConfig(kind=BULK) if name == "video" else StreamConfig(),
        )  # fmt: skip
        self.source.step()


def test_trouble_is_shown_for_as_long_as_it_is_there_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.driver.trouble = "the folder is full"
    for _ in range(5):
        bench.driver.saying.append(Delivery([Append("plant/flow", [Frame([b"1"])])]))
        bench.source.step()
    status = bench.source.status()
    assert (status.state, status.last_error) == (SourceState.RUNNING, "the folder is full")
    assert caplog.text.count("the folder is full") == 1
    bench.driver.trouble = None
    bench.source.step()
    assert bench.source.status().last_error is None


def test_a_driver_is_told_how_large_an_event_may_be() -> None:
    bench = Bench()
    assert [bench.driver.largest(stream) for stream in ("plant/flow", "video")] == [MAX_EVENT_BYTES, MAX_APPEND_BYTES]


def test_a_large_delivery_beside_what_is_gathered_is_no_failure() -> None:
    bench = Bench()
    sizes = [3 << 19, 7 << 20, 3 << 19, 7 << 20]
    bench.driver.saying += [Delivery([Append("plant/flow", [Frame([bytes(n)] * 2)])]) for n in sizes]
    for _ in range(10):
        bench.source.step()
    bench.clock.advance(61)
    bench.source.step()
    while bench.sink.commit():
        bench.source.step()
    assert [len(payload) for payload in bench.sink.payloads()] == [n for n in sizes for _ in range(2)]
    assert bench.source.status().counters["restarts"] == 0
