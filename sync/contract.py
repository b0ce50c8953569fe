"""What replication asks of an upstream, and the ways in which one can fail it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from storage.mirror.unit import Holdings, Unit


@dataclass(frozen=True, slots=True)
class Hello:
    """Who speaks: the node's name, its store, and which opening of that store this is."""

    node: str
    store: UUID
    opening: int


class Upstream(Protocol):
    """One place that events are brought to. Used by one thread; every call ends within its own stated deadline.

    An implementation names the step `uplink.sent` between having handed a unit over and knowing what became of it.
    """

    @property
    def guarantee(self) -> str:
        """What this upstream promises, in the words that the screens show."""

    @property
    def where(self) -> str:
        """Where it is, as a person would look it up."""

    def handshake(self, hello: Hello) -> Holdings:
        """Everything that upstream durably holds of the node, after upstream let this store speak for it.

        Raises UnreachableError, BusyError, RefusedError.
        """

    def put(self, unit: Unit) -> Holdings:
        """Make `unit` durable upstream, whole or not at all; the same unit again changes nothing.

        Returns what upstream holds after it, at least of the unit's streams, and of the node's boots (one that has no use
        for boots answers with the unit's `boots_through`). Raises UnreachableError and BusyError
        (whether it arrived is unknown), DivergedError and RefusedError (it was not applied).
        """

    def close(self) -> None:
        """Give up connections. The upstream may be used again after it, and opens new ones."""


class SyncError(Exception):
    """Base of everything that `sync` raises on purpose. `str()` says what failed, where, and what to do."""


class UnreachableError(SyncError):
    """Upstream could not be asked, or its answer did not arrive. Try again after a pause."""


class BusyError(SyncError):
    """Upstream is there and has no room for this now. Try again after `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RefusedError(SyncError):
    """Upstream says no, and will until somebody changes something. `remedy` says what."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class DivergedError(SyncError):
    """A unit does not continue what upstream holds: ask again what it holds, and go on from there."""
