"""How a store's user comes to its reader groups."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

from storage.clock import Clock
from storage.model import INTERNAL, Position, SegmentId, StreamCut, StreamInfo, check_stream_name
from storage.readers.group import GroupConfig, ReaderGroup, Where
from storage.readers.group_codec import GroupCodec
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

        A group that there is goes on where it stands; `config` counts for the first call after the store was opened.
        Raises InvalidNameError, StorageError (a new one without streams, one that reads others), UnknownStreamError.
        """
        check_stream_name(GROUPS + name)
        with self._lock:
            group = self._open.get(name)
            if group is None:
                synchronizer = StateAccess.synchronizer(self._store, GROUPS + name, GroupCodec())
                group = ReaderGroup(self._store, synchronizer, name, config or GroupConfig())
            group.set_up(streams, start, stop)
            self._open[name] = group
            return group

    def names(self) -> list[str]:
        """Every group there is."""
        own = [info.name for info in self._store.streams(internal=True) if info.name.startswith(GROUPS)]
        return [name[len(GROUPS) :] for name in own]
