"""The tables, kept twice: in two families `tables-N`, with the same entries in the same batches.

One bad block, or one file, hits one of them. At opening both are read whole and merged: of each key the newest value
that checks. A family that could not be read whole, or holds anything else than the merge, is followed by a fresh one with
the next number and is dropped once that is durable. A crash on the way leaves more of them, and they are merged again.
A deleted key that comes back from one of them comes back in both: nothing rests on its absence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from storage.codec import unseal
from storage.errors import DamagedBlockError
from storage.keys import DEFAULT
from storage.kv.contract import Batch, Item

PREFIX = "tables-"
_BATCH_BYTES = 1 << 20


class Read(NamedTuple):
    """All that could be read of a family, and in words what could not."""

    items: Sequence[Item]
    damage: tuple[str, ...]


class Engine(Protocol):
    """What this asks of the engine, with names of real families."""

    def create_family(self, name: str) -> None: ...
    def drop_family(self, name: str) -> None: ...
    def write(self, batch: Batch) -> None: ...
    def sync(self) -> None: ...
    def read_whole(self, name: str) -> Read: ...


class Settled(NamedTuple):
    """The two families to go on with, what they hold, and what was mended, one line each."""

    names: tuple[str, ...]
    tables: dict[bytes, bytes]
    lines: tuple[str, ...]


def settle(engine: Engine, families: Sequence[str], *, mend: bool) -> Settled:
    """Read the tables and, with `mend`, see to it that two families hold them whole."""
    names = sorted(name for name in families if name.startswith(PREFIX))
    reads = {name: engine.read_whole(name) for name in names or [DEFAULT]}
    lines = [line for read in reads.values() for line in read.damage]
    newest: dict[bytes, tuple[int, bytes]] = {}
    for name, read in reads.items():
        for key, value in read.items:
            try:
                commit, _ = unseal(key, value)
            except DamagedBlockError as error:
                lines.append(f"{name}: {error}")
                continue
            if key not in newest or commit > newest[key][0]:
                newest[key] = (commit, value)
    tables = {key: value for key, (_, value) in sorted(newest.items())}
    sound = [name for name in names if not reads[name].damage and dict(reads[name].items) == tables][:2]
    if not mend:
        return Settled(tuple(sound), tables, tuple(lines))
    number = int(names[-1].removeprefix(PREFIX)) if names else 0
    fresh = [f"{PREFIX}{number + 1 + place:08d}" for place in range(2 - len(sound))]
    for name in fresh:
        engine.create_family(name)
        _fill(engine, name, tables)
    for name in names:
        if name not in sound:
            engine.drop_family(name)
            lines.append(f"{name} was made again from the other copy of the tables: {len(tables)} entries")
    return Settled((*sound, *fresh), tables, tuple(lines))


def _fill(engine: Engine, name: str, tables: dict[bytes, bytes]) -> None:
    batch = Batch()
    size = 0
    for key, value in tables.items():
        batch.put(name, key, value)
        size += len(key) + len(value)
        if size >= _BATCH_BYTES:
            engine.write(batch)
            batch, size = Batch(), 0
    if batch.puts:
        engine.write(batch)
    engine.sync()
