"""What a source brings to a bulk stream waits for the rest of the stream's interval, and no longer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drivers.contract import Delivery
from drivers.fake import FakeConfig, FakeDriver, MemorylessFakeDriver
from storage.model import MAX_EVENT_BYTES, Append, Frame, StreamConfig
from tests.drivers.faked import Bench, numbers


def pictures(bench: Bench, seconds: int) -> None:
    """Ten a second."""
    for second in range(seconds):
        for tenth in range(10):
            bench.device.say(b"%d" % (10 * second + tenth))
            bench.run(2, advance_s=0.05)


BULK_STREAM = StreamConfig(kind="bulk", durable_every_s=1.0)


@pytest.mark.parametrize("driver", [FakeDriver, MemorylessFakeDriver])
def test_what_is_for_a_bulk_stream_is_durable_within_its_interval_and_no_more_often(driver: type[FakeDriver]) -> None:
    bench = Bench(driver, config=BULK_STREAM)
    pictures(bench, 10)
    assert 9 <= bench.sink.commits <= 11
    assert 85 <= len(bench.sink.payloads()) <= 100
    bench.run(30, advance_s=0.05)
    assert bench.sink.payloads() == numbers(100)
    if driver is FakeDriver:
        assert bench.device.acknowledged == numbers(100)


def test_the_interval_of_the_stream_holds_before_that_of_the_source() -> None:
    bench = Bench(config=BULK_STREAM, commit_interval_s=3600)
    pictures(bench, 10)
    assert 9 <= bench.sink.commits <= 11


def test_what_is_for_another_stream_does_not_wait_for_the_interval_of_a_bulk_one() -> None:
    bench = Bench()
    outbox = bench.source._outbox
    slow = replace(BULK_STREAM, durable_every_s=9.0)
    outbox._stream_config = lambda name: {"video": BULK_STREAM, "slow": slow}.get(name, StreamConfig())
    driver = FakeDriver(bench.device, bench.settings, bench.clock, FakeConfig())

    def take(*streams: str) -> float:
        outbox.take(Delivery([Append(stream, [Frame([b"x"])]) for stream in streams]), driver)
        return outbox.due_in_s()

    assert take("slow") == 9.0
    bench.clock.advance(8.5)
    assert take("video") == 0.5
    bench.clock.advance(0.25)
    assert take("slow", "video") == 0.25
    assert take("video", "plant/flow") == 0.0


def test_a_bulk_stream_takes_larger_events() -> None:
    bench = Bench(config=BULK_STREAM)
    bench.device.say(b"x" * (MAX_EVENT_BYTES + 1))
    bench.run(30, advance_s=0.1)
    assert [len(payload) for payload in bench.sink.payloads()] == [MAX_EVENT_BYTES + 1]
    assert bench.count("refused") == 0
