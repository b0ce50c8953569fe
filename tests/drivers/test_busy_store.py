"""The source at a store that takes nothing now, or never takes a certain event."""

from __future__ import annotations

import pytest

from drivers.contract import Delivery
from drivers.fake import CursoredFakeDriver, FakeDriver, MemorylessFakeDriver
from drivers.outbox import MAX_STREAMS, MAX_SUBMISSIONS
from drivers.status import SourceState
from storage.errors import StoreBusyError, StoreFailedError, TooLargeError
from storage.model import MAX_EVENT_BYTES, Append, Frame
from tests.drivers.faked import Bench, numbers


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

    def test_what_is_refused_by_a_store_that_is_busy_as_well_is_counted_once(self) -> None:
        bench = Bench(CursoredFakeDriver)
        bench.sink.refuse_payload = (b"poison", TooLargeError("headers of 9 GB"))
        bench.sink.refuse_with = StoreBusyError("the queue is full")
        bench.device.say(b"poison", b"a")
        bench.run(100)
        assert bench.count("refused") == 0
        assert bench.source.status().waiting_events == 1
        bench.sink.refuse_with = None
        bench.run(200)
        assert bench.sink.payloads() == [b"a"]
        assert bench.count("refused") == 1
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

    def test_a_stream_too_many_at_a_busy_store_is_counted_once(self) -> None:
        class Wide(MemorylessFakeDriver):
            handed_over = False

            def poll(self, timeout_s: float) -> Delivery | None:
                if self.handed_over:
                    return None
                self.handed_over = True
                return Delivery(tuple(Append(f"wide/{number}", (Frame([b"x"]),)) for number in range(MAX_STREAMS + 5)))

        bench = Bench(Wide)
        bench.sink.refuse_with = StoreBusyError("the queue is full")
        bench.run(100)
        bench.sink.refuse_with = None
        bench.run(200)
        assert len(bench.sink.events) == MAX_STREAMS
        assert bench.count("refused") == 5
        assert bench.source.status().waiting_events == 0
