"""Operations on streams' segments: splits, merges, and streams that are made, written and ended."""

from __future__ import annotations

from storage import KeyRange, SegmentInfo, SegmentState
from storage.errors import ConditionFailedError
from tests.campaign.fresh import loose_part
from tests.campaign.journal import Did, Sealed, Sealing
from tests.campaign.scene import PART, SCALED, Scene

MOST_OPEN = 4


def scale(scene: Scene) -> None:
    """Split an open segment, or merge two neighbours, while appends are in flight."""
    stream = scene.random.choice(SCALED)
    opened = sorted(
        (s for s in scene.store.stream(stream).segments if s.state is SegmentState.OPEN), key=lambda s: s.keys.low
    )
    if len(opened) > 1 and (len(opened) >= MOST_OPEN or scene.random.random() < 0.4):
        place = scene.random.randrange(len(opened) - 1)
        _merge(scene, stream, opened[place], opened[place + 1])
    else:
        segment = scene.random.choice(opened)
        _scale(scene, "split", stream, [segment], list(segment.keys.split(scene.random.choice([2, 2, 3]))))


def _merge(scene: Scene, stream: str, low: SegmentInfo, high: SegmentInfo) -> None:
    _scale(scene, "merge", stream, [low, high], [KeyRange(low.keys.low, high.keys.high)])


def _scale(scene: Scene, what: str, stream: str, seal: list[SegmentInfo], ranges: list[KeyRange]) -> None:
    try:
        scene.store.scale(stream, [segment.id for segment in seal], ranges)
    except ConditionFailedError:
        return
    scene.journal.say(Did(f"{what} a segment"))


def live_and_end(scene: Scene) -> None:
    """A stream's life: made, written to, ended; what comes then is refused."""
    id_ = scene.next_id()
    name = f"part-{id_}"
    scene.store.create_stream(name, PART)
    scene.journal.say(Did("create a stream"))
    for _ in range(scene.random.randint(0, 3)):
        id_ = scene.next_id()
        scene.submit("append loose", [loose_part(name, id_, scene.random.randint(1, 4))], id_=id_)
    scene.journal.say(Sealing(name))
    scene.store.seal(name)
    scene.journal.say(Sealed(name, scene.lengths(name)))
    scene.journal.say(Did("seal a stream"))
    id_ = scene.next_id()
    scene.submit("append to what is sealed", [loose_part(name, id_, 1)], id_=id_)
