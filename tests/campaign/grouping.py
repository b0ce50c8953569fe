"""Operations of a reader group: two readers share some streams, and keep what they read in the journal."""

from __future__ import annotations

from storage import Event
from storage.readers import CheckpointEvent, GroupConfig, Reader, ReaderGroup, ReaderPosition
from tests.campaign.journal import Did, Handed
from tests.campaign.scene import Scene

GROUP = "campaign"
STREAMS = ("flow", "eaten")
READERS = ("left", "right")
AT_ONCE = 60


class Members:
    """The group's readers of this round, each going on where the journal says that it stood."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._group: ReaderGroup = scene.store.reader_group(
            GROUP, STREAMS, config=GroupConfig(lease_s=1e6, record_interval_s=3.0)
        )
        for left in self._group.readers:
            self._group.reader_offline(left, self._stood(left))
        self._readers: dict[str, Reader] = {}

    def _stood(self, reader: str) -> ReaderPosition | None:
        text = self._scene.places.get(f"{GROUP} {reader}")
        return None if text is None else ReaderPosition.parse(text)

    def read(self, name: str) -> None:
        """The next events, written down with the reader's position before it reads on: so each comes once."""
        if name not in self._readers:
            # Where one of that name once stood does not count any more: it owns nothing yet.
            self._scene.journal.say(Handed(GROUP, name, (), str(ReaderPosition({}))))
            self._readers[name] = self._group.reader(name)
        reader = self._readers[name]
        items = reader.read(AT_ONCE)
        events = tuple((item.stream, item.position) for item in items if isinstance(item, Event))
        self._scene.journal.say(Handed(GROUP, name, events, str(reader.position)))
        done = "pass a checkpoint" if any(isinstance(item, CheckpointEvent) for item in items) else "read in the group"
        self._scene.journal.say(Did(done))

    def leave(self, name: str) -> None:
        reader = self._readers.pop(name, None)
        if reader is not None:
            reader.close()
            self._scene.journal.say(Did("leave the group"))

    def checkpoint(self, name: str) -> None:
        self._group.checkpoint(name)
        self._scene.journal.say(Did("checkpoint"))


def read_group(scene: Scene) -> None:
    """A reader reads; now and then one leaves, or a checkpoint is asked for."""
    if scene.members is None:
        scene.members = Members(scene)
    name = scene.random.choice(READERS)
    chance = scene.random.random()
    if chance < 0.05:
        scene.members.leave(name)
    elif chance < 0.1:
        scene.members.checkpoint(f"c{scene.next_id()}")
    else:
        scene.members.read(name)
