"""The link's state machine, driven by hand and by Hypothesis: time only ever comes from the test."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from storage.mirror.unit import Held, HeldSegment, Holdings
from sync.replicator import Action, Failure, Handshake, Idle, LinkState, Pace, Put, Replicator, Wait

PACE = Pace()
NOTHING = Holdings(UUID(int=1), 1, {})


def holding(through: int) -> Holdings:
    return Holdings(UUID(int=1), 1, {"a": Held(UUID(int=2), through, (HeldSegment(0, 0, through * 10),))})


def always(value: float) -> Callable[[], float]:
    return lambda: value


def live() -> Replicator:
    machine = Replicator(always(0.5))
    machine.action(0.0)
    machine.connected(NOTHING)
    machine.action(0.0)
    machine.drained()
    assert machine.state is LinkState.LIVE
    return machine


def pause_of(machine: Replicator, now_s: float) -> float:
    action = machine.action(now_s)
    assert isinstance(action, Wait)
    return action.until_s - now_s


def test_a_link_asks_sends_and_then_follows() -> None:
    machine = Replicator(always(0.5))
    states = [machine.state]
    assert machine.action(0.0) == Handshake()
    states.append(machine.state)
    machine.connected(holding(3))
    states.append(machine.state)
    assert machine.action(1.0) == Put(holding(3).streams)
    machine.confirmed(holding(7))
    assert machine.action(2.0) == Put(holding(7).streams)
    machine.drained()
    states.append(machine.state)
    assert states == [LinkState.OFFLINE, LinkState.CONNECTING, LinkState.DRAINING, LinkState.LIVE]
    assert machine.action(3.0) == Wait(3.0 + PACE.probe_interval_s)
    machine.committed()
    assert machine.action(4.0) == Put(holding(7).streams)


def test_confirming_one_stream_keeps_what_is_held_of_the_others() -> None:
    machine = Replicator(always(0.5))
    machine.action(0.0)
    machine.connected(holding(3))
    other = Held(UUID(int=9), 4, (HeldSegment(0, 0, 40),))
    machine.confirmed(Holdings(UUID(int=1), 1, {"b": other}))
    assert machine.action(0.0) == Put({**holding(3).streams, "b": other})


def test_an_idle_link_is_probed_and_stays_live_while_probes_come_back() -> None:
    machine = live()
    assert machine.action(100.0) == Wait(115.0)
    assert machine.action(114.9) == Wait(115.0)
    assert machine.action(115.0) == Handshake()
    machine.connected(NOTHING)
    assert machine.state is LinkState.LIVE


def test_new_commits_gather_while_a_unit_was_just_sent() -> None:
    machine = live()
    machine.committed()
    assert isinstance(machine.action(10.0), Put)
    machine.confirmed(holding(1), caught_up=True)
    assert machine.state is LinkState.LIVE
    machine.committed()
    assert machine.action(10.005) == Wait(10.0 + PACE.gather_s)
    assert isinstance(machine.action(10.0 + PACE.gather_s), Put)


def test_a_link_that_is_behind_does_not_gather() -> None:
    machine = live()
    machine.committed()
    assert isinstance(machine.action(10.0), Put)
    machine.confirmed(holding(1))
    assert isinstance(machine.action(10.0), Put)


def test_a_failed_probe_ends_live() -> None:
    machine = live()
    machine.action(100.0)
    assert machine.action(115.0) == Handshake()
    machine.failed(Failure.UNREACHABLE)
    assert machine.state is LinkState.BACKOFF


def test_a_probe_that_finds_upstream_set_back_leads_to_sending_again() -> None:
    machine = live()
    machine.action(0.0)
    machine.action(20.0)
    machine.connected(holding(1))
    assert machine.action(20.0) == Put(holding(1).streams)


def test_a_confirmed_unit_is_as_good_as_a_probe() -> None:
    machine = live()
    machine.action(0.0)
    machine.committed()
    machine.action(14.0)
    machine.confirmed(holding(1))
    machine.action(14.0)
    machine.drained()
    assert machine.action(16.0) == Wait(31.0)


@pytest.mark.parametrize("luck", [0.01, 0.5, 0.999])
def test_pauses_double_up_to_the_longest_and_are_drawn_from_zero(luck: float) -> None:
    machine = Replicator(always(luck))
    now_s, pauses = 0.0, []
    for _ in range(12):
        assert machine.action(now_s) == Handshake()
        machine.failed(Failure.UNREACHABLE)
        pauses.append(pause_of(machine, now_s))
        now_s += pauses[-1]
    assert pauses == pytest.approx([luck * ceiling for ceiling in [0.5, 1.0, 2.0, 4.0, 8.0, 16.0] + [30.0] * 6])


def test_the_pause_is_counted_from_when_the_failure_was_noticed() -> None:
    machine = Replicator(always(0.5))
    machine.action(0.0)
    machine.failed(Failure.UNREACHABLE)
    assert machine.action(1000.0) == Wait(1000.25)
    assert machine.retry_at_s == 1000.25
    assert machine.action(1000.25) == Handshake()


def test_a_handshake_alone_does_not_reset_the_pause() -> None:
    machine = Replicator(always(1.0))
    now_s, pauses = 0.0, []
    for _ in range(8):
        assert machine.action(now_s) == Handshake()
        machine.connected(NOTHING)
        assert isinstance(machine.action(now_s), Put)
        machine.failed(Failure.UNREACHABLE)
        pauses.append(pause_of(machine, now_s))
        now_s += pauses[-1]
    assert pauses == sorted(pauses)
    assert pauses[-1] == PACE.longest_pause_s


def test_data_that_moved_resets_the_pause() -> None:
    machine = Replicator(always(1.0))
    for _ in range(9):
        machine.action(1e9)
        machine.failed(Failure.UNREACHABLE)
        machine.try_now()
    machine.action(0.0)
    machine.connected(NOTHING)
    machine.action(0.0)
    machine.confirmed(holding(1))
    machine.failed(Failure.UNREACHABLE)
    assert pause_of(machine, 0.0) == PACE.first_pause_s


def test_a_refusal_is_not_retried_quickly() -> None:
    machine = Replicator(always(0.0))
    machine.action(0.0)
    machine.failed(Failure.REFUSED)
    assert pause_of(machine, 0.0) == PACE.refused_pause_s


def test_a_busy_upstream_gets_the_time_it_asks_for_but_not_any_time() -> None:
    for wish_s, pause_s in ((7.0, 7.0), (-3.0, 0.0), (1e9, PACE.longest_wish_s)):
        machine = Replicator(always(0.1))
        machine.action(0.0)
        machine.failed(Failure.BUSY, wish_s)
        assert pause_of(machine, 0.0) == pause_s + 0.1 * PACE.first_pause_s


def test_divergence_is_asked_about_once_and_then_counts_as_refused() -> None:
    machine = live()
    machine.committed()
    machine.action(0.0)
    machine.failed(Failure.DIVERGED)
    assert machine.action(0.0) == Handshake()
    machine.connected(holding(1))
    machine.action(0.0)
    machine.failed(Failure.DIVERGED)
    assert machine.state is LinkState.BACKOFF
    assert pause_of(machine, 0.0) >= PACE.refused_pause_s


def test_divergence_that_a_handshake_mended_is_forgotten() -> None:
    machine = live()
    for commit in range(1, 4):
        machine.committed()
        machine.action(0.0)
        machine.failed(Failure.DIVERGED)
        assert machine.action(0.0) == Handshake()
        machine.connected(holding(commit))
        machine.action(0.0)
        machine.confirmed(holding(commit + 1))
    assert machine.state is LinkState.DRAINING


def test_a_paused_link_does_nothing_until_resumed() -> None:
    machine = live()
    machine.committed()
    machine.pause()
    assert machine.state is LinkState.OFFLINE
    assert machine.action(1e9) == Idle()
    machine.resume()
    assert machine.action(1e9) == Handshake()


def test_try_now_ends_any_pause() -> None:
    machine = Replicator(always(0.9))
    machine.action(0.0)
    machine.failed(Failure.REFUSED)
    assert isinstance(machine.action(0.0), Wait)
    machine.try_now()
    assert machine.action(0.0) == Handshake()


class AnyLink(RuleBasedStateMachine):
    """Whatever happens in whatever order: nothing is sent on a guess, no pause is skipped or endless."""

    @initialize(luck=st.floats(0.0, 1.0, exclude_max=True))
    def start(self, luck: float) -> None:
        self.machine = Replicator(always(luck))
        self.now_s = 0.0
        self.through = 0
        self.known = False
        self.not_before_s = 0.0
        self.asked: Action = Idle()

    @rule(later_s=st.floats(0.0, 400.0))
    def time_passes(self, later_s: float) -> None:
        self.now_s += later_s

    @rule()
    def ask(self) -> None:
        self.asked = self.machine.action(self.now_s)
        if isinstance(self.asked, Wait):
            if self.machine.state is LinkState.BACKOFF:
                self.not_before_s = self.asked.until_s
                assert self.asked.until_s - self.now_s <= PACE.longest_wish_s + PACE.longest_pause_s
            else:
                assert self.asked.until_s - self.now_s <= PACE.probe_interval_s
        if isinstance(self.asked, Handshake | Put):
            assert self.now_s >= self.not_before_s
        if isinstance(self.asked, Put):
            assert self.known, "sent without knowing what upstream holds"

    @precondition(lambda self: isinstance(self.asked, Handshake))
    @rule()
    def handshake_comes_back(self) -> None:
        self.machine.connected(holding(self.through))
        self.known, self.asked = True, Idle()

    @precondition(lambda self: isinstance(self.asked, Put))
    @rule(nothing=st.booleans())
    def put_comes_back(self, nothing: bool) -> None:
        if nothing:
            self.machine.drained()
            assert self.machine.state is LinkState.LIVE
        else:
            self.through += 1
            self.machine.confirmed(holding(self.through))
        self.asked = Idle()

    @precondition(lambda self: isinstance(self.asked, Handshake | Put))
    @rule(failure=st.sampled_from(Failure), wish_s=st.floats(0.0, 1e6))
    def it_fails(self, failure: Failure, wish_s: float) -> None:
        self.machine.failed(failure, wish_s)
        self.known, self.asked = False, Idle()

    @rule()
    def commits_arrive(self) -> None:
        self.machine.committed()

    @rule()
    def somebody_pauses(self) -> None:
        self.machine.pause()
        self.known, self.asked = False, Idle()
        assert self.machine.action(self.now_s) == Idle()

    @rule()
    def somebody_resumes(self) -> None:
        self.machine.resume()
        self.known, self.asked, self.not_before_s = False, Idle(), 0.0

    @invariant()
    def moving_states_know_what_is_held(self) -> None:
        machine = getattr(self, "machine", None)
        if machine is not None and machine.state in (LinkState.DRAINING, LinkState.LIVE):
            assert machine.held is not None

    def teardown(self) -> None:
        machine = getattr(self, "machine", None)
        if machine is None or machine.paused:
            return
        for _ in range(4):
            self.now_s += PACE.longest_wish_s + PACE.longest_pause_s
            if isinstance(machine.action(self.now_s), Handshake | Put):
                return
        raise AssertionError("a link that is not paused never tries again")


AnyLink.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestAnyLink = AnyLink.TestCase
