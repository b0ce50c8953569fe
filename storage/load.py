"""When to scale: the rates of a stream's segments over three windows, and what a policy makes of them.

The rule is Pravega's (its documentation, "Auto Scaling: The number of segments can vary over time"), with windows as
short as an edge needs. A rate is an exponentially weighted moving average. A segment is split when its rate is above five
times the target over the short window, twice over the middle one, or the target itself over the long one; two neighbours
in the key space are merged when both are below half of it over the long window and neither is younger than that. At
most one scale at a time, and none within the cooldown; a stream never has fewer or more segments than its policy says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from storage.errors import StorageError
from storage.model import KeyRange, ScalingPolicy, SegmentId, SegmentInfo, StreamConfig, StreamInfo

SPLIT_ABOVE = (5.0, 2.0, 1.0)
"""Times the target, over the short, the middle and the long window."""
MERGE_BELOW = 0.5
MOST_PARTS = 4
"""A segment is split into at most so many at once."""


@dataclass(slots=True)
class Load:
    """What was appended to one segment, per second. All times in seconds of a clock that never steps."""

    since_s: float
    total: int
    seen_s: float
    rates: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def see(self, total: int, now_s: float, windows_s: tuple[float, float, float]) -> None:
        """Take in that it has come to `total` by now."""
        passed_s = now_s - self.seen_s
        if passed_s <= 0:
            return
        rate = max(0, total - self.total) / passed_s
        shares = [1 - math.exp(-passed_s / window_s) for window_s in windows_s]
        short, middle, long = (old + share * (rate - old) for old, share in zip(self.rates, shares, strict=True))
        self.rates = short, middle, long
        self.total, self.seen_s = total, now_s


@dataclass(frozen=True, slots=True)
class Scale:
    """Segments to seal, and the key ranges of those to open in their place."""

    seal: tuple[SegmentId, ...]
    ranges: tuple[KeyRange, ...]


def decide(
    policy: ScalingPolicy, segments: Sequence[SegmentInfo], loads: Mapping[SegmentId, Load], now_s: float
) -> Scale | None:
    """The scale that a policy asks for now, None for none. `segments` are the stream's open ones."""
    known = sorted((s for s in segments if s.id in loads), key=lambda segment: segment.keys.low)
    if len(known) < len(segments) or not segments:
        return None
    if len(segments) < policy.min_segments:
        widest = max(known, key=lambda segment: segment.keys.high - segment.keys.low)
        return _split(widest, min(MOST_PARTS, 1 + policy.min_segments - len(segments)))
    if policy.by == "fixed":
        return None
    room = policy.max_segments - len(segments)
    hottest = max(known, key=lambda segment: _heat(loads[segment.id], policy))
    heat = _heat(loads[hottest.id], policy)
    if heat > 1 and room > 0:
        return _split(hottest, min(MOST_PARTS, 1 + room, max(2, math.ceil(heat))))
    if len(segments) > policy.min_segments:
        for low, high in pairwise(known):
            if _is_cold(loads[low.id], policy, now_s) and _is_cold(loads[high.id], policy, now_s):
                return Scale((low.id, high.id), (KeyRange(low.keys.low, high.keys.high),))
    return None


def _split(segment: SegmentInfo, parts: int) -> Scale:
    return Scale((segment.id,), segment.keys.split(parts))


def _heat(load: Load, policy: ScalingPolicy) -> float:
    """How far a segment is above where it is split: above 1 it is."""
    return max(rate / (policy.target_per_s * above) for rate, above in zip(load.rates, SPLIT_ABOVE, strict=True))


def _is_cold(load: Load, policy: ScalingPolicy, now_s: float) -> bool:
    old_enough = now_s - load.since_s >= policy.windows_s[2]
    return old_enough and load.rates[2] < MERGE_BELOW * policy.target_per_s


class Scaling(Protocol):
    """What is scaled: a store."""

    def streams(self, *, wanted: Callable[[StreamConfig], bool] = ...) -> list[StreamInfo]: ...

    def scale(self, name: str, seal: Sequence[SegmentId], ranges: Sequence[KeyRange]) -> None: ...


@dataclass(slots=True)
class Scaler:
    """Looks at every stream that is written here, now and then, and scales those whose policy asks for it."""

    store: Scaling
    _loads: dict[SegmentId, Load] = field(default_factory=dict)
    _scaled_s: dict[str, float] = field(default_factory=dict)
    _failed: dict[str, str] = field(default_factory=dict)

    def step(self, now_s: float) -> list[tuple[str, Scale]]:
        """Look once, at `now_s` seconds of a clock that never steps; what was scaled. To be called every second or so."""
        done = []
        seen: set[SegmentId] = set()
        for stream in self.store.streams(wanted=lambda config: config.scaling.asks_for_something):
            policy = stream.config.scaling
            if stream.origin is not None:
                continue
            segments = [segment for segment in stream.segments if segment.until is None]
            for segment in segments:
                seen.add(segment.id)
                total = segment.length if policy.by == "bytes" else segment.events
                if segment.id not in self._loads:
                    self._loads[segment.id] = Load(now_s, total, now_s, self._inherited(stream, segment))
                self._loads[segment.id].see(total, now_s, policy.windows_s)
            if now_s - self._scaled_s.get(stream.name, -math.inf) < policy.cooldown_s:
                continue
            scale = decide(policy, segments, self._loads, now_s)
            if scale is None:
                continue
            # A scale that was refused counts as well: asking every second would hold up whoever takes this step.
            self._scaled_s[stream.name] = now_s
            if self._apply(stream.name, scale):
                done.append((stream.name, scale))
        self._loads = {segment: load for segment, load in self._loads.items() if segment in seen}
        return done

    def rates(self, segment: SegmentId) -> tuple[float, float, float] | None:
        """What comes in per second, over the short, the middle and the long window; None where nobody measures it.

        In events, or bytes where the policy counts these.
        """
        load = self._loads.get(segment)
        return None if load is None else load.rates

    def _inherited(self, stream: StreamInfo, segment: SegmentInfo) -> tuple[float, float, float]:
        """The rates that a new segment is likely to have: its share of the keys of those that it follows.

        Beginning at nothing, it would look cold for a long window, and be merged at once.
        """
        short = middle = long = 0.0
        for before in stream.predecessors(segment):
            if (load := self._loads.get(before.id)) is not None:
                common = min(segment.keys.high, before.keys.high) - max(segment.keys.low, before.keys.low)
                share = common / (before.keys.high - before.keys.low)
                short += load.rates[0] * share
                middle += load.rates[1] * share
                long += load.rates[2] * share
        return short, middle, long

    def _apply(self, name: str, scale: Scale) -> bool:
        try:
            self.store.scale(name, scale.seal, scale.ranges)
        except StorageError as error:
            self._failed[name] = str(error)
            return False
        self._failed.pop(name, None)
        return True

    @property
    def failed(self) -> dict[str, str]:
        """Streams whose last scale was refused, and why. It is tried again after the cooldown."""
        return dict(self._failed)
