"""Chunk files: large blocks, one behind the other, in files beside the engine. The seam, and the real files.

A chunk only grows, at an offset that its writer knows, so a write that was refused is repeated at the same place. It is
cut only when the store is opened, and goes as a whole file.
"""

from __future__ import annotations

import errno
import os
import struct
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from storage.directory import sync_directory
from storage.errors import DamagedBlockError, StorageError, StoreFailedError, StoreFullError
from storage.keys import SegmentKey

CHUNK_BYTES = 32 << 20
"""A chunk is followed by a fresh one before a block would take it above this. One larger block has one to itself."""
MAX_OPEN_FILES = 64

_FULL = (errno.ENOSPC, errno.EDQUOT)
_RECORD = struct.Struct(">IIIQQQB")


@dataclass(frozen=True, slots=True)
class ChunkRecord:
    """A chunk, of one segment alone. `size_bytes` of it are named by pointers at the offsets [`first`, `end`).

    What is `sealed` does not grow any more.
    """

    number: int
    segment: SegmentKey
    first: int
    end: int
    size_bytes: int
    sealed: bool = False

    def encode(self) -> bytes:
        return _RECORD.pack(*self.segment, self.first, self.end, self.size_bytes, self.sealed)

    @staticmethod
    def decode(number: int, raw: bytes) -> ChunkRecord:
        stream, segment, epoch, first, end, size_bytes, sealed = _RECORD.unpack(raw)
        return ChunkRecord(number, SegmentKey(stream, segment, epoch), first, end, size_bytes, bool(sealed))


class ChunkFiles(Protocol):
    """What the store asks of the files. Chunks are named by number. One thread writes, any may read."""

    def numbers(self) -> list[int]:
        """Every chunk that there is, in order."""

    def write(self, number: int, offset: int, data: bytes) -> None:
        """Put `data` at `offset`; the chunk is made where missing. Not durable yet.

        Raises StoreFullError (may be repeated, some of it may be there), StoreFailedError.
        """

    def sync(self, numbers: Iterable[int]) -> None:
        """All that was written to these, and their names, are on disk when it returns. Raises StoreFailedError."""

    def read(self, number: int, offset: int, size_bytes: int) -> bytes:
        """Raises DamagedBlockError where the chunk is missing, ends before, or can't be read."""

    def size(self, number: int) -> int | None:
        """Its length in bytes, None where it is missing."""

    def cut(self, number: int, size_bytes: int) -> None:
        """Keep its first `size_bytes`, durable when it returns. Raises StoreFailedError."""

    def unlink(self, number: int) -> None:
        """It is gone, with its space. After a crash it may be there again. One that is missing is left so.

        Raises StorageError where it stays, or may."""

    def disk_bytes(self) -> int:
        """What all of them take on disk now."""

    def close(self) -> None:
        """Let go of open files."""


class ChunkDirectory:
    """The files `NNNNNNNN.chunk` in one directory, made with the first of them. Meets `ChunkFiles`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: OrderedDict[int, int] = OrderedDict()
        """Handles of the chunks written to last, by number: used by the thread that writes."""
        self._unnamed: set[int] = set()
        """Chunks made since their directory was synced."""

    def _file(self, number: int) -> Path:
        return self.path / f"{number:08d}.chunk"

    def numbers(self) -> list[int]:
        return sorted(int(file.stem) for file in self.path.glob("*.chunk") if file.stem.isdecimal())

    def write(self, number: int, offset: int, data: bytes) -> None:
        try:
            handle = self._handle(number)
            rest = memoryview(data)
            while rest:
                written = os.pwrite(handle, rest, offset)
                rest, offset = rest[written:], offset + written
        except OSError as error:
            self._translate(error, "writing", number)

    def sync(self, numbers: Iterable[int]) -> None:
        number = 0
        try:
            for number in numbers:
                os.fdatasync(self._handle(number))
            if self._unnamed:
                sync_directory(self.path)
                self._unnamed.clear()
        except OSError as error:
            raise StoreFailedError(
                f"the disk did not sync {self._file(number)} ({error.strerror}): what was written since is not safe"
            ) from error

    def _handle(self, number: int) -> int:
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        file = self._file(number)
        if not file.exists():
            if not self.path.exists():
                self.path.mkdir()
                sync_directory(self.path.parent)
            self._unnamed.add(number)
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._open[number] = handle
        if len(self._open) > MAX_OPEN_FILES:
            os.close(self._open.popitem(last=False)[1])
        return handle

    def read(self, number: int, offset: int, size_bytes: int) -> bytes:
        file = self._file(number)
        try:
            handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = os.pread(handle, size_bytes, offset)
            finally:
                os.close(handle)
        except FileNotFoundError:
            raise DamagedBlockError(f"chunk {number} is missing") from None
        except OSError as error:
            raise DamagedBlockError(f"chunk {number} can't be read at byte {offset}: {error.strerror}") from error
        if len(data) < size_bytes:
            raise DamagedBlockError(f"chunk {number} ends at byte {offset + len(data)}, not {offset + size_bytes}")
        return data

    def size(self, number: int) -> int | None:
        try:
            return self._file(number).stat().st_size
        except FileNotFoundError:
            return None

    def cut(self, number: int, size_bytes: int) -> None:
        try:
            handle = self._handle(number)
            os.ftruncate(handle, size_bytes)
            os.fsync(handle)
        except OSError as error:
            self._translate(error, "cutting", number)

    def unlink(self, number: int) -> None:
        handle = self._open.pop(number, None)
        try:
            if handle is not None:
                os.close(handle)
            self._file(number).unlink(missing_ok=True)
        except OSError as error:
            self._translate(error, "removing", number)

    def _translate(self, error: OSError, doing: str, number: int) -> NoReturn:
        file = self._file(number)
        if error.errno in _FULL:
            raise StoreFullError(
                f"{doing} {file}: the disk is full; free space, and writing goes on by itself"
            ) from error
        if isinstance(error, PermissionError):
            raise StorageError(f"{doing} {file}: no permission; run as the user that owns the store") from error
        raise StoreFailedError(f"{doing} {file}: {error.strerror}") from error

    def disk_bytes(self) -> int:
        total = 0
        for number in self.numbers():
            try:
                total += self._file(number).stat().st_blocks * 512
            except FileNotFoundError:
                continue
        return total

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])
