"""Generations: which one a commit writes to, and which hold nothing any more.

A telemetry generation holds the streams of one retention class (`group_of`), so that it dies as a whole when that class
gives up its oldest. Numbers are unique over all classes and never used twice, so a family that a repair brought back
is never written to, and everything in it lies below its segments' starts.
"""

from __future__ import annotations

from collections.abc import Iterable

from storage.catalog import Catalog
from storage.kv.contract import KeyValueStore
from storage.model import BULK, StreamConfig
from storage.records import FamilyRecord

MAX_GROUPS = 12
"""So many classes have a generation of their own; what comes after them shares one with streams of the same policy."""

SHARE = 32
"""A generation may grow to this part of all that is stored: opening looks into each, and the engine holds each open."""

_OF_POINTERS = "bulk/"


def group_of(config: StreamConfig) -> str:
    """The retention class of a stream: what happens when the disk is full, and when.

    Pointers to chunks keep to themselves: giving up a few of them gives up as much as a whole generation of blocks.
    """
    policy = f"{config.when_full}/{config.priority}"
    return _OF_POINTERS + policy if config.kind == BULK else policy


def holds_pointers(group: str) -> bool:
    """Whether it is a class of bulk streams: what they have on disk lies in chunks, and is given up by the chunk."""
    return group.startswith(_OF_POINTERS)


def policy_of(group: str) -> tuple[str, int]:
    """`(when full, priority)` of a class. Of an unknown one, the most careful."""
    when_full, _, priority = group.removeprefix(_OF_POINTERS).rpartition("/")
    try:
        return when_full or "block", int(priority)
    except ValueError:
        return "block", 1 << 30


class Into:
    """The generations that one commit writes to. Fresh ones are only named; whoever writes the batch makes them first."""

    def __init__(self, generations: Generations, number: int, generation_bytes: int) -> None:
        self._generations = generations
        self._number = number
        self._limit = generation_bytes
        self._chosen: dict[str, FamilyRecord] = {}
        self.created: dict[str, FamilyRecord] = {}
        self.closed: set[str] = set()
        """Generations that this commit ends: nothing more goes to them."""
        self.chain = self._choose("chain", "", generation_bytes).name

    def telemetry(self, config: StreamConfig | None, after: int = 0) -> FamilyRecord:
        """The generation for entries of a stream with that configuration, whose last ones lie in generation `after`.

        A segment's generations follow each other by number.
        """
        group = group_of(config or StreamConfig())
        if group not in self._chosen or self._chosen[group].number < after:
            limit = self._limit if group not in self._chosen else 0
            self._chosen[group] = self._choose("telemetry", self._generations.admitted(group), limit, after)
        return self._chosen[group]

    @property
    def names(self) -> set[str]:
        """The generations that something of this commit goes to."""
        return {self.chain, *(family.name for family in self._chosen.values())}

    def _choose(self, kind: str, group: str, limit: int, after: int = 0) -> FamilyRecord:
        family = self._generations.newest(kind, group)
        full = family is not None and self._generations.bytes_of(family.name) >= limit
        if family is None or full or family.number < after or family.name in self.closed:
            numbers = [f.number for f in self.created.values() if f.kind == kind]
            number = max([self._generations.highest(kind), *numbers]) + 1
            family = FamilyRecord(kind, number, self._number, group)
            self.created[family.name] = family
        return family


class Generations:
    """What the committer knows of the generations beyond their records: how much each holds."""

    def __init__(self, kv: KeyValueStore, catalog: Catalog) -> None:
        self._kv = kv
        self._catalog = catalog
        present = set(kv.families())
        self._bytes = {name: kv.family_bytes(name) for name in catalog.families if name in present}

    def begin(self, number: int, least_bytes: int, most_bytes: int) -> Into:
        """The generations for commit `number`. One that holds enough is followed by a fresh one: `least_bytes`, more
        where much is stored, and never above `most_bytes`. So 1 TB takes some 1,000 of them, and 10 GB about 80.
        """
        return Into(self, number, min(max(least_bytes, sum(self._bytes.values()) // SHARE), most_bytes))

    def newest(self, kind: str, group: str) -> FamilyRecord | None:
        return self._catalog.newest_family(kind, group)

    def admitted(self, group: str) -> str:
        """`group`, or one that stands in for it where there are too many."""
        groups = {family.group for family in self._catalog.families.values() if family.kind == "telemetry"}
        if group in groups or len(groups) < MAX_GROUPS:
            return group
        alike = [
            other
            for other in groups
            if policy_of(other)[0] == policy_of(group)[0] and holds_pointers(other) == holds_pointers(group)
        ]
        return max(alike, key=lambda other: policy_of(other)[1], default=group)

    def highest(self, kind: str) -> int:
        """The highest number ever used."""
        node = self._catalog.node
        given_up = node.generation if node is not None and kind == "telemetry" else 0
        newest = self._catalog.newest_family(kind)
        return max(given_up, 0 if newest is None else newest.number)

    def bytes_of(self, name: str) -> int:
        """About how much a generation takes."""
        return self._bytes.get(name, 0)

    def written(self, puts: Iterable[tuple[str, bytes, bytes]]) -> None:
        """Take note of what a commit wrote."""
        for family, key, value in puts:
            self._bytes[family] = self._bytes.get(family, 0) + len(key) + len(value)

    def measure(self, name: str) -> int:
        """Ask the engine how much a generation takes now."""
        self._bytes[name] = self._kv.family_bytes(name)
        return self._bytes[name]

    def forget(self, name: str) -> None:
        self._bytes.pop(name, None)
