"""The engine's twin in RAM. It can lose power, tear what was not synced, fill up, stall, and fail a sync.

A `MemoryTwin` is the disk: it outlives the stores opened on it. `power_cut` keeps what was synced and a prefix of the
batches written since, as RocksDB's log does.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from uuid import uuid4

from storage.errors import StoreBusyError, StoreClosedError, StoreFailedError, StoreFullError, StoreLockedError
from storage.keys import DEFAULT
from storage.kv.contract import Batch, Item, LogEvidence
from storage.kv.memory_chunks import MemoryChunks
from storage.kv.witness_file import MemoryWitness


class _Table:
    """An ordered map of bytes."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.values: dict[bytes, bytes] = {}

    def put(self, key: bytes, value: bytes) -> None:
        if key not in self.values:
            insort(self.keys, key)
        self.values[key] = value

    def delete(self, key: bytes) -> None:
        if self.values.pop(key, None) is not None:
            del self.keys[bisect_left(self.keys, key)]

    def copy(self) -> _Table:
        other = _Table()
        other.keys = list(self.keys)
        other.values = dict(self.values)
        return other

    @property
    def size_bytes(self) -> int:
        return sum(len(key) + len(value) for key, value in self.values.items())


class MemoryTwin:
    """A disk in RAM, and the faults it can be asked for."""

    def __init__(self, capacity_bytes: int | None = None) -> None:
        self.store_id = uuid4()
        self.capacity_bytes = capacity_bytes
        self.stalled_writes = 0
        """So many of the next writes are refused as if the engine asked for a pause."""
        self.failing_syncs = 0
        """So many of the next syncs fail for good, as a disk error does."""
        self.syncs = 0
        self._durable: dict[str, _Table] = {DEFAULT: _Table()}
        self._visible: dict[str, _Table] = {DEFAULT: _Table()}
        self._unsynced: list[Batch] = []
        self.chunks = MemoryChunks(self)
        self.witness = MemoryWitness()
        self._open: MemoryStore | None = None
        self._lock = threading.RLock()

    def connect(self) -> MemoryStore:
        """Open it. Raises StoreLockedError while another store has it open."""
        with self._lock:
            if self._open is not None:
                raise StoreLockedError("the twin is open already: close that store, or cut its power")
            self._open = MemoryStore(self)
            return self._open

    @property
    def families(self) -> list[str]:
        return list(self._visible)

    @property
    def unsynced_batches(self) -> int:
        return len(self._unsynced)

    def power_cut(self, keep: int = 0, keep_chunk_bytes: int = 0) -> None:
        """Lose what was not synced but for the oldest `keep` batches and the first bytes written to each chunk since;
        whoever has it open finds it closed.
        """
        with self._lock:
            self.chunks.power_cut(keep_chunk_bytes)
            for batch in self._unsynced[:keep]:
                self._apply(self._durable, batch)
            self._unsynced.clear()
            self._visible = {name: table.copy() for name, table in self._durable.items()}
            if self._open is not None:
                self._open.closed = True
                self._open = None

    def copy(self) -> MemoryTwin:
        """Another disk with what is durable on this one: an image of the card, taken now."""
        other = MemoryTwin(self.capacity_bytes)
        other.store_id = self.store_id
        other._durable = {name: table.copy() for name, table in self._durable.items()}
        other._visible = {name: table.copy() for name, table in self._durable.items()}
        other.chunks.copy_from(self.chunks)
        other.witness.pages = dict(self.witness.pages)
        return other

    @property
    def used_bytes(self) -> int:
        return sum(table.size_bytes for table in self._visible.values()) + self.chunks.disk_bytes()

    @staticmethod
    def _apply(tables: dict[str, _Table], batch: Batch) -> None:
        for family, key, value in batch.puts:
            tables[family].put(key, value)
        for family, key in batch.deletes:
            tables[family].delete(key)


class MemoryStore:
    """One opening of a twin. Meets `storage.kv.contract.KeyValueStore`."""

    evidence = LogEvidence()
    hit: frozenset[str] = frozenset()

    @property
    def chunks(self) -> MemoryChunks:
        self._tables()
        return self._twin.chunks

    @property
    def witness(self) -> MemoryWitness:
        self._tables()
        return self._twin.witness

    def __init__(self, twin: MemoryTwin) -> None:
        self._twin = twin
        self.closed = False

    def _tables(self) -> dict[str, _Table]:
        if self.closed:
            raise StoreClosedError("the twin lost power or was closed")
        return self._twin._visible

    def evidence_settled(self) -> None:
        self._tables()

    def families(self) -> list[str]:
        return list(self._tables())

    def create_family(self, name: str) -> None:
        with self._twin._lock:
            self._tables().setdefault(name, _Table())
            self._twin._durable.setdefault(name, _Table())

    def drop_family(self, name: str) -> None:
        with self._twin._lock:
            self._tables().pop(name, None)
            self._twin._durable.pop(name, None)
            for batch in self._twin._unsynced:
                batch.puts = [put for put in batch.puts if put[0] != name]
                batch.deletes = [delete for delete in batch.deletes if delete[0] != name]

    def family_bytes(self, name: str) -> int:
        table = self._tables().get(name)
        return 0 if table is None else table.size_bytes

    def compact_family(self, name: str) -> None:
        self._tables()

    def unflushed_bytes(self) -> int:
        return sum(batch.size_bytes for batch in self._twin._unsynced)

    def write(self, batch: Batch) -> None:
        twin = self._twin
        with twin._lock:
            tables = self._tables()
            if twin.stalled_writes > 0:
                twin.stalled_writes -= 1
                raise StoreBusyError("the engine asks for a pause")
            if twin.capacity_bytes is not None and twin.used_bytes + batch.size_bytes > twin.capacity_bytes:
                raise StoreFullError("the disk is full: free space, and writing goes on by itself")
            twin._apply(tables, batch)
            twin._unsynced.append(Batch(list(batch.puts), list(batch.deletes)))

    def sync(self) -> None:
        twin = self._twin
        with twin._lock:
            self._tables()
            if twin.failing_syncs > 0:
                twin.failing_syncs -= 1
                raise StoreFailedError("the disk did not sync: what was written since the last sync is not safe")
            for batch in twin._unsynced:
                twin._apply(twin._durable, batch)
            twin._unsynced.clear()
            twin.syncs += 1

    def get(self, family: str, key: bytes) -> bytes | None:
        with self._twin._lock:
            table = self._tables().get(family)
            return None if table is None else table.values.get(key)

    def scan(
        self, family: str, start: bytes, stop: bytes | None, *, limit: int = 1000, max_bytes: int = 4 << 20
    ) -> list[Item]:
        with self._twin._lock:
            table = self._tables().get(family, _Table())
            items: list[Item] = []
            size = 0
            for key in table.keys[bisect_left(table.keys, start) :]:
                if (stop is not None and key >= stop) or len(items) >= limit or (items and size >= max_bytes):
                    break
                items.append((key, table.values[key]))
                size += len(items[-1][1])
            return items

    def last_before(self, family: str, start: bytes, stop: bytes) -> Item | None:
        with self._twin._lock:
            table = self._tables().get(family, _Table())
            at = bisect_left(table.keys, stop) - 1
            if at < 0 or table.keys[at] < start:
                return None
            return table.keys[at], table.values[table.keys[at]]

    def disk_bytes(self) -> int:
        return self._twin.used_bytes

    def close(self) -> None:
        with self._twin._lock:
            if not self.closed:
                self.closed = True
                self._twin._open = None
