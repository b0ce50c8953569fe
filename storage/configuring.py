"""Changing how a stream is kept, once it is there.

Its kind, priority and policy when full stay: they say where its data lies (`storage.generations.group_of`), and what is on
disk already would not move. A hub takes over what changed with the next unit of the stream.
"""

from __future__ import annotations

from dataclasses import replace

from storage.errors import ConditionFailedError
from storage.generations import group_of
from storage.group import Group
from storage.model import Receipt, StreamConfig
from storage.records import StreamRecord
from storage.scaling import own_stream
from storage.ticket import Ticket


def may_become(now: StreamConfig, wanted: StreamConfig) -> bool:
    """Whether a stream that is kept as `now` says can be kept as `wanted` says."""
    return now.kind == wanted.kind and group_of(now) == group_of(wanted)


def take_config(group: Group, ticket: Ticket, name: str, wanted: StreamConfig) -> None:
    """Put a stream's new configuration into a commit. Raises what is wrong with it, with nothing taken."""
    stream = own_stream(group, name)
    if not may_become(stream.config, wanted):
        raise ConditionFailedError(
            f"stream {name!r} keeps the kind, priority and when_full that it was made with "
            f"({stream.config.kind}, {stream.config.priority}, {stream.config.when_full}): use another stream for others"
        )
    put_config(group, stream, wanted)
    group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))


def put_config(group: Group, stream: StreamRecord, wanted: StreamConfig) -> StreamRecord:
    """Change what may be changed of it, without a question."""
    if stream.config == wanted or not may_become(stream.config, wanted):
        return stream
    changed = replace(stream, config=wanted)
    group.changes.streams[stream.name] = changed
    return changed
