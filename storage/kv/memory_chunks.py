"""The chunk files of the twin: they lose power with it, and lose or tear what was not synced."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Protocol

from storage.errors import DamagedBlockError, StoreFailedError, StoreFullError


class Disk(Protocol):
    """What the files ask of the twin they are on."""

    capacity_bytes: int | None
    failing_syncs: int

    @property
    def used_bytes(self) -> int: ...


class MemoryChunks:
    """Meets `storage.bulk.chunks.ChunkFiles`. It belongs to the twin and outlives the stores opened on it."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._lock = threading.RLock()
        self._visible: dict[int, bytearray] = {}
        self._durable: dict[int, bytes] = {}

    def numbers(self) -> list[int]:
        return sorted(self._visible)

    def write(self, number: int, offset: int, data: bytes) -> None:
        with self._lock:
            chunk = self._visible.setdefault(number, bytearray())
            room = len(data)
            if self._disk.capacity_bytes is not None:
                growth = max(0, offset + len(data) - len(chunk))
                room -= max(0, growth - max(0, self._disk.capacity_bytes - self._disk.used_bytes))
            chunk.extend(bytes(max(0, offset - len(chunk))))
            chunk[offset : offset + room] = data[: max(0, room)]
            if room < len(data):
                raise StoreFullError(
                    f"writing chunk {number}: the disk is full; free space, and writing goes on by itself"
                )

    def sync(self, numbers: Iterable[int]) -> None:
        with self._lock:
            if self._disk.failing_syncs > 0:
                self._disk.failing_syncs -= 1
                raise StoreFailedError("the disk did not sync a chunk: what was written since is not safe")
            for number in numbers:
                self._durable[number] = bytes(self._visible[number])

    def read(self, number: int, offset: int, size_bytes: int) -> bytes:
        with self._lock:
            if number not in self._visible:
                raise DamagedBlockError(f"chunk {number} is missing")
            data = bytes(self._visible[number][offset : offset + size_bytes])
        if len(data) < size_bytes:
            raise DamagedBlockError(f"chunk {number} ends at byte {offset + len(data)}, not {offset + size_bytes}")
        return data

    def size(self, number: int) -> int | None:
        chunk = self._visible.get(number)
        return None if chunk is None else len(chunk)

    def cut(self, number: int, size_bytes: int) -> None:
        with self._lock:
            del self._visible[number][size_bytes:]
            self._durable[number] = bytes(self._visible[number])

    def unlink(self, number: int) -> None:
        """Not durable: a power cut brings it back."""
        self._visible.pop(number, None)

    def disk_bytes(self) -> int:
        return sum(map(len, self._visible.values()))

    def close(self) -> None:
        """There is nothing to let go of."""

    # faults

    def power_cut(self, keep_bytes: int) -> None:
        """What was not synced is lost, but for `keep_bytes` behind the synced end of each chunk."""
        with self._lock:
            for number, chunk in self._visible.items():
                synced = self._durable.get(number, b"")
                kept = bytes(chunk[len(synced) : len(synced) + keep_bytes])
                if kept or number in self._durable:
                    self._durable[number] = synced + kept
            self._visible = {number: bytearray(data) for number, data in self._durable.items()}

    def damage(self, number: int, data: bytes | None) -> None:
        """The chunk now holds `data`, or is missing."""
        with self._lock:
            if data is None:
                self._visible.pop(number, None)
                self._durable.pop(number, None)
            else:
                self._visible[number] = bytearray(data)
                self._durable[number] = data

    def copy_from(self, other: MemoryChunks) -> None:
        """Take over what is durable there."""
        self._durable = dict(other._durable)
        self._visible = {number: bytearray(data) for number, data in self._durable.items()}
