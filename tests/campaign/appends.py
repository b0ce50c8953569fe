"""Operations that append: by writers with numbers, loose, on a condition, to several streams at once, with state."""

from __future__ import annotations

from storage import Ticket
from tests.campaign.events import BULK_STREAMS
from tests.campaign.fresh import loose_part
from tests.campaign.scene import NUMBERED, Scene

WRITERS = ("a", "b")


def append(scene: Scene) -> None:
    """A few events of one writer, with its cursor."""
    random = scene.random
    write(scene, random.choice(NUMBERED), random.choice(WRITERS))


def write(scene: Scene, stream: str, writer: str) -> Ticket | None:
    """Events of a writer, tickets in flight."""
    count = scene.random.choice([1, 1, 1, 3] if stream in BULK_STREAMS else [1, 1, 2, 7, 30])
    part = scene.numbered(stream, writer, count)
    end = part.first + count
    return scene.submit("append_many" if count > 1 else "append", [part], {f"{stream}/{writer}": b"%d" % end})


def append_loose(scene: Scene) -> None:
    """Events that nobody numbers."""
    id_ = scene.next_id()
    scene.submit("append loose", [loose_part(scene.random.choice(NUMBERED), id_, scene.random.randint(1, 5))], id_=id_)


def append_to_several(scene: Scene) -> None:
    """One submission to several streams, bulk among them, with a cursor and a change of a table: all of it or nothing."""
    id_ = scene.next_id()
    streams = scene.random.sample(NUMBERED, 3)
    parts = [scene.numbered(streams[0], "a", scene.random.randint(1, 4))]
    parts += [loose_part(stream, id_, scene.random.randint(1, 3)) for stream in streams[1:]]
    value = b"%d" % id_
    scene.submit("append to several", parts, {"several": value}, scene.change("several", value), id_=id_)


def append_conditionally(scene: Scene) -> None:
    """Some appends that each want to be the next: one of them is."""
    (segment,) = scene.store.stream("log").segments
    for _ in range(scene.random.randint(1, 4)):
        id_ = scene.next_id()
        part = loose_part("log", id_, scene.random.randint(1, 3), segment.length)
        scene.submit("append conditionally", [part], id_=id_)


def change_table(scene: Scene) -> None:
    """A conditional change of a table alone; sometimes two that want to be the next."""
    key = scene.random.choice(["x", "y", "z"])
    first = scene.change(key, b"")
    for _ in range(scene.random.choice([1, 1, 1, 2])):
        id_ = scene.next_id()
        scene.submit("change a table", [], None, first._replace(value=b"%d" % id_), id_=id_)


def dump(scene: Scene) -> None:
    """Something large, so that the disk limit is reached; in some stores only."""
    for _ in range(scene.random.randint(1, 4) if scene.full else 0):
        id_ = scene.next_id()
        scene.submit("dump", [loose_part("dump", id_, 1)], id_=id_)
