"""A cursor with parts: each is committed with its data, replaced or removed by name, and given to the next driver."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

import pytest

from drivers.contract import MAX_PART_BYTES, MAX_PARTS, Delivery, SourceSettings
from drivers.fake import FakeConfig, FakeDevice, FakeDriver, RecordingSink
from drivers.outbox import Sink
from drivers.source import Source
from drivers.status import SourceState
from storage import FakeClock, SegmentStore
from storage.errors import TooLargeError
from storage.kv.memory import MemoryTwin
from storage.model import Append, Frame

SETTINGS = SourceSettings(name="flow", driver="fake", stream="plant/flow")


class PartsDriver(FakeDriver):
    """Hands over what `say` gave it, and keeps what it was given at its opening."""

    def __init__(self) -> None:
        super().__init__(FakeDevice(), SETTINGS, FakeClock(), FakeConfig())
        self.given: Mapping[str, bytes] | None = None
        self.cursor: bytes | None = None
        self.saying: list[Delivery] = []
        self.acked: list[Delivery] = []

    def take_parts(self, parts: Mapping[str, bytes]) -> None:
        self.given = dict(parts)

    def open(self, state: bytes | None) -> None:
        assert self.given is not None, "the parts come before the opening"
        self.cursor = state

    def poll(self, timeout_s: float) -> Delivery | None:
        return self.saying.pop(0) if self.saying else None

    def ack(self, delivery: Delivery) -> None:
        self.acked.append(delivery)


class Bench:
    def __init__(self, sink: Sink, settings: SourceSettings = SETTINGS) -> None:
        self.driver = PartsDriver()
        self.clock = FakeClock()
        self.source = Source(lambda: self.driver, settings, sink, clock=self.clock, random=Random(1))
        self.source.step()

    def state(self) -> SourceState:
        return self.source.state

    def say(self, *deliveries: Delivery) -> None:
        """Take them in; a step more than there are, for what comes with the settling."""
        self.driver.saying += deliveries
        for _ in range(len(deliveries) + 1):
            self.source.step()


def delivery(payload: bytes, cursor: bytes | None = None, **parts: bytes) -> Delivery:
    return Delivery([Append("plant/flow", [Frame([payload])])], cursor, parts=parts)


def test_parts_are_committed_with_their_data_and_given_to_the_next_driver() -> None:
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin)
    store.create_stream("plant/flow")
    store.submit((), {"source/flow2": b"another's", "source/flow2/a": b"another's"}).result()
    store.own_commits()
    bench = Bench(store)
    assert bench.driver.given == {}
    bench.say(delivery(b"1", b"c1", a=b"1", b="é/ö".encode()), delivery(b"2", a=b"2", gone=b"x"))
    store.commit()
    bench.say(delivery(b"3", b"c3", gone=b""), Delivery((), parts={"alone": b"4"}))
    store.commit()
    bench.say(delivery(b"lost", a=b"lost"))
    twin.power_cut()
    store = SegmentStore.in_memory(twin)
    again = Bench(store)
    assert [event.payload for event in store.read("plant/flow")] == [b"1", b"2", b"3"]
    assert again.driver.given == {"a": b"2", "b": "é/ö".encode(), "alone": b"4"}
    assert again.driver.cursor == b"c3"


def test_of_deliveries_submitted_together_the_later_part_of_a_name_wins() -> None:
    sink = RecordingSink()
    gathering = SourceSettings(name="flow", driver="fake", stream="plant/flow", commit_interval_s=1)
    bench = Bench(sink, gathering)
    bench.say(delivery(b"1", a=b"1", b=b"1", c=b"1"), delivery(b"2", a=b"2", c=b""), delivery(b"3", d=b"3"))
    bench.clock.advance(2)
    bench.source.step()
    assert sink.waiting == 1
    sink.commit()
    assert sink.cursors() == {"source/flow/a": b"2", "source/flow/b": b"1", "source/flow/d": b"3"}


def test_parts_are_committed_without_a_record_that_the_store_refuses() -> None:
    sink = RecordingSink()
    sink.refuse_payload = (b"poison", TooLargeError("refused"))
    bench = Bench(sink)
    bench.say(delivery(b"poison", b"cursor", a=b"1"))
    sink.commit()
    bench.source.step()
    assert sink.cursors() == {"source/flow": b"cursor", "source/flow/a": b"1"}
    assert len(bench.driver.acked) == 1


@pytest.mark.parametrize(
    "parts",
    [
        {"a": bytes(MAX_PART_BYTES + 1)},
        {"": b"x"},
        {"ü" * 128: b"x"},
        {str(n): bytes(MAX_PART_BYTES) for n in range(257)},
    ],
    ids=["large", "no name", "a long name", "too much at once"],
)
def test_parts_above_their_limits_are_the_drivers_fault(parts: dict[str, bytes]) -> None:
    sink = RecordingSink()
    bench = Bench(sink)
    bench.say(Delivery((), parts=parts))
    assert bench.state() is SourceState.BACKOFF
    assert "part" in str(bench.source.status().last_error)
    assert not sink.waiting


def test_there_are_only_so_many_parts_at_a_time() -> None:
    sink = RecordingSink()
    bench = Bench(sink)
    half = MAX_PARTS // 2
    bench.say(Delivery((), parts={str(n): b"x" for n in range(half)}))
    sink.commit()
    bench = Bench(sink)
    bench.say(Delivery((), parts={str(n): b"x" for n in range(half, MAX_PARTS)}))
    bench.say(Delivery((), parts={"0": b"", "1": b"more", "one": b"instead"}))
    assert bench.state() is SourceState.RUNNING
    bench.say(Delivery((), parts={"one more": b"x"}))
    assert bench.state() is SourceState.BACKOFF
    assert "10001 parts" in str(bench.source.status().last_error)
