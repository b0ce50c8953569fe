"""The readers of a group under test. Each keeps its position and what it made of the events in one step, as
`reader_offline` asks of them, and any of them may die."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from storage import Event
from storage.errors import StoreBusyError
from storage.model import SegmentId, StreamInfo
from storage.readers import CheckpointEvent, Reader, ReaderGroup, ReaderPosition

E = TypeVar("E")
"""What stands for an event."""


class Crew(Generic[E]):
    """All that happens in here may be cut off by a `Killed`: who was on the way is then dead."""

    def __init__(self, names: Sequence[str], streams: Sequence[str], stream: Callable[[str], StreamInfo]) -> None:
        """`names` of the readers that there may be, the `streams` that they read, and what the store says of one."""
        self.names = names
        self._streams = streams
        self._stream = stream
        self.dealt_with: list[E] = []
        self.online: dict[str, Reader] = {}
        self.kept: dict[str, ReaderPosition] = {}
        self.dead: set[str] = set()
        self.left_over: set[str] = set()
        """Of the dead, those from before a restart."""
        self.begun: dict[str, tuple[list[E], set[str]]] = {}
        """Of a checkpoint: what was dealt with before it, and the readers that have not passed it."""

    def come_back(self, group: ReaderGroup) -> None:
        """The store was opened, perhaps after a power cut: nobody is online."""
        self.group = group
        self.dead |= set(self.online)
        self.left_over = set(self.dead)
        self.online.clear()

    # one reader

    def join(self, reader: str) -> None:
        if reader in self.online:
            return
        if reader in self.dead - self.left_over:
            self.declare_dead(reader)
        self.dead.add(reader)
        self.left_over.add(reader)
        self.online[reader] = self.group.reader(reader, self.kept.get(reader))
        self._gone(reader)

    def die(self, reader: str) -> None:
        del self.online[reader]
        self.dead.add(reader)

    def declare_dead(self, reader: str) -> None:
        self.group.reader_offline(reader, self.kept.get(reader))
        self._gone(reader)

    def close(self, reader: str) -> None:
        self.online[reader].close()
        del self.online[reader]
        self._gone(reader)

    def _gone(self, reader: str) -> None:
        """What it left is somebody's: its own again, or others'."""
        self.kept.pop(reader, None)
        self.dead.discard(reader)
        self.left_over.discard(reader)
        for _, waiting in self.begun.values():
            waiting.discard(reader)

    def deal_with(self, reader: str, items: Iterable[object], made_of: Callable[[Event], E]) -> None:
        """What a reader was handed out. `made_of` makes something of an event, before it counts as dealt with."""
        for item in items:
            if isinstance(item, CheckpointEvent):
                self.begun[item.name][1].discard(reader)
            elif isinstance(item, Event):
                event = made_of(item)
                self.dealt_with.append(event)
                for behind, waiting in self.begun.values():
                    if reader in waiting:
                        behind.append(event)
        self.kept[reader] = self.online[reader].position

    # checkpoints

    def checkpoint(self) -> None:
        name = f"c{len(self.begun)}"
        self.begun[name] = (list(self.dealt_with), {*self.online, *self.dead})
        try:
            self.group.checkpoint(name)
        except StoreBusyError:
            del self.begun[name]

    def complete(self) -> list[str]:
        return [checkpoint.name for checkpoint in self.group._synchronizer.fetch().complete]

    def reset_to(self, name: str) -> None:
        self.group.reset_to_checkpoint(name)
        self.dealt_with = list(self.begun[name][0])
        for held in (self.online, self.kept, self.dead, self.left_over):
            held.clear()
        for _, waiting in self.begun.values():
            waiting.clear()

    # what holds

    def look(self) -> None:
        """Each segment has one reader, and where the group stands is a cut of the key space."""
        owned = [segment for segments in self.group.readers.values() for segment in segments]
        assert len(owned) == len(set(owned))
        for cut_of in (self.group.cut(), self.group.retention_cut()):
            assert set(cut_of) == set(self._streams)
            for stream, cut in cut_of.items():
                keys = {info.id: info.keys for info in self._stream(stream).segments}
                ranges = sorted((keys[SegmentId(stream, *p[:2])] for p in cut.positions), key=lambda of: of.low)
                assert [of.low for of in ranges] == [0, *(of.high for of in ranges[:-1])]
                assert ranges[-1].high == 1 << 64

    def read_to_the_end(self, read: Callable[[str, int], bool]) -> None:
        """All of them, and nothing else happens. `read` says whether a reader got anything, of so many at most."""
        for reader in list(self.dead):
            self.declare_dead(reader)
        for reader in self.names:
            self.join(reader)
        quiet = rounds = 0
        while quiet < 12:
            rounds += 1
            assert rounds < 500, "the readers come to an end"
            got = [read(reader, 50) for reader in list(self.online)]
            quiet = 0 if any(got) else quiet + 1
        self.look()
        shares = [len(segments) for segments in self.group.readers.values()]
        assert max(shares) - min(shares) <= 1, "shares are fair"
        assert self.group.unread_bytes() == dict.fromkeys(self._streams, 0)
