"""A power cut: what lay behind the last sync is torn off at a random byte.

SIGKILL leaves the page cache as it is; a power cut does not. So the process writes down, at each sync, how long the logs
and the chunks were. Once it is dead, what is behind that goes: all of it, or up to any byte; or it comes back as zeros.
Names of files that were not synced go as well, and files that were unlinked may be there again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from random import Random

from storage.kv.logs import log_files

ZEROS_SHARE = 0.25
"""So often a file that lost all is as long as it was, with zeros in it."""


class Synced:
    """What of a store at `path` is synced: kept beside it, in `synced-…` files and as links to chunks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path.with_name(path.name + "-synced")
        self._chunks = self._folder / "chunks"
        self._chunks.mkdir(parents=True, exist_ok=True)

    def note_logs(self) -> None:
        """All that is in the logs now is synced."""
        sizes = {}
        for file in log_files(self._path / "db"):
            # The engine removes logs on its own account.
            with contextlib.suppress(FileNotFoundError):
                sizes[file.name] = file.stat().st_size
        self._note("log-sizes", sizes)

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


def _tear(file: Path, synced: int, random: Random) -> int:
    size = file.stat().st_size
    if size <= synced:
        return 0
    kept = random.choice([synced, random.randint(synced, size - 1), random.randint(synced, size - 1)])
    with file.open("r+b") as handle:
        handle.truncate(kept)
        if kept == synced and random.random() < ZEROS_SHARE:
            handle.truncate(size)
    return size - kept
