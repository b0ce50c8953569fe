"""The hub's side: lets a store speak for a node, and applies its units. Knows nothing of how they travelled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol
from uuid import UUID

from storage.errors import (
    ConditionFailedError,
    DamagedBlockError,
    InvalidNameError,
    OriginRefusedError,
    StorageError,
    StoreBusyError,
    StoreFullError,
    TooLargeError,
)
from storage.mirror.unit import Holdings, Unit
from storage.ticket import Ticket
from storage.trace import Trace, no_trace
from sync.contract import BusyError, DivergedError, Hello, RefusedError, SyncError, UnreachableError

BUSY_RETRY_S = 1.0
FULL_RETRY_S = 10.0


class MirrorStore(Protocol):
    """What a receiver needs of the hub's store."""

    @property
    def blocked(self) -> str | None: ...

    def admit(self, node: str, store: UUID, opening: int) -> Holdings: ...

    def submit_unit(self, unit: Unit) -> Ticket: ...

    def holdings(self, node: str, wanted: Iterable[str] | None = None) -> Holdings: ...


class Receiver:
    """Admits nodes and applies their units to `store`. Any thread may call it.

    Raises what the store raises; `translate` says what that means to the node that asked.
    """

    def __init__(self, store: MirrorStore, trace: Trace = no_trace) -> None:
        self._store = store
        self._trace = trace

    def admit(self, hello: Hello) -> Holdings:
        """What is held of the node, where that store and opening may speak for it.

        Raises OriginRefusedError, InvalidNameError, StorageError.
        """
        return self._store.admit(hello.node, hello.store, hello.opening)

    def apply(self, unit: Unit) -> Ticket:
        """Queue a unit. Its ticket resolves once it is durable, or with what refused it. Raises StorageError."""
        self._trace("hub.received", _details(unit))
        blocked = self._store.blocked
        if blocked is not None:
            # Every node would send its unit again and again, and each copy would wait in the queue for the disk.
            raise StoreBusyError(f"nothing can be written now: {blocked}")
        return self._store.submit_unit(unit)

    def applied(self, unit: Unit) -> Holdings:
        """What is held of the unit's streams, after its ticket resolved."""
        self._trace("hub.applied", _details(unit))
        return self._store.holdings(unit.node, [part.stream for part in unit.parts])


def translate(error: StorageError) -> SyncError:
    """What an error of the hub's store means to the node whose request met it."""
    text = str(error)
    match error:
        case ConditionFailedError():
            meaning: SyncError = DivergedError(text)
        case OriginRefusedError() | InvalidNameError() | TooLargeError():
            meaning = RefusedError(text)
        case DamagedBlockError():
            meaning = RefusedError(text, "Run `edge check` on the gateway: a block of its store is damaged.")
        case StoreFullError():
            meaning = BusyError(f"the hub's disk is full: {text}", FULL_RETRY_S)
        case StoreBusyError():
            meaning = BusyError(f"the hub has much to write: {text}", BUSY_RETRY_S)
        case _:
            meaning = UnreachableError(f"the hub's store can't take it now: {text}")
    return meaning


def _details(unit: Unit) -> dict[str, object]:
    return {"node": unit.node, "events": unit.events, "bytes": unit.size_bytes}
