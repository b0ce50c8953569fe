"""Brings back an engine whose own files were hit, so that it opens: CURRENT, MANIFEST, a table file that is torn or gone.

The files that the engine can't do without are copied to `aside/N` and the logs are moved there, for the engine's repair
would drop what they hold of a family that has no table file yet. What a log, or a table file that the repair left out,
still holds is handed on as evidence, and the store puts it back by the commit chain. Until that is durable, `REPAIR`
in the store's directory names the folder: an opening that is cut short is followed by one that knows.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from storage.directory import sync_directory
from storage.kv.contract import Item, LogEvidence
from storage.kv.evidence import puts_of_logs, values_of_tables
from storage.kv.logs import log_files

MARKER = "REPAIR"


class Repair:
    """One repair, in the folder `aside`; one that was begun before goes on in its own."""

    def __init__(self, db: Path, aside: Path) -> None:
        self._db = db
        self._marker = db.parent / MARKER
        self.pending = self._marker.exists()
        self._aside = aside
        if self.pending:
            named = self._marker.read_text(encoding="utf-8").strip()
            self._aside = aside.parent / named if named.isdecimal() else aside

    def run(self, repair: Callable[[], None]) -> None:
        """Put the originals aside and have the engine repair what is left. `repair` is the engine's own."""
        self._aside.mkdir(parents=True, exist_ok=True)
        self._mark()
        for pattern in ("MANIFEST-*", "CURRENT", "OPTIONS-*", "IDENTITY"):
            for file in self._db.glob(pattern):
                shutil.copy2(file, self._free_name(file.name))
        for log in log_files(self._db):
            log.rename(self._free_name(log.name))
        sync_directory(self._aside)
        repair()
        lost = self._db / "lost"
        if lost.exists():
            for file in lost.glob("*.sst"):
                file.rename(self._free_name(file.name))
            shutil.rmtree(lost)
        sync_directory(self._db)

    def _mark(self) -> None:
        with self._marker.open("w", encoding="utf-8") as file:
            file.write(f"{self._aside.name}\n")
            file.flush()
            os.fsync(file.fileno())
        sync_directory(self._marker.parent)
        self.pending = True

    def _free_name(self, name: str) -> Path:
        """A path in the folder that is not taken, with the same beginning and end."""
        stem, dot, suffix = name.partition(".")
        place = 0
        while (path := self._aside / (f"{stem}-{place}{dot}{suffix}" if place else name)).exists():
            place += 1
        return path

    def evidence(self, damage: tuple[str, ...]) -> LogEvidence:
        """What the files that were put aside still hold."""
        puts: list[Item] = puts_of_logs(log_files(self._aside))
        loose = tuple(values_of_tables(sorted(self._aside.glob("*.sst"))))
        where = f"the engine's files were repaired, the originals are in {self._aside}"
        return LogEvidence((*damage, where), tuple(puts), loose=loose, whole=True)

    def settled(self) -> None:
        """All that the evidence holds is durable in its place."""
        if self.pending:
            self._marker.unlink(missing_ok=True)
            sync_directory(self._marker.parent)
            self.pending = False
