"""Letting go of shadows: of a transaction that ended, or of one whose pointers were given up."""

from __future__ import annotations

from storage import keys
from storage.group import Group
from storage.keys import SegmentKey
from storage.kv.contract import KeyValueStore
from storage.reading import SegmentScan


def bury(group: Group, shadow: SegmentKey) -> None:
    """Let go of a shadow segment: its generations no longer hold anything of it that can be reached, its chunks go."""
    catalog, changes = group.catalog, group.changes
    if shadow in catalog.segments:
        changes.gone_shadows.append(shadow)
        changes.gone_starts += [(shadow, generation) for _, generation in catalog.generations_of(shadow)]
    handed_over = {number for number, chunk in changes.chunks.items() if chunk.segment != shadow}
    written = {number for number, chunk in changes.chunks.items() if chunk.segment == shadow}
    held = {chunk.number for chunk in catalog.chunks_of(shadow)} | written
    changes.gone_chunks += sorted(held - handed_over - set(changes.gone_chunks))


def delete_entries(kv: KeyValueStore, group: Group, shadow: SegmentKey) -> None:
    """Delete what is durable of a shadow that nothing will lead to: what the engine has not moved out of its memory yet
    never reaches a table."""
    for offset, _ in SegmentScan(kv, group.catalog, shadow).between(0, group.durable(shadow)):
        family = f"telemetry-{group.generation_of(shadow, offset):08d}"
        group.deletions.append((family, keys.block(shadow, offset)))


def bury_below(group: Group, segment: SegmentKey, start: int) -> None:
    """Let go of the shadows that nothing leads to once a segment begins at `start`."""
    for shadow, placed in group.catalog.placed_in(segment):
        if placed.end <= start:
            bury(group, shadow)
