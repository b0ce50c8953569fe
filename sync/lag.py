"""How far upstream is behind the local store, stream by stream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from storage.mirror.unit import Held
from storage.model import StreamInfo


@dataclass(frozen=True, slots=True)
class StreamLag:
    """What upstream lacks of one stream: bytes, events (None where they can't be told) and commits spanned."""

    stream: str
    bytes: int
    events: int | None
    commits: int


def lag_of(info: StreamInfo, held: Held | None) -> StreamLag:
    """What upstream lacks of the stream `info` when it holds `held`."""
    length = sum(segment.length - segment.start for segment in info.segments)
    events = sum(segment.events for segment in info.segments)
    last_commit = max((segment.last_commit for segment in info.segments), default=0)
    if held is None:
        return StreamLag(info.name, length, events, last_commit)
    missing = max(0, sum(segment.length for segment in info.segments) - held.length)
    if last_commit <= held.through:
        return StreamLag(info.name, 0, 0, 0)
    behind = None if held.events is None else max(0, events - held.events)
    return StreamLag(info.name, missing, behind, last_commit - held.through)


def total(lags: Iterable[StreamLag]) -> StreamLag:
    """All of `lags` as one, with no name: sums, and the largest span of commits."""
    bytes_behind, events, commits, known = 0, 0, 0, True
    for lag in lags:
        bytes_behind += lag.bytes
        events += lag.events or 0
        known = known and lag.events is not None
        commits = max(commits, lag.commits)
    return StreamLag("", bytes_behind, events if known else None, commits)
