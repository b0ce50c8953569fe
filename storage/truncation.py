"""Giving up the head of a segment: its start moves, its offsets stay."""

from __future__ import annotations

from dataclasses import replace

from storage.errors import StorageError, UnknownStreamError
from storage.group import Group
from storage.keys import SegmentKey
from storage.model import Position, Receipt
from storage.ticket import Ticket


def take_truncation(group: Group, ticket: Ticket, name: str, where: Position) -> None:
    """Put a truncation into a commit. Raises UnknownStreamError, StorageError behind what is durable."""
    stream = group.stream(name)
    if stream is None:
        raise UnknownStreamError(f"there is no stream {name!r}")
    layout = next((s for s in stream.layout if (s.segment, s.epoch) == where[:2]), None)
    if layout is None:
        raise StorageError(f"{name!r} has no segment {where.number}.{where.epoch}: the position is of another stream")
    builder = group.builder(stream, layout)
    if where.offset > builder.length:
        raise StorageError(f"{name!r} can't be truncated to {where}: it ends at {builder.length}")
    if where.offset > builder.record.start:
        builder.record = replace(builder.record, start=where.offset)
        group.changes.segments[SegmentKey(stream.number, layout.segment, layout.epoch)] = builder.record
    group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))
