"""Boots as they are mirrored: what upstream does not know of them yet, and what of it a store takes over.

A boot's record changes when its clock is corrected and when it is over, which may be long after its last block went
upstream. So boots are held up to a commit of their origin, as streams are: what changed since goes with the next unit, or
by itself.
"""

from __future__ import annotations

from storage.boots import Boot
from storage.catalog import Catalog
from storage.errors import ConditionFailedError, OriginRefusedError
from storage.group import Group
from storage.mirror.unit import Unit

MOST_BOOTS = 1000
"""A unit carries so many boots, and those of the commit that goes beyond it."""


def boots_behind(catalog: Catalog, held: int, last_commit: int) -> list[Boot]:
    """Boots whose records changed in the commits after `held`, the oldest first, whole commits. Raises OriginRefusedError."""
    if held > last_commit:
        raise OriginRefusedError(
            f"upstream holds this node's boots up to commit {held}, this store ends at {last_commit}: it is an older copy "
            "of itself, or has lost its newest commits. Give this gateway another [node] name"
        )
    timelines = catalog.timelines.copy().values()
    changed = [boot for timeline in timelines for boot in timeline.boots if held < boot.commit <= last_commit]
    changed.sort(key=lambda boot: (boot.commit, boot.number))
    if len(changed) <= MOST_BOOTS:
        return changed
    return [boot for boot in changed if boot.commit <= changed[MOST_BOOTS - 1].commit]


def take_boots(group: Group, unit: Unit, held: int) -> int:
    """Put a unit's boots into a commit; the origin's commit up to which they are held then.

    Raises ConditionFailedError where they do not continue what is held. A node tells of its own boots and of those that
    are mirrored through it; not of ours, nor of a store that speaks for itself here under another name.
    """
    if unit.boots_through <= held:
        return held
    if unit.boots_after > held:
        raise ConditionFailedError(
            f"the boots of node {unit.node!r} are held up to commit {held}; what was sent continues {unit.boots_after}"
        )
    others = {mirror.store for node, mirror in group.catalog.mirrors.items() if node != unit.node}
    for boot in unit.boots:
        if boot.store != group.store and (boot.store == unit.store or boot.store not in others):
            group.note_boot(boot)
    return unit.boots_through
