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

from storage.kv.contract import Item, LogEvidence
from storage.kv.evidence import puts_of_logs, values_of_tables
from storage.kv.logs import log_files, scan_logs

MARKER = "REPAIR"


def _manifests(db: Path) -> list[Path]:
    return sorted(db.glob("MANIFEST-[0-9]*"))


def _write_current(db: Path, manifest: str) -> None:
    fresh = db / "CURRENT.fresh"
    with fresh.open("w", encoding="ascii") as file:
        file.write(f"{manifest}\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(db / "CURRENT")
    _sync(db)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def manifest_damage(db: Path) -> str | None:
    """What is wrong with CURRENT or with the MANIFEST that it names; None where all is well or nothing is there yet."""
    if not any(db.glob("MANIFEST-*")) and not any(db.glob("*.sst")) and not any(db.glob("*.log")):
        return None
    try:
        named = (db / "CURRENT").read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return "CURRENT is missing"
    manifest = db / named.strip()
    if not named.startswith("MANIFEST-") or not named.endswith("\n") or not manifest.exists():
        return f"CURRENT says {named[:40]!r}, which is no MANIFEST here"
    data = manifest.read_bytes()
    scan = scan_logs([manifest])
    torn = data[len(data) - scan.torn_bytes :].strip(b"\0") if scan.torn_bytes else b""
    if scan.damage or torn or not scan.records:
        return f"{manifest.name} does not check: {', '.join(scan.damage) or 'it is torn'}"
    return None


def mend_current(db: Path) -> str | None:
    """Point CURRENT to the newest MANIFEST. What was wrong, None where nothing was or no MANIFEST is there."""
    damage = manifest_damage(db)
    manifests = _manifests(db)
    if damage is None or not damage.startswith("CURRENT") or not manifests:
        return None
    # Whoever made the engine's files was killed before it had made all, where nothing was ever written.
    begun = not any(db.glob("*.sst")) and not any(log.stat().st_size for log in log_files(db))
    missing = not (db / "CURRENT").exists()
    _write_current(db, manifests[-1].name)
    if begun and missing:
        return None
    return f"{damage}: it names {manifests[-1].name} again"


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
        _sync(self._aside)
        repair()
        lost = self._db / "lost"
        if lost.exists():
            for file in lost.glob("*.sst"):
                file.rename(self._free_name(file.name))
            shutil.rmtree(lost)
        _sync(self._db)

    def _mark(self) -> None:
        with self._marker.open("w", encoding="utf-8") as file:
            file.write(f"{self._aside.name}\n")
            file.flush()
            os.fsync(file.fileno())
        _sync(self._marker.parent)
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
            _sync(self._marker.parent)
            self.pending = False
