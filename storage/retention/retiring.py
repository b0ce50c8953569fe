"""Retiring generations: those of the data that hold nothing readable any more, and those of the chain that nobody needs.

In one commit their records go; once that is durable the families are dropped, and with them their space. Nothing rests
on their absence: what a repair brings back of them lies below the segments' starts and below the chain's first commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from storage.catalog import Catalog
from storage.group import Group
from storage.keys import SegmentKey
from storage.records import FamilyRecord, StreamRecord


def dead_generations(catalog: Catalog) -> list[FamilyRecord]:
    """Telemetry generations below whose last entry every one of their segments has its start."""
    reached = {
        number
        for key, record in list(catalog.segments.items())
        for number, end in _ends(catalog, key, record.length)
        if end > record.start
    }
    return [f for f in catalog.families.values() if f.kind == "telemetry" and f.number not in reached]


def _ends(catalog: Catalog, key: SegmentKey, length: int) -> Iterable[tuple[int, int]]:
    """`(generation, offset behind what it holds)` of a segment's generations."""
    starts = catalog.generations_of(key)
    ends = [first for first, _ in starts[1:]] + [length]
    return [(number, end) for (_, number), end in zip(starts, ends, strict=False)]


def dead_chain(catalog: Catalog, needed_from: int) -> list[FamilyRecord]:
    """Generations of the chain, the oldest first, whose every commit lies before `needed_from` and outside of any log."""
    node = catalog.node
    if node is None:
        return []
    keep = min(needed_from, node.verified)
    chain = sorted((f for f in catalog.families.values() if f.kind == "chain"), key=lambda family: family.number)
    return [family for family, after in pairwise(chain) if after.first <= keep]


def needed_from(catalog: Catalog, confirmed: Mapping[str, int]) -> int:
    """The oldest commit that an upstream is yet to be sent. `confirmed`: by wanted stream, up to where all of them are."""
    behind = [
        through + 1
        for name, through in confirmed.items()
        if (stream := catalog.streams.get(name)) is not None and _last_commit(catalog, stream) > through
    ]
    return min(behind, default=1 << 62)


def _last_commit(catalog: Catalog, stream: StreamRecord) -> int:
    keys = [stream.key(layout) for layout in stream.layout]
    return max((catalog.segments[key].last_commit for key in keys if key in catalog.segments), default=0)


def take_gone(group: Group, gone: Sequence[FamilyRecord]) -> None:
    """Put the end of generations into a commit. What this commit itself writes to is left alone."""
    catalog, changes = group.catalog, group.changes
    node = changes.node or catalog.node
    assert node is not None
    written = group.into.names
    gone = [family for family in gone if family.name in catalog.families and family.name not in written]
    chain = [f.first for f in catalog.families.values() if f.kind == "chain" and f not in gone]
    for family in gone:
        changes.gone_families.append(family)
        if family.kind == "telemetry":
            changes.gone_starts += [(key, family.number) for key, _, _ in catalog.segments_in(family.number)]
            node = replace(node, generation=max(node.generation, family.number))
        else:
            node = replace(node, chain=max(node.chain, min(chain)))
        group.into.closed.add(family.name)
    if gone:
        changes.node = node
