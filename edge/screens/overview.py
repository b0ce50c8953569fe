"""`edge status`: is everything safe, then what it consists of."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from edge.safety import safety_sentence, sick_sources
from edge.screens.lists import sources_table, streams_table, uplinks_table
from edge.snapshot import NodeSnapshot
from edge.words import duration, size

MAX_STREAMS = 8
"""Streams on the overview; `edge streams` lists all."""
MAX_NOTICES = 3


def _mood(node: NodeSnapshot) -> Text:
    sentence = safety_sentence(node)
    sick = sick_sources(node)
    if node.store.blocked:
        return Text(f"✗ {sentence}", style="bold red")
    if not sentence.startswith("Safe"):
        return Text(f"◐ {sentence}", style="bold yellow")
    if sick:
        return Text.assemble(
            (f"● {sentence}", "bold green"), (f"\n✗ Not capturing from {', '.join(sick)}.", "bold red")
        )
    return Text(f"● {sentence}", style="bold green")


def _head(node: NodeSnapshot) -> Text:
    up = duration((node.now_ns - node.started_ns) / 1e9)
    hub = f" · hub at {node.hub}" if node.hub is not None else ""
    return Text(f"{node.node}{hub} · up {up} · edge {node.version}", style="dim")


def _disk(node: NodeSnapshot) -> Text:
    store = node.store
    limit = f" of {size(store.disk_limit_bytes)}" if store.disk_limit_bytes is not None else ""
    free = f"{size(store.free_bytes)} free"
    full = f", full in {duration(store.full_in_s)} at this rate" if store.full_in_s is not None else ""
    if full and store.full_stream is not None:
        full += f": then {store.full_stream} {'loses its oldest' if store.full_loses else 'takes in no more'}"
    return Text(f"Disk {size(store.disk_bytes)}{limit} used, {free}{full}")


def _notices(node: NodeSnapshot) -> list[RenderableType]:
    lines = [*node.notices, *node.store.recovery]
    shown = [Text(f"! {line}", style="yellow") for line in lines[:MAX_NOTICES]]
    if len(lines) > MAX_NOTICES:
        shown.append(Text(f"! and {len(lines) - MAX_NOTICES} more: edge --json status", style="yellow"))
    return list(shown)


def overview_screen(node: NodeSnapshot) -> RenderableType:
    """The whole node on one screen."""
    parts: list[RenderableType] = [_mood(node), _head(node), _disk(node), *_notices(node)]
    if node.sources:
        parts += [Text(), sources_table(node.sources, node.now_ns)]
    if node.uplinks:
        parts += [Text(), uplinks_table(node.uplinks, node.now_ns)]
    if node.streams:
        shown = sorted(node.streams, key=lambda stream: -stream.bytes)[:MAX_STREAMS]
        parts += [Text(), streams_table(tuple(sorted(shown, key=lambda stream: stream.name)))]
        if len(node.streams) > MAX_STREAMS:
            parts.append(Text(f"… and {len(node.streams) - MAX_STREAMS} more: edge streams", style="dim"))
    return Group(*parts)
