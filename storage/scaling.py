"""Scaling: some segments of a stream are sealed and others opened in their place, in a new epoch, in one commit.

The new segments share out the very keys of those they follow, so a routing key is in one open segment at any moment,
and what is appended to it stands in the order of epochs. A sealed segment never grows. Sealing the stream is a scale
that opens nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from storage.chain import LAYOUT, ChainEntry
from storage.errors import ConditionFailedError, StorageError, UnknownStreamError
from storage.group import Group
from storage.model import MAX_OPEN_SEGMENTS, MAX_SEGMENTS, KeyRange, Receipt
from storage.records import SegmentLayout, StreamRecord
from storage.ticket import Ticket

SegmentOf = tuple[int, int]
"""A segment of a known stream: number and epoch."""


def take_scale(group: Group, ticket: Ticket, name: str, seal: Sequence[SegmentOf], ranges: Sequence[KeyRange]) -> None:
    """Put a scale into a commit. Raises what is wrong with it, with nothing taken."""
    stream = own_stream(group, name)
    sealed = [layout for layout in stream.open_layout if (layout.segment, layout.epoch) in seal]
    if len(sealed) != len(set(seal)) or not sealed:
        now = ", ".join(f"{layout.segment}.{layout.epoch}" for layout in stream.open_layout)
        raise ConditionFailedError(f"not all of the segments to seal are open in {name!r}; open are: {now or 'none'}")
    if _covered([layout.keys for layout in sealed]) != _covered(ranges):
        raise StorageError(f"the new ranges of {name!r} do not share out the keys of the segments that they follow")
    if len(stream.open_layout) - len(sealed) + len(ranges) > MAX_OPEN_SEGMENTS:
        raise StorageError(f"{name!r} would have more than {MAX_OPEN_SEGMENTS} open segments")
    check_segments(stream, len(ranges))
    put_scale(group, stream, sealed, ranges)
    group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))


def check_segments(stream: StreamRecord, more: int) -> None:
    """Raises StorageError where a stream can't have so many segments more."""
    if len(stream.layout) + more > MAX_SEGMENTS:
        raise StorageError(
            f"{stream.name!r} has had {len(stream.layout)} segments, at most {MAX_SEGMENTS} are possible: it can't be scaled "
            "any more. It goes on as it is; go over to a stream of another name to scale again"
        )


def take_seal(group: Group, ticket: Ticket, name: str) -> None:
    """Put the end of a stream into a commit. One that is sealed already stays so."""
    stream = own_stream(group, name)
    if stream.open_layout:
        put_scale(group, stream, stream.open_layout, ())
    group.outcomes.append((ticket, Receipt(group.number, (), 0, 0)))


def put_scale(
    group: Group, stream: StreamRecord, sealed: Sequence[SegmentLayout], ranges: Sequence[KeyRange]
) -> StreamRecord:
    """Seal and open, without a question. What this commit appended to the sealed segments so far stays in them."""
    epoch = stream.epoch + 1
    number = max(layout.segment for layout in stream.layout) + 1
    layout = [replace(kept, until=epoch, sealed=group.number) if kept in sealed else kept for kept in stream.layout]
    layout += [SegmentLayout(number + place, epoch, keys, group.number) for place, keys in enumerate(ranges)]
    return take_layout(group, stream, tuple(layout))


def take_layout(group: Group, stream: StreamRecord, layout: tuple[SegmentLayout, ...]) -> StreamRecord:
    """Give a stream other segments, and note it in the chain. Of those that it has none may be missing."""
    changed = replace(stream, layout=layout)
    group.changes.streams[stream.name] = changed
    before = {(old.segment, old.epoch): old for old in stream.layout}
    for each in layout:
        old = before.get((each.segment, each.epoch))
        if old is not None and old != each:
            group.touch(stream, old)
    group.put_note(ChainEntry(stream.number, 0, changed.epoch, LAYOUT, 0, 0, 0, 0, 0))
    return changed


def own_stream(group: Group, name: str) -> StreamRecord:
    """A stream that is written here. Raises UnknownStreamError, StorageError."""
    stream = group.stream(name)
    if stream is None:
        raise UnknownStreamError(f"there is no stream {name!r}: create it first")
    if stream.origin is not None:
        raise StorageError(f"{name!r} is mirrored from node {stream.origin[0]!r}: only that node scales it")
    return stream


def _covered(ranges: Sequence[KeyRange]) -> list[tuple[int, int]]:
    """The keys in ranges, as few stretches as there are. Raises StorageError where ranges overlap or are empty."""
    stretches: list[tuple[int, int]] = []
    for keys in sorted(ranges, key=lambda keys: keys.low):
        if keys.low >= keys.high or (stretches and keys.low < stretches[-1][1]):
            raise StorageError(f"a key range [{keys.low}, {keys.high}) is empty, or overlaps another")
        if stretches and keys.low == stretches[-1][1]:
            stretches[-1] = (stretches[-1][0], keys.high)
        else:
            stretches.append((keys.low, keys.high))
    return stretches
