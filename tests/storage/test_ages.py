"""Age: at least how long ago something was written, however clocks jump."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import FakeClock, RetentionPolicy, SegmentStore, StreamConfig
from storage.ages import Ages
from storage.boots import Boot, Timeline
from storage.clock import RELEASED_NS
from storage.kv.memory import MemoryTwin

S = 1_000_000_000
YEARS_S = 365 * 86_400
NOW_NS = RELEASED_NS + 30 * 86_400 * S
OURS, THEIRS = UUID(int=1), UUID(int=2)


def boot(number: int, ran_s: int, wall_s: int | None, *, store: UUID = OURS, least_s: int | None = None) -> Boot:
    """A boot that was seen to run for so long; its clock said `wall_s` (after NOW) when it began, or was never trusted."""
    offset = 0 if wall_s is None else NOW_NS + wall_s * S
    proved = None if wall_s is None else (offset if least_s is None else NOW_NS + least_s * S, offset)
    return Boot(store, UUID(int=number), number, 0, ran_s * S, offset, proved)


def age_s(boots: list[Boot], now_s: int, written: tuple[int, int], *, store: UUID = OURS) -> int:
    timelines = {each: Timeline(b for b in boots if b.store == each) for each in (OURS, THEIRS)}
    running = [b for b in boots if b.store == OURS][-1]
    ages = Ages(timelines, OURS, running.id, now_s * S)
    return ages.age_ns(store, UUID(int=written[0]), written[1] * S) // S


def test_within_a_boot_its_clock_counts_whatever_the_wall_clock_does() -> None:
    for wall_s in (None, 0, 10 * YEARS_S):
        assert age_s([boot(1, 5, wall_s)], 100, (1, 3)) == 97


def test_without_a_trusted_clock_the_boots_in_between_count_as_far_as_they_were_seen_to_run() -> None:
    assert age_s([boot(1, 50, None), boot(2, 60, 0), boot(3, 5, None)], 7, (1, 40)) == 10 + 60 + 7


def test_between_trusted_clocks_the_time_without_power_counts() -> None:
    boots = [boot(1, 50, 0), boot(2, 60, None), boot(3, 70, 5000), boot(4, 80, None)]
    assert age_s(boots, 90, (1, 40)) == (5000 - 40) + 70 + 90
    assert age_s(boots, 90, (2, 0)) == 60 + 70 + 90


def test_a_trusted_clock_that_steps_by_ten_years_proves_nothing_within_its_boot() -> None:
    stepped = boot(2, 60, 10 * YEARS_S, least_s=1000)
    assert age_s([boot(1, 50, 0), stepped], 60, (1, 50)) == 1000 - 50 + 60


def test_a_clock_that_stood_too_late_makes_nothing_younger_than_was_run() -> None:
    assert age_s([boot(1, 50, YEARS_S), boot(2, 60, 0)], 60, (1, 50)) == 60


def test_of_what_is_mirrored_only_trusted_clocks_lead_to_ours() -> None:
    theirs = [boot(1, 50, 0, store=THEIRS), boot(2, 60, None, store=THEIRS)]
    trusted = [boot(9, 5, 3000), *theirs]
    assert age_s(trusted, 40, (1, 20), store=THEIRS) == 3000 + 40 - 20
    assert age_s(trusted, 40, (2, 20), store=THEIRS) == 40
    assert age_s([boot(9, 5, None), *theirs], 40, (1, 20), store=THEIRS) == 30 + 60


def test_of_a_boot_that_nobody_told_of_nothing_is_proved() -> None:
    assert age_s([boot(1, 5, 0)], 100, (7, 3)) == 0


SPANS = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 500), st.booleans(), st.integers(-YEARS_S, YEARS_S)),
    min_size=1,
    max_size=8,
)


@given(SPANS, st.data())
def test_an_age_is_never_more_than_passed_and_never_less_for_what_is_older(
    told: list[tuple[int, int, bool, int]], data: st.DataObject
) -> None:
    """Where trusted clocks are right. The others may say what they like."""
    boots, began, at_s = [], {}, 0
    for number, (ran_s, off_s, trusted, wrong_s) in enumerate(told, start=1):
        began[number] = at_s
        true = boot(number, ran_s, at_s)
        wrong = Boot(OURS, true.id, number, 0, ran_s * S, wrong_s * S, None)
        boots.append(true if trusted else wrong)
        at_s += ran_s + off_s
    newest = len(boots)
    now_s = began[newest] + told[-1][0]
    written = st.integers(1, newest).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, told[n - 1][0])))
    older, younger = sorted((data.draw(written), data.draw(written)))
    ages = [age_s(boots, told[-1][0], each) for each in (older, younger)]
    for (number, written_s), age in zip((older, younger), ages, strict=True):
        assert 0 <= age <= now_s - began[number] - written_s
        assert number != newest or age == now_s - began[number] - written_s
    assert ages[0] >= ages[1]


@pytest.mark.parametrize("trusted", [True, False])
def test_retention_by_age_is_immune_to_a_jump_of_ten_years(trusted: bool) -> None:
    clock = FakeClock(NOW_NS, reference=trusted)
    store = SegmentStore.in_memory(MemoryTwin(), clock=clock)
    store.create_stream("s", StreamConfig(retention=RetentionPolicy(max_age_s=3600)))
    store.writer("s").append(b"old").result()
    clock.step_wall(10 * YEARS_S)
    store.writer("s").append(b"new").result()
    store.retain({}, {}, {})
    assert [event.payload for event in store.read("s")] == [b"old", b"new"]
    clock.advance(3601)
    store.writer("s").append(b"newest").result()
    store.retain({}, {}, {})
    assert [event.payload for event in store.read("s")] == [b"newest"]


def test_retention_by_age_counts_the_time_without_power_where_trusted_clocks_prove_it() -> None:
    for proved in (True, False):
        clock, twin = FakeClock(NOW_NS), MemoryTwin()
        store = SegmentStore.in_memory(twin, clock=clock)
        store.create_stream("s", StreamConfig(retention=RetentionPolicy(max_age_s=3600)))
        store.writer("s").append(b"old").result()
        store.close()
        clock.reboot()
        clock.step_wall(7200)
        clock.reference = proved
        store = SegmentStore.in_memory(twin, clock=clock)
        store.writer("s").append(b"new").result()
        store.retain({}, {}, {})
        assert [event.payload for event in store.read("s")] == ([b"new"] if proved else [b"old", b"new"])
        store.close()
