"""An uplink's steps, what it shows of itself, and what it remembers: on a twin, with time that the test tells."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from uuid import UUID

import pytest

from storage import SegmentStore
from storage.clock import FakeClock
from storage.kv.memory import MemoryTwin
from storage.mirror.unit import Held, HeldSegment, Holdings, Unit
from sync.contract import BusyError, Hello, RefusedError, SyncError, UnreachableError
from sync.fake import LoopbackUpstream
from sync.hint import Hint, cursor_name, parse_hint
from sync.hub.receiver import Receiver
from sync.replicator import LinkState
from sync.streams import selector
from sync.uplink import LONGEST_WAIT_S, SMALLEST_UNIT_BYTES, Uplink


class Scripted(LoopbackUpstream):
    """Fails the next requests as told; remembers the sizes of the units it was given."""

    def __init__(self, receiver: Receiver) -> None:
        super().__init__(receiver)
        self.errors: list[SyncError | None] = []
        self.after: list[SyncError | None] = []
        self.unit_bytes: list[int] = []
        self.hellos = 0

    def handshake(self, hello: Hello) -> Holdings:
        self.hellos += 1
        self._fail(self.errors)
        return super().handshake(hello)

    def put(self, unit: Unit) -> Holdings:
        self.unit_bytes.append(unit.size_bytes)
        self._fail(self.errors)
        held = super().put(unit)
        self._fail(self.after)
        return held

    @staticmethod
    def _fail(errors: list[SyncError | None]) -> None:
        error = errors.pop(0) if errors else None
        if error is not None:
            raise error


class Bench:
    def __init__(self, patterns: Sequence[str] = ("*",)) -> None:
        self.clock = FakeClock()
        self.twin = MemoryTwin()
        self.store = SegmentStore.in_memory(self.twin, clock=self.clock)
        self.store.create_stream("plant/flow")
        self.hub = SegmentStore.in_memory(clock=FakeClock(boot=99))
        self.upstream = Scripted(Receiver(self.hub))
        self.steps: list[str] = []
        self.patterns = patterns
        self.uplink = self.new_uplink()
        self.now_s = 1000.0

    def new_uplink(self) -> Uplink:
        return Uplink(
            "hub",
            "pump-7",
            self.store,
            self.upstream,
            clock=self.clock,
            random=lambda: 0.5,
            patterns=self.patterns,
            trace=lambda step, details: self.steps.append(step),
        )

    def restart(self) -> None:
        self.uplink.close()
        self.store.close()
        self.store = SegmentStore.in_memory(self.twin, clock=self.clock)
        self.uplink = self.new_uplink()

    def write(self, count: int = 1, size_bytes: int = 10) -> None:
        self.now_s += 1.0
        for _ in range(count):
            # Unlike bytes: what is the same throughout would be compressed away.
            self.store.writer("plant/flow", "w").append(self._noise(size_bytes)).result()

    def _noise(self, size_bytes: int) -> bytes:
        return Random(self.store.last_commit).randbytes(size_bytes)

    def step(self) -> float:
        return self.uplink.step(self.now_s)

    def run(self) -> float:
        """Steps without a pause, until the uplink wants to wait."""
        for _ in range(1000):
            wait_s = self.step()
            if wait_s:
                return wait_s
        raise AssertionError("the uplink never waits")


def test_steps_are_named_in_order() -> None:
    bench = Bench()
    bench.write()
    bench.run()
    assert bench.steps == ["uplink.sending", "uplink.confirmed"]


def test_a_live_link_says_for_which_commit_to_wait_and_for_how_long() -> None:
    bench = Bench()
    bench.write()
    assert bench.uplink.follows is None
    assert 0 < bench.run() <= 15.0
    assert bench.uplink.follows == bench.store.last_commit
    bench.write()
    bench.run()
    assert bench.uplink.status().bytes_behind == 0


def test_status_counts_what_was_confirmed_and_what_is_behind() -> None:
    bench = Bench()
    bench.write(3)
    before = bench.uplink.status()
    assert (before.state, before.events_behind, before.events) == (LinkState.OFFLINE, 3, 0)
    assert before.bytes_behind == bench.store.stream("plant/flow").segments[0].length
    bench.run()
    bench.write(2)
    after = bench.uplink.status()
    assert (after.state, after.units, after.events, after.events_behind) == (LinkState.LIVE, 1, 3, 2)
    assert after.commits_behind == 2
    assert after.last_confirmed_ns == bench.clock.wall_ns()
    assert after.bytes > 0
    assert [lag.stream for lag in after.streams] == ["plant/flow"]
    assert after.guarantee == "exactly once, transactional"


def test_a_failure_is_shown_until_data_moves_and_remembered_after() -> None:
    bench = Bench()
    bench.write()
    bench.upstream.errors = [RefusedError("no such node", "Give it a name.")]
    wait_s = bench.run()
    status = bench.uplink.status()
    assert (status.state, status.problem, status.remedy) == (LinkState.BACKOFF, "no such node", "Give it a name.")
    assert status.retry_at_s == bench.now_s + 60.25
    assert wait_s == LONGEST_WAIT_S
    bench.now_s += 61
    bench.run()
    status = bench.uplink.status()
    assert (status.state, status.problem, status.remedy) == (LinkState.LIVE, None, "")
    assert (status.failures, status.last_error) == (1, "no such node")


def test_a_busy_upstream_is_given_time() -> None:
    bench = Bench()
    bench.upstream.errors = [BusyError("later", 40.0)]
    assert 40.0 <= bench.run() <= 41.0


def test_events_behind_stay_exact_when_the_answer_was_lost() -> None:
    bench = Bench()
    bench.write(3)
    bench.upstream.after = [UnreachableError("lost")]
    bench.now_s += bench.run()
    bench.run()
    bench.write(2)
    assert bench.uplink.status().events_behind == 2


def test_what_was_confirmed_is_known_after_a_restart_before_the_link_is_up() -> None:
    bench = Bench()
    bench.write(3)
    bench.run()
    bench.restart()
    bench.write(2)
    status = bench.uplink.status()
    assert (status.state, status.events_behind) == (LinkState.OFFLINE, 2)
    assert status.last_confirmed_ns == bench.clock.wall_ns()
    assert bench.uplink.confirmed["plant/flow"] == bench.hub.holdings("pump-7").streams["plant/flow"]


def test_the_hint_is_written_seldom_and_ends() -> None:
    bench = Bench()
    bench.write()
    for _ in range(100):
        bench.now_s += bench.step()
        bench.store.commit()
    commits = bench.store.last_commit
    assert parse_hint(bench.store.cursor(cursor_name("hub"))) is not None
    for _ in range(100):
        bench.now_s += bench.step()
        bench.store.commit()
    assert bench.store.last_commit == commits


def test_a_hint_of_another_store_or_in_another_format_is_not_believed() -> None:
    bench = Bench()
    other = Hint(UUID(int=3), 5, {}).to_json()
    for raw in (other, b"{}", b"[]", b"\xff", b'{"store": 5, "confirmed_ns": "x", "streams": []}'):
        bench.store.submit((), cursors={cursor_name("hub"): raw}).result()
        assert bench.new_uplink().status().last_confirmed_ns is None


def test_units_shrink_while_requests_fail_on_the_way_and_grow_again() -> None:
    bench = Bench()
    bench.write(200, size_bytes=20_000)
    for _ in range(12):
        bench.upstream.errors = [None, UnreachableError("the link went down")]
        bench.now_s += bench.run()
    sizes = list(bench.upstream.unit_bytes)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] >= 1 << 20
    assert sizes[-1] <= SMALLEST_UNIT_BYTES + 21_000
    bench.upstream.unit_bytes.clear()
    bench.run()
    assert max(bench.upstream.unit_bytes) > sizes[-1] * 8


def test_a_commit_larger_than_a_unit_should_be_goes_over_whole() -> None:
    bench = Bench()
    bench.store.writer("plant/flow", "w").append_many([bytes([n]) * 3000 for n in range(100)]).result()
    bench.uplink._unit_bytes = bench.uplink._max_unit_bytes = 1
    bench.run()
    assert len(bench.upstream.unit_bytes) == 1
    assert bench.uplink.status().events == 100


def test_a_paused_uplink_sends_nothing_and_goes_on_when_resumed() -> None:
    bench = Bench()
    bench.run()
    bench.uplink.pause()
    bench.write()
    assert bench.step() == LONGEST_WAIT_S
    assert bench.uplink.follows is None
    assert (bench.uplink.status().paused, bench.uplink.status().state) == (True, LinkState.OFFLINE)
    bench.uplink.hurry()
    assert bench.step() == LONGEST_WAIT_S
    bench.uplink.resume()
    bench.run()
    assert bench.uplink.status().bytes_behind == 0


def test_hurry_ends_a_pause() -> None:
    bench = Bench()
    bench.write()
    bench.upstream.errors = [RefusedError("no")]
    assert bench.run() >= 60.0
    bench.uplink.hurry()
    bench.run()
    assert bench.uplink.status().bytes_behind == 0


def test_an_idle_link_proves_itself() -> None:
    bench = Bench()
    bench.run()
    asked = bench.upstream.hellos
    for _ in range(20):
        bench.now_s += bench.step()
    assert bench.upstream.hellos > asked
    bench.upstream.errors = [UnreachableError("silent")] * 3
    for _ in range(6):
        bench.now_s += bench.step()
    assert bench.uplink.status().state is not LinkState.LIVE


def test_an_upstream_that_confirms_what_it_does_not_hold_is_not_believed() -> None:
    bench = Bench()
    bench.write()

    class Forgetful(Scripted):
        def put(self, unit: Unit) -> Holdings:
            return Holdings(unit.store, unit.opening, {})

    bench.upstream = Forgetful(Receiver(bench.hub))
    bench.uplink = bench.new_uplink()
    bench.run()
    status = bench.uplink.status()
    assert (status.units, status.state) == (0, LinkState.BACKOFF)
    assert status.problem is not None
    assert "holds nothing" in status.problem


def test_a_stream_made_anew_under_an_old_name_is_a_matter_for_a_person() -> None:
    bench = Bench()
    bench.write()

    class Elsewhere(Scripted):
        def handshake(self, hello: Hello) -> Holdings:
            return Holdings(hello.store, hello.opening, {"plant/flow": Held(UUID(int=5), 1, (HeldSegment(0, 0, 10),))})

    bench.upstream = Elsewhere(Receiver(bench.hub))
    bench.uplink = bench.new_uplink()
    bench.run()
    assert bench.uplink.status().retry_at_s == bench.now_s + 60.25
    assert "another stream" in str(bench.uplink.status().problem)


@pytest.mark.parametrize(
    ("patterns", "name", "selected"),
    [
        (("*",), "plant/flow", True),
        (("*",), "pump-7/plant/flow", True),
        (("*",), "uplink/hub", False),
        (("uplink/*",), "uplink/hub", True),
        (("plant/*",), "plant/flow", True),
        (("plant/*",), "plant/hall/flow", True),
        (("plant/*",), "plants/flow", False),
        (("plant/*", "site/?"), "site/1", True),
        (("plant/*", "site/?"), "site/12", False),
        (("Plant/*",), "plant/flow", False),
        ((), "plant/flow", False),
    ],
)
def test_patterns_select_streams(patterns: tuple[str, ...], name: str, selected: bool) -> None:
    assert selector(patterns)(name) is selected
