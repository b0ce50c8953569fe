"""`edge streams STREAM`: segments, lengths, gaps, lag."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edge.screens.words import state
from edge.snapshot import DropSnapshot, GapSnapshot, SegmentSnapshot, StreamSnapshot
from edge.words import count, count_of, size

MAX_GAPS = 20
"""Gaps on the screen, the newest; `--json` has all that the daemon sends."""


def _segments(stream: StreamSnapshot) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title, number in (("SEGMENT", False), ("STATE", False), ("KEYS", False)):
        table.add_column(title, justify="right" if number else "left")
    measured = any(segment.rates_per_s for segment in stream.segments)
    rate = (f"{stream.scaling.by.upper()}/S",) if measured else ()
    for title in ("START", "LENGTH", "EVENTS", "GAPS", *rate):
        table.add_column(title, justify="right")
    for segment in stream.segments:
        table.add_row(
            segment.id.rpartition("/")[2],
            state(segment.state),
            f"{segment.key_low:.2f}-{segment.key_high:.2f}",
            count(segment.start),
            count(segment.length),
            count(segment.events),
            count(segment.gaps),
            *((_rate(segment),) if measured else ()),
        )
    return table


def _rate(segment: SegmentSnapshot) -> str:
    """Over the short window."""
    return f"{segment.rates_per_s[0]:,.0f}" if segment.rates_per_s else ""


def _policy(stream: StreamSnapshot) -> str:
    """When it scales, and how often it has."""
    scaling = stream.scaling
    if scaling.by == "fixed":
        policy = "never scales by itself" if scaling.min_segments == 1 else f"{scaling.min_segments} segments"
    else:
        policy = f"{scaling.min_segments} to {scaling.max_segments} segments of {scaling.target_per_s:,g} {scaling.by}/s each"
    return f"epoch {stream.epoch}, {policy}"


def _gap(gap: GapSnapshot) -> Text:
    lost = "an unknown number of events" if gap.events is None else count_of(gap.events, "event")
    detail = f" ({gap.detail})" if gap.detail else ""
    return Text(f"  {gap.position} to {gap.next}: {gap.reason.lower()}, {lost}{detail}")


def _drop(drop: DropSnapshot) -> Text:
    unsent = f", {drop.unsent} of them unsent" if drop.unsent else ""
    reason = drop.reason.replace("_", " ")
    return Text(f"Given up ({reason}): {count_of(drop.events, 'event')}, {size(drop.bytes)}{unsent}")


def stream_screen(stream: StreamSnapshot) -> RenderableType:
    """One stream in full."""
    origin = f"mirrored from {stream.origin}" if stream.origin is not None else "written here"
    every = f", durable every {stream.durable_every_s:g} s" if stream.durable_every_s else ""
    settings = f"{stream.kind}{every}, priority {stream.priority}, when full: {stream.when_full}"
    parts: list[RenderableType] = [
        Text(f"{stream.name}: {count_of(stream.events, 'event')}, {size(stream.bytes)}", style="bold"),
        Text(f"{origin}; {settings}", style="dim"),
        Text(_policy(stream), style="dim"),
        Text(),
        _segments(stream),
        Text(),
    ]
    for lag in stream.lag:
        rest = f"{size(lag.bytes)} behind" if lag.bytes else "has all of it"
        parts.append(Text(f"{lag.upstream}: {rest}"))
    parts += [_drop(drop) for drop in stream.dropped]
    if not stream.gaps:
        parts.append(Text("No gaps."))
        return Group(*parts)
    parts.append(Text(f"{count_of(len(stream.gaps), 'gap')}:", style="bold"))
    if len(stream.gaps) > MAX_GAPS:
        parts.append(Text(f"  … {len(stream.gaps) - MAX_GAPS} older ones: edge --json streams {stream.name}"))
    parts += [_gap(gap) for gap in stream.gaps[-MAX_GAPS:]]
    return Group(*parts)
