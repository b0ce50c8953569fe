"""How a store's user comes to its reader groups."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

from storage.clock import Clock
from storage.model import INTERNAL, Position, SegmentId, StreamCut, StreamInfo, check_stream_name
from storage.readers.group import ReaderGroup, Where
from storage.readers.group_codec import GroupCodec
from storage.readers.reader import GroupConfig
from storage.reading import SegmentReader
from storage.state.access import Creating, StateAccess

GROUPS = INTERNAL + "groups/"


class Reading(Creating, Protocol):
    """A store as far as groups use it."""

    @property
    def clock(self) -> Clock: ...

    @property
    def blocked(self) -> str | None: ...

    def segment_reader(self, segment: SegmentId, start: Position) -> SegmentReader: ...

    def cut(self, stream: str, where: str | StreamCut) -> StreamCut: ...

    def streams(self, *, internal: bool = False) -> list[StreamInfo]: ...


class Groups:
    """The reader groups of one open store: of each name one object, which knows who is alive."""

    def __init__(self, store: Reading) -> None:
        self._store = store
        self._open: dict[str, ReaderGroup] = {}
        self._lock = threading.Lock()

    def get(
        self,
        name: str,
        streams: Sequence[str] | None = None,
        *,
        start: Where = "head",
        stop: Where | None = None,
        config: GroupConfig | None = None,
    ) -> ReaderGroup:
        """The group of that name, made where it is new: then it reads `streams` from `start` to `stop`.

        A group that there is goes on where it stands. `config` is not stored: it counts from this call on.
        Raises InvalidNameError, StorageError (a new one without streams, one that reads others), UnknownStreamError.
        """
        check_stream_name(GROUPS + name)
        group = self._load(name)
        if config is not None:
            group.config = config
        group.set_up(streams, start, stop)
        return group

    def _load(self, name: str) -> ReaderGroup:
        with self._lock:
            if name not in self._open:
                synchronizer = StateAccess.synchronizer(self._store, GROUPS + name, GroupCodec())
                self._open[name] = ReaderGroup(self._store, synchronizer, name)
            return self._open[name]

    def consumed(self) -> dict[str, tuple[Position, ...]]:
        """What `SegmentStore.retain` asks for: of each stream that groups read, up to where all of them are done with it.

        Groups that nobody has opened since the start count as well.
        """
        read: dict[SegmentId, int] = {}
        for name in self.names():
            for of_stream in self._load(name).consumed().values():
                for segment, offset in of_stream.items():
                    read[segment] = min(offset, read.get(segment, offset))
        positions: dict[str, tuple[Position, ...]] = {}
        for segment, offset in sorted(read.items()):
            here = Position(segment.number, segment.epoch, offset)
            positions[segment.stream] = (*positions.get(segment.stream, ()), here)
        return positions

    def names(self) -> list[str]:
        """Every group there is."""
        own = [info.name for info in self._store.streams(internal=True) if info.name.startswith(GROUPS)]
        return [name[len(GROUPS) :] for name in own]
