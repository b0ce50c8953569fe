"""A power cut: what lay behind the last sync is torn off at a random byte, or has pages missing.

SIGKILL leaves the page cache as it is; a power cut does not. So the process writes down, at each sync, how long the logs
and the chunks were. Once it is dead, what is behind that goes: all of it, or up to any byte; or it comes back as zeros.
Names of files that were not synced go as well, and files that were unlinked may be there again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import BinaryIO

from storage.bulk.chunks import ChunkDirectory
from storage.kv.logs import log_files
from storage.kv.rocks import RocksStore
from storage.kv.witness_file import PAGE_BYTES

WRITTEN_BACK_SHARE = 0.02
"""The kernel writes back on its own account twice a minute, which is seldom."""
HEADER_BYTES = 8
"""Fewer zeros at the beginning of a write are taken for damage: a header may look like that."""
PAGES_SHARE = 0.3
"""So often a file is as long as it was, and some of its pages were never written."""


class Synced:
    """What of a store at `path` is synced: kept beside it, in `synced-…` files and as links to chunks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path.with_name(path.name + "-synced")
        self._chunks = self._folder / "chunks"
        self._random = Random()
        self._chunks.mkdir(parents=True, exist_ok=True)

    def note_logs(self) -> None:
        """All that is in the logs now is synced."""
        self._keep_witness()
        sizes = {}
        for file in log_files(self._path / "db"):
            # The engine removes logs on its own account.
            with contextlib.suppress(FileNotFoundError):
                sizes[file.name] = file.stat().st_size
        self._note("log-sizes", sizes)

    def _keep_witness(self) -> None:
        """Nobody syncs the witness: the disk has its pages as they were at some time before, each of its own time."""
        witness = self._path / "WITNESS"
        if witness.exists() and self._random.random() < WRITTEN_BACK_SHARE:
            shutil.copyfile(witness, self._folder / "witness")

    def _tear_witness(self, random: Random) -> None:
        witness, older = self._path / "WITNESS", self._folder / "witness"
        if not witness.exists():
            return
        now, before = witness.read_bytes(), older.read_bytes() if older.exists() else b""
        pages = [random.choice([now, before])[at : at + PAGE_BYTES] for at in range(0, len(now), PAGE_BYTES)]
        written = b"".join(page.ljust(PAGE_BYTES, b"\0") for page in pages)
        witness.write_bytes(written if before else random.choice([now, b""]))

    def note_chunks(self) -> None:
        """All that is in the chunks now is synced, and so are their names."""
        sizes = {}
        for file in (self._path / "chunks").glob("*.chunk"):
            sizes[file.name] = file.stat().st_size
            link = self._chunks / file.name
            if not link.exists():
                os.link(file, link)
        self._note("chunk-sizes", sizes)

    def _note(self, what: str, sizes: dict[str, int]) -> None:
        fresh = self._folder / f"{what}.new"
        fresh.write_text("".join(f"{name} {size}\n" for name, size in sizes.items()), encoding="ascii")
        fresh.rename(self._folder / what)

    def _sizes(self, what: str) -> dict[str, int]:
        file = self._folder / what
        if not file.exists():
            return {}
        return {name: int(size) for name, size in map(str.split, file.read_text(encoding="ascii").splitlines())}

    def tear(self, random: Random) -> int:
        """Lose what was not synced. How many bytes that were."""
        self._tear_witness(random)
        lost = 0
        logs = self._sizes("log-sizes")
        for file in log_files(self._path / "db"):
            lost += _tear(file, logs.get(file.name, 0), random)
        chunks = self._sizes("chunk-sizes")
        for file in sorted((self._path / "chunks").glob("*.chunk")):
            lost += _tear(file, chunks.get(file.name, 0), random)
            if file.name not in chunks and random.random() < 0.5:
                file.unlink()
        for link in sorted(self._chunks.glob("*.chunk")):
            # An unlink is durable when its directory is, and nobody waits for that.
            back = self._path / "chunks" / link.name
            if not back.exists() and link.name in chunks and random.random() < 0.3:
                os.link(link, back)
        shutil.rmtree(self._chunks)
        self._chunks.mkdir()
        # What the machine finds when it comes up again is on its disk.
        self.note_logs()
        self.note_chunks()
        return lost


def watch() -> None:
    """From now on, whatever the stores of this process sync is written down."""
    sync_log, sync_chunks, cut_chunk = RocksStore.sync, ChunkDirectory.sync, ChunkDirectory.cut

    def sync(self: RocksStore) -> None:
        sync_log(self)
        Synced(self.path.parent).note_logs()

    def sync_some(self: ChunkDirectory, numbers: Iterable[int]) -> None:
        sync_chunks(self, numbers)
        Synced(self.path.parent).note_chunks()

    def cut(self: ChunkDirectory, number: int, size_bytes: int) -> None:
        cut_chunk(self, number, size_bytes)
        Synced(self.path.parent).note_chunks()

    RocksStore.sync = sync  # type: ignore[method-assign]
    ChunkDirectory.sync = sync_some  # type: ignore[method-assign]
    ChunkDirectory.cut = cut  # type: ignore[method-assign]


def _tear(file: Path, synced: int, random: Random) -> int:
    size = file.stat().st_size
    if size <= synced:
        return 0
    with file.open("r+b") as handle:
        if random.random() < PAGES_SHARE:
            lost = [
                page for page in _pages(synced, size) if random.random() < 0.5 and page[1] - page[0] >= HEADER_BYTES
            ]
            return sum(_lose_page(handle, *page) for page in lost)
        kept = random.choice([synced, random.randint(synced, size - 1), random.randint(synced, size - 1)])
        handle.truncate(kept)
    return size - kept


def _pages(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of pages between two places in a file."""
    while start < end:
        behind = min(end, start - start % PAGE_BYTES + PAGE_BYTES)
        yield start, behind
        start = behind


def _lose_page(handle: BinaryIO, start: int, end: int) -> int:
    handle.seek(start)
    handle.write(bytes(end - start))
    return end - start
