"""Replication broken on purpose, one promise at a time: the suite's own checks must notice each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage.mirror import taking
from storage.mirror.unit import Held, HeldSegment, Holdings, Unit
from sync.fake import Fault, LoopbackUpstream, Schedule
from tests.sync.kinds import loopback
from tests.sync.world import World, world_of


class Piecemeal(LoopbackUpstream):
    """Applies a unit stream by stream: a power cut in between leaves half of it."""

    def put(self, unit: Unit) -> Holdings:
        for part in unit.parts[:-1]:
            super().put(replace(unit, parts=(part,)))
        return super().put(replace(unit, parts=unit.parts[-1:]))


class Hasty(LoopbackUpstream):
    """Confirms what it has queued, before it is durable."""

    def put(self, unit: Unit) -> Holdings:
        self.receiver.apply(unit)
        held = {
            part.stream: Held(
                part.incarnation, part.through, (HeldSegment(0, 0, part.entries[-1].start + part.entries[-1].length),)
            )
            for part in unit.parts
        }
        return Holdings(unit.store, unit.opening, held, unit.boots_through)


def replaced(world: World, upstream: LoopbackUpstream) -> None:
    world.links[0]._inner = upstream
    world.hub.changed.append(lambda: setattr(upstream, "receiver", world.hub.receiver))


def test_a_unit_applied_piece_by_piece_is_noticed() -> None:
    with world_of(loopback, seed=1, streams=3) as world, pytest.raises(AssertionError, match="are missing below"):
        replaced(world, Piecemeal(world.hub.receiver))
        for visit in range(1, 10):
            world.gateways[0].write_across_streams()
            world.hub.start()
            world.hub.aim = ("hub.received", 1 + visit % 3)
            for _ in range(10):
                world.gateways[0].replicate()
                world.recover()
                world.check_whole_commits()


def test_a_confirmation_before_the_sync_is_noticed() -> None:
    with world_of(loopback, seed=1) as world, pytest.raises(AssertionError, match="is not durable upstream"):
        replaced(world, Hasty(world.hub.receiver))
        world.live(100)


def test_a_hub_that_takes_everything_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "_continues", lambda group, unit, part: True)
    with world_of(loopback, seed=1) as world, pytest.raises(AssertionError, match="no prefix of its local history"):
        world.disturb(0.0, Schedule({Fault.NONE: 1.0, Fault.ANSWER_LOST: 1.0, Fault.DUPLICATED: 1.0}))
        world.live(200)
