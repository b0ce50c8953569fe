"""How long until the disk limit takes something away, and from which stream."""

from __future__ import annotations

import pytest

from storage import SegmentStore, StreamConfig
from storage.retention.forecast import TIME_CONSTANT_S, Intake, full_in_s
from tests.storage.footage import BULK, append
from tests.storage.test_disk_limit import LIMIT, Ring, dropping


def watched(*samples: tuple[float, int]) -> float | None:
    intake = Intake()
    for now_s, written_bytes in samples:
        intake.sample(now_s, written_bytes)
    return intake.bytes_per_s


def test_it_is_what_is_left_at_the_rate_of_the_last_while() -> None:
    assert full_in_s(500, watched((0, 1000), (60, 1600), (100, 2000))) == pytest.approx(50.0)


def test_where_nothing_comes_in_it_is_never_full() -> None:
    assert full_in_s(500, watched((0, 2000), (100, 2000))) is None


def test_a_moment_is_no_rate() -> None:
    assert watched() is None
    assert watched((0, 0), (30, 1000)) is None


def test_above_the_limit_it_is_full_now() -> None:
    assert full_in_s(-5, watched((0, 0), (100, 1000))) == 0.0


def test_what_was_long_ago_counts_for_little() -> None:
    quiet = [(10.0 * n, 0) for n in range(1000)]
    busy = [(10_000.0 + 10.0 * n, 1000 * n) for n in range(int(3 * TIME_CONSTANT_S / 10))]
    rate = watched(*quiet, *busy)
    assert rate == pytest.approx(100, rel=0.06)


def test_the_first_to_feel_it_is_the_least_important_that_has_something_unsent() -> None:
    ring = Ring(("readings", StreamConfig(priority=20)), ("camera", dropping(5)))
    for _ in range(50):
        ring.append("readings")
    outlook = ring.store.outlook()
    assert (outlook.stream, outlook.loses, outlook.reclaimable_bytes) == ("readings", False, 0)
    for _ in range(50):
        ring.append("camera")
    outlook = ring.store.outlook()
    assert (outlook.stream, outlook.loses) == ("camera", True)
    ring.store.retain({"readings": ring.store.last_commit, "camera": ring.store.last_commit})
    outlook = ring.store.outlook()
    assert outlook.stream is None
    assert 100_000 < outlook.reclaimable_bytes < LIMIT


def test_what_was_written_is_counted() -> None:
    with SegmentStore.in_memory() as store:
        store.create_stream("s")
        before = store.written_bytes
        store.writer("s").append(bytes(range(256)) * 4).result()
        assert store.written_bytes > before + 500


def test_what_was_written_to_chunks_is_counted_as_well() -> None:
    """A camera fills a disk with nothing but these."""
    with SegmentStore.in_memory() as store:
        store.create_stream("v", BULK)
        before = store.written_bytes
        append(store, 1, 200_000)
        assert 200_000 < store.written_bytes - before < 210_000
