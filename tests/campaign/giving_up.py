"""Operations that give up: truncation by hand, retention by policy, with what is confirmed and read."""

from __future__ import annotations

from collections.abc import Mapping

from storage import Position
from tests.campaign.events import BULK_STREAMS
from tests.campaign.journal import Did, Retaining, Truncating
from tests.campaign.scene import NUMBERED, Scene

UPSTREAM = ("flow", "film", "log", "aged")
"""Streams that an upstream wants: what it has not confirmed is kept."""
CONFIRMED_SHARE = 0.15
"""So often the upstream has confirmed something more since the last time."""
LATE_NS = 3_000_000_000_000_000_000
"""No machine's clock goes beyond 2262."""


def truncate(scene: Scene) -> None:
    """Give up the older part of some segment: up to any byte, which is brought to a commit's start."""
    _truncate(scene, scene.random.choice([*NUMBERED, "log"]))


def truncate_bulk(scene: Scene) -> None:
    """The same of bulk, whose chunks then go."""
    _truncate(scene, scene.random.choice(BULK_STREAMS))


def _truncate(scene: Scene, stream: str) -> None:
    random = scene.random
    segment = random.choice(scene.store.stream(stream).segments)
    if segment.start == segment.length:
        return
    most = segment.start + (segment.length - segment.start) * random.choice([1, 1, 2]) // 2
    at = Position(segment.id.number, segment.id.epoch, random.randint(segment.start, most))
    scene.journal.say(Truncating(stream, (at,)))
    if scene.store.truncate(stream, at):
        scene.journal.say(Did("truncate"))


def retain(scene: Scene) -> None:
    """A step of retention: upstream has confirmed what it holds; of what nobody consumes, nothing is said."""
    confirmed = confirm(scene)
    consumed = scene.store.reader_groups.consumed()
    scene.journal.say(Retaining(confirmed, consumed))
    report = scene.store.retain(confirmed, consumed)
    scene.journal.say(Did("retain"))
    for what, times in (("truncated", len(report.truncated)), ("retired a generation", len(report.retired))):
        if times:
            scene.journal.say(Did(f"retain: {what}", times))
    if report.compacted is not None:
        scene.journal.say(Did("retain: compacted a generation"))


def confirm(scene: Scene) -> Mapping[str, int]:
    """What the upstream holds: the hub's word where there is one, else now and then all but the newest commits."""
    if scene.hub is not None:
        held = scene.hub.holdings("edge").streams
        return {stream: held[stream].through if stream in held else 0 for stream in UPSTREAM}
    if scene.random.random() < CONFIRMED_SHARE:
        newest = scene.store.last_commit - scene.random.choice([0, 3, 30])
        scene.confirmed |= {stream: max(newest, scene.confirmed.get(stream, 0)) for stream in UPSTREAM}
    return {stream: scene.confirmed.get(stream, 0) for stream in UPSTREAM}


def pass_time(scene: Scene) -> None:
    """Time passes; now and then the wall clock jumps, is believed, or is not any more."""
    random = scene.random
    jump_s = random.choice([0.0, 0.0, 0.0, 3600.0, -86_400.0, 1e9 if scene.clock.wall_ns() < LATE_NS else -1e9])
    scene.tick(random.choice([0.1, 1.0, 10.0, 40.0]), jump_s, random.choice([None, True, False]))
    if scene.store.keep_time():
        scene.journal.say(Did("keep the time"))
