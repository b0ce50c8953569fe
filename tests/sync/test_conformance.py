"""The conformance suite: what every kind of upstream must keep, under a schedule of faults drawn from a seed."""

from __future__ import annotations

import pytest

from storage.model import StreamConfig
from sync.fake import CALM, Fault, Schedule
from sync.replicator import LinkState
from tests.sync.kinds import KINDS
from tests.sync.world import Kind, events, world_of

LONG = pytest.mark.long


def seeds(quick: int, all_of_them: int) -> list[object]:
    return [seed if seed < quick else pytest.param(seed, marks=LONG) for seed in range(all_of_them)]


every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@every_kind
def test_what_was_written_arrives_once_and_in_order(kind: Kind) -> None:
    with world_of(kind, seed=1) as world:
        for _ in range(30):
            world.gateways[0].write()
        status = world.gateways[0].drain()
        assert status.events == sum(world.gateways[0].told_safe.values())
        assert (status.commits_behind, status.events_behind, status.failures) == (0, 0, 0)
        world.check_prefix()
        world.check_exactly_once()


@pytest.mark.long
@every_kind
@pytest.mark.parametrize("seed", seeds(1, 12))
def test_exactly_once_under_every_fault_and_power_cut(kind: Kind, seed: int) -> None:
    with world_of(kind, seed) as world:
        world.disturb(0.01, Schedule())
        world.live(250)
        world.settle()
        world.check_exactly_once()


@pytest.mark.long
@every_kind
@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.NONE], ids=lambda fault: fault.name)
def test_exactly_once_when_most_requests_meet_one_fault(kind: Kind, fault: Fault) -> None:
    with world_of(kind, seed=5) as world:
        world.disturb(0.0, Schedule({Fault.NONE: 0.4, fault: 0.6}))
        world.live(100)
        assert world.links[0].hits[fault] > 0
        world.settle()
        world.check_exactly_once()


@every_kind
def test_the_same_unit_again_changes_nothing(kind: Kind) -> None:
    with world_of(kind, seed=2) as world:
        world.disturb(0.0, Schedule({Fault.DUPLICATED: 1.0}))
        gateway = world.gateways[0]
        for _ in range(10):
            gateway.write()
        status = gateway.drain()
        assert status.failures == 0
        world.check_prefix()
        world.check_exactly_once()


@pytest.mark.long
@every_kind
@pytest.mark.parametrize("seed", seeds(1, 4))
def test_gateways_under_different_names_do_not_meet(kind: Kind, seed: int) -> None:
    with world_of(kind, seed, gateways=3) as world:
        world.disturb(0.005, Schedule())
        world.live(200)
        world.settle()
        world.check_exactly_once()


@pytest.mark.long
@every_kind
def test_commits_over_many_streams_arrive_whole(kind: Kind) -> None:
    with world_of(kind, seed=3, streams=40) as world:
        world.disturb(0.0, Schedule({Fault.NONE: 1.0, Fault.ANSWER_LOST: 0.3, Fault.DELAYED: 0.3}))
        gateway = world.gateways[0]
        for _ in range(15):
            gateway.write_across_streams()
            gateway.write()
            gateway.replicate()
            world.check_whole_commits()
        world.settle()
        world.check_whole_commits()
        world.check_exactly_once()


@every_kind
def test_a_stream_selected_later_is_brought_from_its_beginning(kind: Kind) -> None:
    with world_of(kind, seed=4) as world:
        gateway = world.gateways[0]
        gateway.patterns = ("plant/0",)
        gateway.start()
        for _ in range(20):
            gateway.write()
        gateway.drain()
        assert world.hub.store.has_stream("pump-7/plant/0")
        assert not world.hub.store.has_stream("pump-7/plant/1")
        gateway.patterns = ("plant/*",)
        gateway.start()
        gateway.drain()
        world.check_exactly_once()
        assert world.hub.store.has_stream("pump-7/plant/1")


@every_kind
def test_what_a_stream_is_for_goes_with_it(kind: Kind) -> None:
    with world_of(kind, seed=4) as world:
        gateway = world.gateways[0]
        gateway.write_across_streams()
        gateway.drain()
        info = world.hub.store.stream("pump-7/plant/0")
        assert info.config == StreamConfig(attributes={"unit": "m3/h"})
        assert info.origin == "pump-7"


@every_kind
def test_a_wiped_store_under_a_known_name_is_refused_with_what_to_do(kind: Kind) -> None:
    with world_of(kind, seed=6, gateways=1) as world:
        gateway = world.gateways[0]
        gateway.write()
        gateway.drain()
        known = gateway.store.store_id
        gateway.store.close()
        gateway.twin = type(gateway.twin)()
        gateway.told_safe = dict.fromkeys(gateway.streams, 0)
        gateway.down = True
        gateway.start()
        gateway.write()
        gateway.replicate()
        status = gateway.uplink.status()
        assert status.state is LinkState.BACKOFF
        assert status.problem is not None
        for part in ("'pump-7'", str(known), str(gateway.store.store_id), "give this gateway another [node] name"):
            assert part in status.problem
        assert status.events == 0


@every_kind
def test_an_older_copy_of_a_store_is_refused_with_what_to_do(kind: Kind) -> None:
    with world_of(kind, seed=7) as world:
        gateway = world.gateways[0]
        gateway.write()
        gateway.store.close()
        copy = gateway.twin.copy()
        gateway.down = True
        for _ in range(3):
            gateway.start()
            gateway.write()
            gateway.drain()
        gateway.store.close()
        gateway.twin = copy
        gateway.down = True
        gateway.start()
        gateway.replicate()
        gateway.replicate()
        status = gateway.uplink.status()
        assert status.state is LinkState.BACKOFF
        assert status.problem is not None
        assert "older copy" in status.problem
        assert "[node] name" in status.problem


@every_kind
def test_an_older_copy_that_wrote_on_is_never_mixed_in(kind: Kind) -> None:
    """Even where it has caught up in openings and commits, it continues other bytes than those that are held."""
    with world_of(kind, seed=8) as world:
        gateway = world.gateways[0]
        gateway.write_across_streams()
        gateway.store.close()
        copy = gateway.twin.copy()
        gateway.down = True
        gateway.start()
        gateway.write_across_streams()
        gateway.drain()
        held = {stream: world.hub.store.stream(f"pump-7/{stream}") for stream in gateway.streams}
        gateway.store.close()
        gateway.twin = copy
        gateway.told_safe = dict.fromkeys(gateway.streams, 1)
        gateway.down = True
        gateway.start()
        gateway.clock.advance(3600)
        for _ in range(5):
            gateway.write_across_streams()
        for _ in range(40):
            gateway.replicate()
        status = gateway.uplink.status()
        assert status.problem is not None
        assert status.units == 0
        assert {stream: world.hub.store.stream(f"pump-7/{stream}") for stream in gateway.streams} == held


@every_kind
def test_an_upstream_that_was_set_back_is_filled_again(kind: Kind) -> None:
    with world_of(kind, seed=9) as world:
        gateway = world.gateways[0]
        for _ in range(5):
            gateway.write()
        gateway.drain()
        world.hub.store.close()
        backup = world.hub.twin.copy()
        world.hub.down = True
        world.hub.start()
        for _ in range(5):
            gateway.write()
        gateway.drain()
        world.hub.store.close()
        world.hub.twin = backup
        world.hub.down = True
        world.hub.start()
        for _ in range(10):
            gateway.replicate()
        gateway.drain()
        world.check_prefix()
        world.check_exactly_once()


@every_kind
def test_a_hub_whose_engine_asks_for_a_pause_is_waited_for(kind: Kind) -> None:
    with world_of(kind, seed=10) as world:
        gateway = world.gateways[0]
        gateway.write()
        gateway.drain()
        world.hub.twin.stalled_writes = 1
        for _ in range(5):
            gateway.write()
        gateway.drain()
        world.check_exactly_once()


@pytest.mark.long
@every_kind
def test_a_schedule_meets_every_fault(kind: Kind) -> None:
    """A schedule that never fails would prove nothing."""
    with world_of(kind, seed=11) as world:
        world.disturb(0.0, Schedule())
        world.live(200)
        hits = world.links[0].hits
        world.settle()
    assert all(hits[fault] for fault in Fault), hits


@every_kind
def test_a_clock_that_is_corrected_later_is_corrected_upstream_too(kind: Kind) -> None:
    """Also where that boot writes nothing more, and where it was never corrected and only its neighbours bound it."""
    with world_of(kind, seed=15) as world:
        gateway, clock = world.gateways[0], world.gateways[0].clock
        gateway.write_across_streams()
        true_ns = clock.wall_ns()
        clock.reference = False
        clock.step_wall(-true_ns / 1e9)
        for _ in range(2):
            gateway.start()
            clock.advance(60)
            gateway.write_across_streams()
            gateway.drain()
        stream = f"pump-7/{gateway.streams[0]}"
        assert [event.uncertain for event in events(world.hub.store, stream)] == [False, True, True]
        clock.advance(60)
        clock.step_wall((true_ns + int(3600e9) - clock.wall_ns()) / 1e9)
        clock.reference = True
        assert gateway.store.keep_time() and gateway.store.commit()
        for _ in range(5):
            gateway.replicate()
        here, there = events(gateway.store, gateway.streams[0]), events(world.hub.store, stream)
        assert [(e.time_ns, e.uncertain) for e in there] == [(e.time_ns, e.uncertain) for e in here]
        assert [event.uncertain for event in there] == [False, True, False]
        assert there[2].time_ns == true_ns + int(3540e9)
        assert true_ns <= there[1].time_ns <= there[2].time_ns
        assert not gateway.store.keep_time()


@pytest.mark.long
@every_kind
def test_a_correction_arrives_under_every_fault_and_power_cut(kind: Kind) -> None:
    with world_of(kind, seed=16) as world:
        world.disturb(0.01, Schedule())
        gateway = world.gateways[0]
        for round_number in range(12):
            gateway.clock.reference = round_number % 3 == 0
            gateway.clock.step_wall(-1000)
            world.live(15)
            gateway.cut_power()
            world.recover()
        gateway.clock.reference = True
        world.disturb(0.0, CALM)
        gateway.store.keep_time()
        gateway.store.commit()
        world.settle()
        for _ in range(5):
            gateway.replicate()
        for stream in gateway.streams:
            here = [(e.time_ns, e.uncertain) for e in events(gateway.store, stream)]
            assert [(e.time_ns, e.uncertain) for e in events(world.hub.store, f"pump-7/{stream}")] == here
            assert {uncertain for _, uncertain in here} == {True, False}


COMMIT_STEPS = ["commit.building", "commit.writing", "commit.written", "commit.synced"]


@pytest.mark.long
@every_kind
@pytest.mark.parametrize("visit", [pytest.param(1, marks=LONG), 2, pytest.param(5, marks=LONG)])
@pytest.mark.parametrize("step", [*COMMIT_STEPS, "uplink.sending", "uplink.sent", "uplink.confirmed"])
def test_exactly_once_when_the_gateway_loses_power_at_a_step(kind: Kind, step: str, visit: int) -> None:
    with world_of(kind, seed=12) as world:
        world.gateways[0].start()
        world.gateways[0].aim = (step, visit)
        world.live(60)
        assert world.hits[step] == 1, f"{step} was never visited for the {visit}. time"
        world.settle()
        world.check_exactly_once()


@pytest.mark.long
@every_kind
@pytest.mark.parametrize("visit", [pytest.param(1, marks=LONG), 2, pytest.param(5, marks=LONG)])
@pytest.mark.parametrize("step", [*COMMIT_STEPS, "hub.received", "hub.applied"])
def test_exactly_once_when_the_hub_loses_power_at_a_step(kind: Kind, step: str, visit: int) -> None:
    with world_of(kind, seed=13) as world:
        world.hub.start()
        world.hub.aim = (step, visit)
        world.live(60)
        assert world.hits[step] == 1, f"{step} was never visited for the {visit}. time"
        world.settle()
        world.check_exactly_once()


@pytest.mark.parametrize("visit", [1, 3])
def test_exactly_once_when_the_hub_loses_power_after_its_answer(visit: int) -> None:
    with world_of(KINDS["http"], seed=14) as world:
        world.hub.start()
        world.hub.aim = ("hub.replied", visit)
        world.live(60)
        assert world.hits["hub.replied"] == 1
        world.settle()
        world.check_exactly_once()
