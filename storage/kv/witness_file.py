"""The file `WITNESS`: pages written in place, never waited for. The seam, the real file, and its twin.

A process that is killed leaves what it wrote last; a power cut leaves some page as it was a while before. So a page costs
no sync, and the flash little: the kernel writes it down twice a minute.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Protocol

PAGE_BYTES = 4096
MOST_PAGES = 16


class WitnessPages(Protocol):
    """Pages of `PAGE_BYTES`, each to be judged by its own checksum. Nothing here raises: a witness that fails is silent."""

    def read(self) -> list[bytes]:
        """All that were written."""

    def write(self, page: int, raw: bytes) -> None:
        """Put one in its place. Not durable."""

    def sync(self) -> None:
        """What was written is on disk when it returns."""


class WitnessFile:
    """Meets `WitnessPages`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def read(self) -> list[bytes]:
        try:
            data = self.path.read_bytes()[: PAGE_BYTES * MOST_PAGES]
        except OSError:
            return []
        return [data[at : at + PAGE_BYTES] for at in range(0, len(data), PAGE_BYTES)]

    def write(self, page: int, raw: bytes) -> None:
        with contextlib.suppress(OSError):
            if self._handle is None:
                self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            os.pwrite(self._handle, raw, page * PAGE_BYTES)

    def sync(self) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.fdatasync(self._handle)

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class MemoryWitness:
    """The twin's. A power cut leaves it as it is: on a real disk it may also be older."""

    def __init__(self) -> None:
        self.pages: dict[int, bytes] = {}

    def read(self) -> list[bytes]:
        return [self.pages[page] for page in sorted(self.pages)]

    def write(self, page: int, raw: bytes) -> None:
        self.pages[page] = raw

    def sync(self) -> None:
        """It is there already."""
