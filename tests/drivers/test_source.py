"""The source around a driver: acknowledged after the commit, a sick driver isolated, a busy store survived."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from drivers.contract import Delivery, DeviceLostError, DriverConfigError, SourceSettings
from drivers.fake import CursoredFakeDriver, FakeConfig, FakeDevice, FakeDriver, MemorylessFakeDriver, RecordingSink
from drivers.outbox import MAX_SUBMISSIONS
from drivers.source import Source, SourceState
from storage.clock import FakeClock
from storage.errors import StorageError, StoreBusyError, StoreFailedError, TooLargeError
from storage.model import MAX_EVENT_BYTES, Append, Frame, StreamConfig

SETTINGS = SourceSettings(name="flow", driver="fake", stream="plant/flow")


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
    ) -> None:
        self.settings = SourceSettings(name="flow", driver="fake", stream=stream, commit_interval_s=commit_interval_s)
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


def test_what_is_polled_is_stored_in_a_stream_made_for_it() -> None:
    bench = Bench()
    bench.device.say(*numbers(5))
    bench.run(10)
    assert bench.sink.payloads("plant/flow") == numbers(5)
    assert bench.sink.streams == {"plant/flow": StreamConfig(priority=3)}
    assert bench.device.acknowledged == numbers(5)
    assert bench.count("durable") == bench.count("good") == 5
    assert bench.woken > 0


def test_nothing_is_acknowledged_before_it_is_durable_and_then_in_order() -> None:
    bench = Bench()
    bench.device.say(*numbers(4))
    bench.run(6, commit=False)
    assert bench.sink.waiting == 4
    assert bench.device.acknowledged == []
    bench.sink.commit(at_most=2)
    bench.run(1, commit=False)
    assert bench.device.acknowledged == numbers(2)
    bench.sink.commit()
    bench.run(1, commit=False)
    assert bench.device.acknowledged == numbers(4)


def test_the_steps_are_named_in_their_order() -> None:
    bench = Bench()
    bench.device.say(b"1")
    bench.run(4)
    assert bench.steps == ["source.polled", "source.submitted", "source.durable", "source.acked"]


@pytest.mark.parametrize(
    "error",
    [DeviceLostError("unplugged"), ValueError("a bug"), ZeroDivisionError(), MemoryError("too much"), StopIteration()],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_driver_raises_stays_in_its_source(error: Exception) -> None:
    bench = Bench()
    bench.device.say(*numbers(3))
    bench.run(2)
    bench.device.errors.append(error)
    bench.run(1)
    status = bench.source.status()
    assert status.state is SourceState.BACKOFF
    assert status.last_error
    assert status.counters["restarts"] == 1
    bench.run(200)
    assert bench.state() is SourceState.RUNNING
    assert bench.sink.payloads() == numbers(3)


def test_a_driver_that_fails_to_acknowledge_is_opened_again() -> None:
    bench = Bench(CursoredFakeDriver)
    bench.device.say(b"1")
    bench.device.ack_errors.append(OSError("gone"))
    bench.run(3)
    assert bench.state() is SourceState.BACKOFF
    assert bench.device.closed == 1


def test_waits_double_are_random_and_have_a_ceiling() -> None:
    bench = Bench()
    bench.device.plugged_in = False
    waits = []
    for _ in range(200):
        bench.source.step()
        retry_in_s = bench.source.status().retry_in_s
        assert retry_in_s is not None
        waits.append(retry_in_s)
        bench.clock.advance(retry_in_s)
    assert waits[0] <= 0.5
    assert 4 < max(waits) <= 5
    assert len(set(waits)) > 100


def test_a_failure_that_goes_on_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.device.plugged_in = False
    bench.run(200, advance_s=0.5)
    assert bench.source.status().counters["restarts"] > 5
    assert len(caplog.records) == 1
    bench.device.plugged_in = True
    bench.run(20, advance_s=0.5)
    bench.device.errors.append(DeviceLostError("unplugged"))
    bench.run(1)
    assert len(caplog.records) == 2


def test_it_does_not_open_before_the_wait_is_over() -> None:
    bench = Bench()
    bench.device.errors.append(DeviceLostError("unplugged"))
    bench.run(1, advance_s=0)
    retry_in_s = bench.source.status().retry_in_s
    assert retry_in_s is not None
    bench.clock.advance(retry_in_s * 0.9)
    bench.run(1, advance_s=0)
    assert len(bench.made) == 1
    bench.clock.advance(retry_in_s * 0.1 + 1e-6)
    bench.run(1)
    assert len(bench.made) == 2


def test_a_driver_that_ran_steadily_starts_its_waits_anew() -> None:
    bench = Bench()
    for _ in range(20):
        bench.device.errors.append(DeviceLostError("unplugged"))
        bench.run(1, advance_s=31)
    bench.device.say(b"1")
    bench.run(3, advance_s=11)
    bench.device.errors.append(DeviceLostError("unplugged"))
    bench.run(1, advance_s=0)
    retry_in_s = bench.source.status().retry_in_s
    assert retry_in_s is not None
    assert retry_in_s <= 0.5


def test_what_cannot_work_as_configured_waits_for_a_person() -> None:
    bench = Bench()
    bench.device.errors.append(DriverConfigError("baud = 7: use another"))
    bench.run(100, advance_s=60)
    assert bench.state() is SourceState.FAILED
    assert len(bench.made) == 1
    bench.source.restart()
    bench.run(1)
    assert bench.state() is SourceState.RUNNING


def test_counters_survive_the_driver_they_were_counted_by() -> None:
    bench = Bench()
    bench.device.say(*numbers(3))
    bench.run(5)
    bench.source.restart()
    bench.run(1)
    bench.device.say(*numbers(2))
    bench.run(5)
    assert bench.count("good") == 5
    assert bench.count("bytes") == 5


def test_the_next_driver_waits_for_the_last_ones_commits_and_gets_their_cursor() -> None:
    bench = Bench(CursoredFakeDriver)
    bench.device.say(b"a", b"b")
    bench.run(3, commit=False)
    bench.source.restart()
    bench.run(20, commit=False)
    assert bench.device.opened_with == [None]
    bench.sink.commit()
    bench.run(1, commit=False)
    assert bench.device.opened_with == [None, b"b"]
    assert bench.device.acknowledged == []


class TestBusyStore:
    def test_an_acknowledged_driver_is_not_polled_and_nothing_is_lost(self) -> None:
        bench = Bench()
        bench.device.say(*numbers(100))
        bench.run(1)
        bench.sink.refuse_with = StoreBusyError("the queue is full")
        bench.run(500)
        polls = bench.device.polls
        assert polls < 20
        assert bench.state() is SourceState.BLOCKED
        bench.sink.refuse_with = None
        bench.run(500)
        assert bench.state() is SourceState.RUNNING
        assert bench.sink.payloads() == numbers(100)
        assert bench.device.acknowledged == numbers(100)
        assert bench.count("lost") == 0

    def test_a_store_that_never_commits_gets_a_bounded_number_of_submissions(self) -> None:
        bench = Bench()
        bench.device.say(*numbers(100))
        bench.run(1000, commit=False)
        assert bench.sink.waiting == MAX_SUBMISSIONS
        assert bench.state() is SourceState.BLOCKED
        assert bench.source.status().waiting_events == MAX_SUBMISSIONS

    def test_a_memoryless_driver_is_polled_on_and_what_does_not_fit_is_counted(self) -> None:
        bench = Bench(MemorylessFakeDriver)
        bench.sink.refuse_with = StoreBusyError("the queue is full")
        megabyte = bytes(1 << 20)
        bench.device.say(*[megabyte] * 40)
        bench.run(60)
        assert bench.device.unacknowledged == []
        bench.sink.refuse_with = None
        bench.run(200)
        assert bench.count("lost") > 0
        assert len(bench.sink.events) + bench.count("lost") == 40
        assert len(bench.sink.events) == 16

    def test_what_a_memoryless_driver_read_is_kept_though_the_device_goes(self) -> None:
        bench = Bench(MemorylessFakeDriver)
        bench.sink.refuse_with = StoreBusyError("the queue is full")
        bench.device.say(*numbers(3))
        bench.run(4)
        bench.device.plugged_in = False
        bench.run(4)
        bench.sink.refuse_with = None
        bench.run(200)
        assert bench.sink.payloads() == numbers(3)

    def test_after_a_failed_sync_nothing_is_acknowledged(self) -> None:
        bench = Bench()
        bench.device.say(*numbers(3))
        bench.run(5, commit=False)
        bench.sink.fail(StoreFailedError("a sync failed: reopen the store"))
        bench.run(100, commit=False)
        assert bench.device.acknowledged == []
        assert "a sync failed" in str(bench.source.status().last_error)


class TestCommitInterval:
    def test_frames_are_gathered_and_submitted_once_in_it(self) -> None:
        bench = Bench(MemorylessFakeDriver, commit_interval_s=1.0)
        bench.device.say(*numbers(50))
        bench.run(60, advance_s=0.01)
        assert bench.sink.commits == 0
        bench.run(60, advance_s=0.01)
        assert bench.sink.commits == 1
        assert bench.sink.payloads() == numbers(50)

    def test_each_reading_keeps_its_own_time(self) -> None:
        bench = Bench(MemorylessFakeDriver, commit_interval_s=1.0)
        started_ns = bench.clock.boot_ns()
        bench.device.say(*numbers(5))
        bench.run(150, advance_s=0.01)
        times_ns = [event.time_ns - started_ns for event in bench.sink.events]
        assert times_ns == [number * 10_000_000 for number in range(5)]

    def test_a_large_group_does_not_wait(self) -> None:
        bench = Bench(commit_interval_s=3600)
        bench.device.say(*[bytes(1 << 20)] * 5)
        bench.run(6)
        assert len(bench.sink.events) == 4

    def test_pausing_does_not_wait_for_it(self) -> None:
        bench = Bench(commit_interval_s=3600)
        bench.device.say(*numbers(3))
        bench.run(4)
        bench.source.pause()
        bench.run(10)
        assert bench.state() is SourceState.PAUSED
        assert bench.device.acknowledged == numbers(3)


class TestPoison:
    @pytest.mark.parametrize("per_poll", [1, 3])
    def test_an_event_above_the_stores_limit_is_left_out_alone(self, per_poll: int) -> None:
        bench = Bench(per_poll=per_poll)
        bench.device.say(b"before", bytes(MAX_EVENT_BYTES + 1), b"after")
        bench.run(6)
        assert bench.sink.payloads() == [b"before", b"after"]
        assert bench.count("refused") == 1
        assert len(bench.device.acknowledged) == 3

    def test_a_delivery_that_the_store_refuses_is_left_out_of_its_group(self) -> None:
        bench = Bench(CursoredFakeDriver, commit_interval_s=1.0)
        bench.sink.refuse_payload = (b"poison", TooLargeError("headers of 9 GB"))
        bench.device.say(b"a", b"b", b"poison", b"c", b"d")
        bench.run(150, advance_s=0.01)
        assert bench.sink.payloads() == [b"a", b"b", b"c", b"d"]
        assert bench.sink.cursor("source/flow") == b"d"
        assert bench.count("refused") == 1
        assert bench.count("durable") == 4
        assert bench.source.status().waiting_events == 0
        assert "headers of 9 GB" in str(bench.source.status().last_error)

    def test_the_last_deliverys_cursor_is_committed_though_its_data_is_refused(self) -> None:
        bench = Bench(CursoredFakeDriver)
        bench.sink.refuse_payload = (b"poison", TooLargeError("headers of 9 GB"))
        bench.device.say(b"a", b"poison")
        bench.run(10)
        assert bench.sink.cursor("source/flow") == b"poison"

    @pytest.mark.parametrize(
        "frame",
        [
            Frame([b"x"], routing_key="k" * 1025),
            Frame([b"x"], content_type="t" * 256),
            Frame([b"x"], headers=(("name", b"value"),) * 256),
        ],
        ids=["key", "content type", "headers"],
    )
    def test_what_a_device_may_label_its_events_with_is_limited_too(self, frame: Frame) -> None:
        class Labelling(MemorylessFakeDriver):
            def poll(self, timeout_s: float) -> Delivery | None:
                return Delivery((Append("plant/flow", (frame, Frame([b"good"]))),))

        bench = Bench(Labelling)
        bench.run(3)
        assert set(bench.sink.payloads()) == {b"good"}
        assert bench.count("refused") == 3

    def test_a_stream_name_that_cannot_be_is_refused(self) -> None:
        bench = Bench(stream="no such/../name")
        bench.device.say(b"1")
        bench.run(5)
        assert bench.count("refused") == 1
        assert bench.device.acknowledged == [b"1"]

    def test_a_delivery_above_the_contracts_limit_is_the_drivers_fault(self) -> None:
        class Greedy(MemorylessFakeDriver):
            def poll(self, timeout_s: float) -> Delivery | None:
                frame = Frame([b""] * 100_001)
                return Delivery((Append("plant/flow", (frame,)),))

        bench = Bench(Greedy)
        bench.run(1)
        assert bench.state() is SourceState.BACKOFF
        assert "100001 events" in str(bench.source.status().last_error)

    def test_one_source_cannot_make_streams_without_end(self) -> None:
        class Sprawling(FakeDriver):
            made = 0

            def poll(self, timeout_s: float) -> Delivery | None:
                self.made += 1
                return Delivery((Append(f"sprawl/{self.made}", (Frame([b"x"]),)),), token=0)

        bench = Bench(Sprawling)
        bench.run(1100)
        assert len(bench.sink.streams) == 1000
        assert bench.count("refused") >= 90


class TestPause:
    def test_a_paused_source_reads_nothing_until_resumed(self) -> None:
        bench = Bench()
        bench.source.pause()
        bench.device.say(b"1")
        bench.run(10)
        assert bench.state() is SourceState.PAUSED
        assert bench.device.polls == 0
        bench.source.resume()
        bench.run(5)
        assert bench.device.acknowledged == [b"1"]

    def test_what_was_read_is_durable_and_acknowledged_before_it_pauses(self) -> None:
        bench = Bench()
        bench.device.say(b"1")
        bench.run(2, commit=False)
        bench.source.pause()
        bench.run(5, commit=False)
        assert bench.state() is SourceState.RUNNING
        bench.run(2)
        assert bench.state() is SourceState.PAUSED
        assert bench.device.acknowledged == [b"1"]


@pytest.mark.parametrize("shape", [FakeDriver, MemorylessFakeDriver, CursoredFakeDriver])
def test_a_caller_is_never_told_to_spin_or_to_sleep_long(shape: type[FakeDriver]) -> None:
    bench = Bench(shape)
    situations: list[Callable[[], None]] = [
        lambda: None,
        lambda: bench.device.errors.append(DeviceLostError("gone")),
        lambda: setattr(bench.sink, "refuse_with", StoreBusyError("full")),
        lambda: setattr(bench.sink, "refuse_with", StorageError("odd")),
        bench.source.pause,
    ]
    for arrange in situations:
        arrange()
        for _ in range(50):
            polls = bench.device.polls
            wait_s = bench.source.step()
            assert 0 <= wait_s <= 1
            progressed = bench.device.polls > polls
            assert wait_s > 0 or progressed
            bench.clock.advance(max(wait_s, 0.001))
