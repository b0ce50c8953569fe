"""The source around a driver: acknowledged after the commit, a sick driver isolated."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from drivers.contract import DeviceLostError, DriverConfigError, SourceSettings, Startup
from drivers.fake import CursoredFakeDriver, FakeDriver, MemorylessFakeDriver
from drivers.source import STEADY_AFTER_S
from drivers.status import SourceState
from storage.errors import StorageError, StoreBusyError
from storage.model import StreamConfig
from tests.drivers.faked import Bench, numbers

SETTINGS = SourceSettings(name="flow", driver="fake", stream="plant/flow")


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


class TestStartup:
    """A device that is not there when the source starts."""

    @staticmethod
    def absent(startup: Startup) -> Bench:
        bench = Bench(startup=startup)
        bench.device.plugged_in = False
        return bench

    def test_retry_is_for_ever(self) -> None:
        bench = self.absent("retry")
        bench.run(20, advance_s=30)
        assert bench.state() is SourceState.BACKOFF
        bench.device.plugged_in = True
        bench.run(3, advance_s=60)
        assert bench.state() is SourceState.RUNNING

    def test_error_waits_for_a_person(self) -> None:
        bench = self.absent("error")
        bench.run(3)
        assert bench.state() is SourceState.FAILED
        bench.device.plugged_in = True
        bench.run(20, advance_s=60)
        assert bench.state() is SourceState.FAILED
        bench.source.restart()
        bench.run(1)
        assert bench.state() is SourceState.RUNNING

    def test_a_restart_is_a_start(self) -> None:
        bench = self.absent("error")
        bench.run(3)
        bench.source.restart()
        bench.run(3)
        assert bench.state() is SourceState.FAILED

    def test_probe_looks_once_a_minute_and_calls_it_no_fault(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO")
        bench = self.absent("probe")
        bench.run(100, advance_s=3.1)
        assert bench.state() is SourceState.ABSENT
        assert len(bench.made) == 5
        assert bench.count("restarts") == 0
        assert len([record for record in caplog.records if "not there" in record.message]) == 1
        bench.device.plugged_in = True
        bench.run(2, advance_s=60)
        assert bench.state() is SourceState.RUNNING

    @pytest.mark.parametrize("startup", ["error", "probe"])
    def test_one_that_was_there_is_tried_again_like_any(self, startup: Startup) -> None:
        bench = Bench(startup=startup)
        bench.device.say(b"1")
        bench.run(3)
        bench.device.plugged_in = False
        bench.run(3)
        assert bench.state() is SourceState.BACKOFF

    @pytest.mark.parametrize("startup", ["error", "probe"])
    def test_one_that_only_seemed_to_be_there_was_not(self, startup: Startup) -> None:
        bench = Bench(startup=startup)
        bench.run(1)
        assert bench.state() is SourceState.RUNNING
        bench.device.plugged_in = False
        bench.run(1)
        assert bench.state() in (SourceState.FAILED, SourceState.ABSENT)

    @pytest.mark.parametrize("startup", ["error", "probe"])
    def test_a_quiet_one_that_was_there_for_a_while_was_there(self, startup: Startup) -> None:
        bench = Bench(startup=startup)
        bench.run(2, advance_s=STEADY_AFTER_S)
        bench.device.plugged_in = False
        bench.run(1)
        assert bench.state() is SourceState.BACKOFF


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
