"""What is refused for good is left out alone, and a driver that has promised something is told before it acknowledges."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from drivers.contract import Delivery
from drivers.fake import FakeDriver
from storage.errors import TooLargeError
from storage.model import MAX_EVENT_BYTES, Append, Frame
from tests.drivers.faked import Bench

OLD, NEW = "plant/old", "plant/new"


class PromisingDriver(FakeDriver):
    """Hands over an event for each of two streams, once, and notes what it is told of them."""

    payload = b"x"
    handed_over = False

    def poll(self, timeout_s: float) -> Delivery | None:
        if self.handed_over:
            return None
        self.handed_over = True
        self.told: list[str] = []
        return Delivery((Append(NEW, [Frame([b"good"])]), Append(OLD, [Frame([self.payload])])), b"cursor", token=0)

    def refused(self, delivery: Delivery, streams: Collection[str]) -> None:
        self.told += sorted(streams)

    def ack(self, delivery: Delivery) -> None:
        self.told.append("acknowledged")


def told(bench: Bench) -> list[str]:
    driver = bench.made[0]
    assert isinstance(driver, PromisingDriver)
    return driver.told


def one_left_out(bench: Bench) -> None:
    """The event for NEW and the cursor are there, the one for OLD is counted, and the driver knows."""
    bench.run(3)
    assert bench.sink.payloads() == [b"good"]
    assert bench.sink.cursor("source/flow") == b"cursor"
    assert (bench.count("durable"), bench.count("refused"), bench.source.status().waiting_events) == (1, 1, 0)
    assert told(bench) == [OLD, "acknowledged"]


def test_what_is_for_a_stream_that_was_sealed_on_the_way() -> None:
    bench = Bench(PromisingDriver)
    bench.run(2, commit=False)
    bench.sink.sealed.add(OLD)
    one_left_out(bench)


def test_an_event_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PromisingDriver, "payload", bytes(MAX_EVENT_BYTES + 1))
    one_left_out(Bench(PromisingDriver))


def test_what_would_be_one_stream_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.outbox.MAX_STREAMS", 1)
    one_left_out(Bench(PromisingDriver))


def test_a_delivery_that_the_store_takes_nothing_of() -> None:
    bench = Bench(PromisingDriver)
    bench.sink.refuse_payload = (b"x", TooLargeError("headers of 9 GB"))
    bench.run(3)
    assert (bench.sink.payloads(), bench.sink.cursor("source/flow"), bench.count("refused")) == ([], b"cursor", 2)
    assert told(bench) == [NEW, OLD, "acknowledged"]


def test_where_all_is_stored_it_is_told_nothing_else() -> None:
    bench = Bench(PromisingDriver)
    bench.run(3)
    assert (sorted(bench.sink.payloads()), told(bench)) == ([b"good", b"x"], ["acknowledged"])
