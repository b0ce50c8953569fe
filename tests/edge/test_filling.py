"""How long until the disk is full."""

from __future__ import annotations

from edge.daemon.filling import Filling


def watched(*samples: tuple[float, int]) -> Filling:
    filling = Filling()
    for now_s, disk_bytes in samples:
        filling.sample(now_s, disk_bytes)
    return filling


def test_it_is_what_is_left_at_the_rate_of_the_last_while() -> None:
    assert watched((0, 1000), (60, 1600), (100, 2000)).full_in_s(500) == 50.0


def test_a_store_that_does_not_grow_is_never_full() -> None:
    assert watched((0, 2000), (100, 1000)).full_in_s(500) is None


def test_a_moment_is_no_rate() -> None:
    assert watched().full_in_s(500) is None
    assert watched((0, 0), (30, 1000)).full_in_s(500) is None


def test_above_the_limit_it_is_full_now() -> None:
    assert watched((0, 0), (100, 1000)).full_in_s(-5) == 0.0


def test_only_the_last_hour_counts() -> None:
    filling = watched(*((10.0 * n, 1000) for n in range(360)))
    for n in range(360, 720):
        filling.sample(10.0 * n, 1000 * n)
    assert filling.full_in_s(100_000) == 1000.0
