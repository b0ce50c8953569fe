"""How a store's user comes to the state in it."""

from __future__ import annotations

from typing import Protocol, TypeVar

from storage.model import STATE, StreamConfig
from storage.queue import Take
from storage.state import revisioned, table
from storage.state.revisioned import RevisionedStream
from storage.state.synchronizer import COMPACT_BYTES, Codec, StateSynchronizer
from storage.state.table import Table
from storage.ticket import Ticket

CONFIG = StreamConfig(kind=STATE, priority=1 << 20)
"""Of a generation of its own, so that nothing else waits to be given up because of a little state."""

S = TypeVar("S")
U = TypeVar("U")


class Submitting(Protocol):
    """A store that takes steps of commits."""

    def submit_take(self, take: Take, size_bytes: int) -> Ticket: ...


class Creating(revisioned.Store, Protocol):
    """A store that makes streams, too."""

    def create_stream(self, name: str, config: StreamConfig | None = None) -> bool: ...


class StateAccess:
    """What a store offers of state."""

    def table(self: table.Store, name: str) -> Table:
        """The key-value table of that name; there is no need to create it. Raises InvalidNameError."""
        return Table(self, name)

    def revisioned(self: Creating, name: str) -> RevisionedStream:
        """The stream of that name as a log with revisions, created where missing.

        Raises InvalidNameError, StorageError where the stream has more than one segment.
        """
        self.create_stream(name, CONFIG)
        return RevisionedStream(self, name)

    def synchronizer(
        self: Creating, name: str, codec: Codec[S, U], *, compact_bytes: int = COMPACT_BYTES
    ) -> StateSynchronizer[S, U]:
        """A state on the stream of that name, created where missing; nothing is fetched yet. Raises as `revisioned`."""
        self.create_stream(name, CONFIG)
        return StateSynchronizer(RevisionedStream(self, name), codec, compact_bytes=compact_bytes)
