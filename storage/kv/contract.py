"""What the store asks of an engine. Engines translate their own errors into `storage.errors`."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

from storage.bulk.chunks import ChunkFiles
from storage.keys import DEFAULT
from storage.kv.witness_file import WitnessPages

Item = tuple[bytes, bytes]


@dataclass(slots=True)
class Batch:
    """Changes that take effect together or not at all."""

    puts: list[tuple[str, bytes, bytes]] = field(default_factory=list)
    deletes: list[tuple[str, bytes]] = field(default_factory=list)

    def put(self, family: str, key: bytes, value: bytes) -> None:
        self.puts.append((family, key, value))

    def delete(self, family: str, key: bytes) -> None:
        self.deletes.append((family, key))

    @property
    def size_bytes(self) -> int:
        """What it takes in the log. The tables are kept twice (`storage.kv.pair`)."""
        return sum((len(key) + len(value)) * (1 + (family == DEFAULT)) for family, key, value in self.puts)


@dataclass(frozen=True, slots=True)
class LogEvidence:
    """What an engine's log still holds that the engine itself would skip, found before it was opened.

    `damage` says in words what was hit. `puts` are all key-value pairs that could be read from the logs, oldest first,
    each to be judged by its own checksum; their families are not known. `mended` says what the engine has set right by
    itself in its files, or would on opening for writing.
    """

    damage: tuple[str, ...] = ()
    puts: tuple[Item, ...] = ()
    mended: tuple[str, ...] = ()
    loose: tuple[bytes, ...] = ()
    """Blocks and commit records found in table files that the engine left out, checked, under keys not known."""
    unwritten: bool = False
    """The newest log ends in a write that was never synced, and that the engine would call damage."""
    whole: bool = False
    """Not only the log was hit: anything that the store holds may be missing."""


class KeyValueStore(Protocol):
    """Keys are ordered bytewise. A write is visible at once and durable after the next `sync`.

    A family that is not there, or was dropped meanwhile, reads as empty.

    After a crash a prefix of the writes is found, at least up to the last sync, each batch whole.
    """

    @property
    def chunks(self) -> ChunkFiles:
        """The chunk files beside it: one disk, one power cut."""

    @property
    def witness(self) -> WitnessPages:
        """The pages of the witness beside it."""

    @property
    def evidence(self) -> LogEvidence:
        """What was found in the logs when this was opened. Empty where nothing was damaged."""

    @property
    def hit(self) -> AbstractSet[str]:
        """Families in which a read met what the engine can't read, since this was opened."""

    def evidence_settled(self) -> None:
        """All that the evidence holds is durable in its place: it need not be kept for another opening."""

    def families(self) -> list[str]:
        """Names of the families, `default` among them."""

    def create_family(self, name: str) -> None:
        """Durable when it returns. A family that exists is left as it is."""

    def drop_family(self, name: str) -> None:
        """Gone, with its space, when it returns (space within seconds). Raises StorageError where it stays, or may."""

    def family_bytes(self, name: str) -> int:
        """About how much the family takes, in memory and on disk. 0 where there is none."""

    def compact_family(self, name: str) -> None:
        """Give back the space of what was deleted from a family or replaced in it: a step as long as the family is large.

        Raises StoreFullError, StoreBusyError, DamagedBlockError (something in it can't be read: it is left as it is).
        """

    def unflushed_bytes(self) -> int:
        """What is in the log and not yet in a table: it may be on disk twice for a moment."""

    def write(self, batch: Batch) -> None:
        """Atomic; never waits for space. Raises StoreFullError or StoreBusyError (nothing written, may be repeated)."""

    def sync(self) -> None:
        """Everything written is on disk when it returns. Raises StoreFullError (may be repeated), StoreFailedError."""

    def get(self, family: str, key: bytes) -> bytes | None:
        """Raises DamagedBlockError where the engine can't read the place."""

    def scan(
        self, family: str, start: bytes, stop: bytes | None, *, limit: int = 1000, max_bytes: int = 4 << 20
    ) -> list[Item]:
        """Items from `start` up to and without `stop`, in order: a bounded step, at least one item where there is one.

        What the engine can't read is left out: what lies behind it follows.
        """

    def last_before(self, family: str, start: bytes, stop: bytes) -> Item | None:
        """The last item in [start, stop) that can be read."""

    def disk_bytes(self) -> int:
        """Everything that it takes on disk now, logs included."""

    def close(self) -> None:
        """What was synced stays; what was only written may not."""
