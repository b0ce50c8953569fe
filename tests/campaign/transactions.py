"""What the journal tells of transactions: what was put into each, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.campaign.journal import (
    Aborted,
    Aborting,
    Began,
    Committing,
    Expiring,
    Part,
    Put,
    PutRefused,
    Putting,
    Transacted,
)


@dataclass
class Open:
    """A transaction that may be open, or whose end is not verified yet."""

    streams: tuple[str, ...]
    lease_s: float
    touched_ns: int
    """How long the machine had run when something was last put into it."""
    parts: dict[int, Part] = field(default_factory=dict)
    put: set[int] = field(default_factory=set)
    """Those of the parts that were acknowledged."""
    commit: int | None = None
    """The submission by which it was to be committed."""
    aborting: bool = False
    aborted: bool = False
    expiring: bool = False


def take(transactions: dict[int, Open], record: Transacted, uptime_ns: int) -> None:
    """Take in one record."""
    if isinstance(record, Began):
        transactions[record.id] = Open(record.streams, record.lease_s, uptime_ns)
        return
    if isinstance(record, Expiring):
        for each in transactions.values():
            each.expiring = True
        return
    found = transactions[record.transaction]
    match record:
        case Putting():
            found.parts[record.id] = record.part
            found.touched_ns = uptime_ns
        case Put():
            found.put.add(record.id)
        case PutRefused():
            del found.parts[record.id]
        case Committing():
            found.commit = record.id or None
        case Aborting():
            found.aborting = True
        case Aborted():
            found.aborted = True
