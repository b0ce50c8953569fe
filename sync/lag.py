"""How far upstream is behind the local store, stream by stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from storage.mirror.unit import Held, Unit
from storage.model import StreamInfo


@dataclass(frozen=True, slots=True)
class StreamLag:
    """What upstream lacks of one stream: bytes, events (None where they can't be told) and commits spanned."""

    stream: str
    bytes: int
    events: int | None
    commits: int


class EventCount:
    """How many events of each stream lie at or below the commits that upstream holds.

    Upstream answers in commits and bytes; events follow from what was sent. Of each stream it knows two places: what
    was confirmed, and what was sent last, which after a lost reply may be what upstream holds.
    """

    def __init__(self) -> None:
        self._at: dict[str, dict[int, int]] = {}

    def load(self, streams: Mapping[str, Held], events: Mapping[str, int]) -> None:
        """Take over counts that were kept for `streams`."""
        self._at = {name: {held.through: events[name]} for name, held in streams.items() if name in events}

    def sent(self, unit: Unit) -> None:
        """A unit is on its way."""
        for part in unit.parts:
            known = self._at.get(part.stream, {})
            before = 0 if part.after == 0 else known.get(part.after)
            if before is None:
                continue
            after = before + sum(entry.events for entry in part.entries)
            self._at[part.stream] = {part.after: before, part.through: after}

    def of(self, stream: str, held: Held) -> int | None:
        """Events of `stream` up to what is held of it, None where it was never told."""
        return self._at.get(stream, {}).get(held.through)

    def known(self, streams: Mapping[str, Held]) -> dict[str, int]:
        """The counts of all `streams` that have one."""
        counts = ((name, self.of(name, held)) for name, held in streams.items())
        return {name: count for name, count in counts if count is not None}


def lag_of(info: StreamInfo, held: Held | None, events_held: int | None) -> StreamLag:
    """What upstream lacks of the stream `info` when it holds `held`, with `events_held` events in it."""
    length = sum(segment.length - segment.start for segment in info.segments)
    events = sum(segment.events for segment in info.segments)
    last_commit = max((segment.last_commit for segment in info.segments), default=0)
    if held is None:
        return StreamLag(info.name, length, events, last_commit)
    missing = max(0, sum(segment.length for segment in info.segments) - held.length)
    if last_commit <= held.through:
        return StreamLag(info.name, 0, 0, 0)
    behind = None if events_held is None else max(0, events - events_held)
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
