"""The one sentence: is what was captured safe, and does upstream have it."""

from __future__ import annotations

from edge.snapshot import NodeSnapshot, UplinkSnapshot
from edge.words import ago, count_of, duration, size


def safety_sentence(node: NodeSnapshot) -> str:
    """Begins with `Safe` where nothing needs anybody, with `Holding` where upstream is missing, else `Not storing`."""
    if node.store.blocked:
        return f"Not storing: {node.store.blocked}"
    stored = _stored(node)
    if not node.uplinks:
        upstream = "" if node.hub is not None else "; no upstream is configured"
        return f"Safe: {stored}{upstream}."
    behind = [uplink for uplink in node.uplinks if uplink.behind]
    if not behind:
        return f"Safe: {stored}; {_confirmed(node)}."
    worst = max(behind, key=lambda uplink: uplink.behind_bytes)
    if worst.moving:
        return f"Safe: {stored}; {worst.name} is getting {_backlog(worst, 'the last ')}."
    return f"Holding {_backlog(worst)}{_held_for(node, worst)} {_until(worst)}"


def sick_sources(node: NodeSnapshot) -> list[str]:
    """Names of the sources that should capture and do not."""
    return [source.name for source in node.sources if source.state in ("BACKOFF", "FAILED", "STUCK")]


def _stored(node: NodeSnapshot) -> str:
    own = [stream for stream in node.streams if stream.origin is None]
    mirrored = [stream for stream in node.streams if stream.origin is not None]
    gaps = sum(segment.gaps for stream in node.streams for segment in stream.segments)
    missing = f", {count_of(gaps, 'gap')} (edge streams)" if gaps else ""
    events = sum(stream.events for stream in own)
    if node.hub is None:
        return f"{'' if gaps else 'all '}{count_of(events, 'event')} on disk{missing}"
    origins = {stream.origin for stream in mirrored}
    held = f"{count_of(sum(stream.events for stream in mirrored), 'event')} of {count_of(len(origins), 'node')}"
    here = f" and {count_of(events, 'event')} of its own" if own else ""
    return f"{held}{here} on disk{missing}"


def _confirmed(node: NodeSnapshot) -> str:
    oldest = min(node.uplinks, key=lambda uplink: uplink.confirmed_ns or 0)
    if oldest.confirmed_ns is None:
        return f"{oldest.name} has confirmed nothing yet{f' ({oldest.detail})' if oldest.detail else ''}"
    return f"{oldest.name} confirmed the last {ago(oldest.confirmed_ns, node.now_ns)}"


def _backlog(uplink: UplinkSnapshot, before: str = "") -> str:
    if uplink.behind_events is None:
        return f"{before}{size(uplink.behind_bytes)}"
    return f"{before}{count_of(uplink.behind_events, 'event')}"


def _held_for(node: NodeSnapshot, uplink: UplinkSnapshot) -> str:
    if uplink.confirmed_ns is None:
        return ""
    return f" ({duration((node.now_ns - uplink.confirmed_ns) / 1e9)})"


def _until(uplink: UplinkSnapshot) -> str:
    if uplink.state == "PAUSED":
        return f"because {uplink.name} is paused; resume it with: edge sync {uplink.name} resume"
    return f"until {uplink.name} is back{f': {uplink.detail}' if uplink.detail else '.'}"
