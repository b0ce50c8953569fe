"""What follows from where a group stands: what is unread, and the time it has come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from storage.model import Position, SegmentId, StreamInfo
from storage.readers.group_state import Marks


class TimeWindow(NamedTuple):
    """Everything captured before `lower_ns` was read, nothing captured after `upper_ns` was; None: not known yet.

    As far as times grow within each segment, and by the clocks as they were believed when the events were read. In ns
    since 1970.
    """

    lower_ns: int | None
    upper_ns: int | None


class Streams(Protocol):
    def stream(self, name: str) -> StreamInfo: ...


def lags(marks: Marks, stop: Mapping[SegmentId, Position], store: Streams) -> dict[str, int]:
    """Unread bytes of each stream that `marks` are of."""
    unread: dict[str, int] = {}
    for name in sorted({segment.stream for segment in marks}):
        stream = store.stream(name)
        seen: set[SegmentId] = set()
        unread[name] = 0
        ahead = [info for info in stream.segments if info.id in marks]
        while ahead:
            info = ahead.pop()
            if info.id in seen:
                continue
            seen.add(info.id)
            begin = marks[info.id].position.offset if info.id in marks else 0
            end = min(info.length, stop[info.id].offset) if info.id in stop else info.length
            unread[name] += max(0, end - max(begin, info.start))
            if info.id not in stop:
                ahead += stream.successors(info)
    return unread


def window(marks: Marks, stream: StreamInfo) -> TimeWindow:
    """The window of one stream. A segment read to its durable end holds nothing back."""
    known = {info.id: info for info in stream.segments}
    of_stream = [(known[segment], mark) for segment, mark in marks.items() if segment in known]
    times = [mark.time_ns for _, mark in of_stream if mark.time_ns is not None]
    behind = [mark.time_ns for info, mark in of_stream if mark.position.offset < info.length or stream.successors(info)]
    upper = max(times, default=None)
    if not behind:
        return TimeWindow(upper, upper)
    held = [time for time in behind if time is not None]
    return TimeWindow(min(held) if len(held) == len(behind) else None, upper)


def consumed(marks: Marks, stream: StreamInfo) -> dict[SegmentId, int]:
    """Of each segment of a stream, the offset before which all is read: the whole of it where `marks` lie behind it."""
    ahead = [info for info in stream.segments if info.id in marks]
    unread: set[SegmentId] = set()
    while ahead:
        for info in stream.successors(ahead.pop()):
            if info.id not in unread and info.id not in marks:
                unread.add(info.id)
                ahead.append(info)
    return {
        info.id: marks[info.id].position.offset if info.id in marks else 0 if info.id in unread else info.length
        for info in stream.segments
    }
