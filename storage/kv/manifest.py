"""CURRENT and MANIFEST, the engine's list of its own files: what is wrong with them, found before the engine opens.

A MANIFEST is a log of edits in the format of the write-ahead logs. One that ends early, between two edits, checks, and
the engine would take it for all there is, and unlink what it does not name. But a log is unlinked only behind an edit that
was written when the one that takes its place was begun already, and every edit says which number comes next. So where
the oldest log was begun behind the last edit, edits are missing, or a log is. And the engine writes down its families a
second time, in the newest OPTIONS: one that no edit speaks of was added by one that is missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from storage.directory import sync_directory
from storage.keys import DEFAULT
from storage.kv.logs import log_files, scan_logs

_NEXT_FILE, _DELETED_FILE, _NEW_FILE, _IN_GROUP = 3, 6, 103, 300
_NUMBERS = (2, _NEXT_FILE, 4, 9, 10, 200, 203, _IN_GROUP)
_STRINGS = (1, 201)
_MAY_BE_SKIPPED = 1 << 13
"""Set in tags whose value is a string that whoever does not know the tag may skip."""
_FAMILY = re.compile(r'^\[CFOptions "(.*)"\]$', re.MULTILINE)


def _manifests(db: Path) -> list[Path]:
    return sorted(db.glob("MANIFEST-[0-9]*"))


def _write_current(db: Path, manifest: str) -> None:
    fresh = db / "CURRENT.fresh"
    with fresh.open("w", encoding="ascii") as file:
        file.write(f"{manifest}\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(db / "CURRENT")
    sync_directory(db)


def manifest_damage(db: Path) -> str | None:
    """What is wrong with CURRENT or with the MANIFEST that it names; None where all is well or nothing is there yet."""
    if not any(db.glob("MANIFEST-*")) and not any(db.glob("*.sst")) and not any(db.glob("*.log")):
        return None
    damage = _current_damage(db)
    if damage is not None:
        return damage
    manifest = db / (db / "CURRENT").read_text(encoding="ascii").strip()
    data = manifest.read_bytes()
    scan = scan_logs([manifest], keep=True)
    torn = data[len(data) - scan.torn_bytes :].strip(b"\0") if scan.torn_bytes else b""
    if scan.damage or torn or not scan.records:
        return f"{manifest.name} does not check: {', '.join(scan.damage) or 'it is torn'}"
    return _missing_edits(db, manifest.name, scan.batches)


def _current_damage(db: Path) -> str | None:
    try:
        named = (db / "CURRENT").read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return "CURRENT is missing"
    if not named.startswith("MANIFEST-") or not named.endswith("\n") or not (db / named.strip()).exists():
        return f"CURRENT says {named[:40]!r}, which is no MANIFEST here"
    return None


def _missing_edits(db: Path, name: str, edits: Sequence[bytes]) -> str | None:
    """What says that a MANIFEST of these edits ends early."""
    oldest = next(iter(log_files(db)), None)
    if oldest is not None and not oldest.stat().st_size and not any(db.glob("*.sst")):
        # The very first opening was cut short: it begins its log before it says so.
        return None
    if oldest is not None and int(oldest.stem) >= _next_file(edits):
        return f"{name} ends before {oldest.name} was begun, and no older log is there: one of them is not whole"
    options = max(db.glob("OPTIONS-[0-9]*"), default=None)
    named = [] if options is None else _FAMILY.findall(options.read_bytes().decode(errors="replace"))
    said = b"".join(edits)
    for family in named:
        if family != DEFAULT and bytes([len(family) & 0x7F]) + family.encode() not in said:
            return f"{name} does not speak of {family}, which {options.name if options else ''} names: it is not whole"
    return None


def _next_file(edits: Sequence[bytes]) -> int:
    """The number of the next file, as the last edit says it. A group at the end that is not whole does not count: the
    engine leaves it out too."""
    whole = False
    for raw in reversed(edits):
        edit = _Edit.parse(raw)
        whole = whole or not edit.to_come
        if whole and edit.next_file:
            return edit.next_file
    return 0


@dataclass(slots=True)
class _Edit:
    """What of an edit says whether one is missing: the number of the next file, and how many more hold only with it."""

    next_file: int = 0
    to_come: int = 0

    @staticmethod
    def parse(raw: bytes) -> _Edit:
        """Up to the first field that is not known (`VersionEdit::EncodeTo` in RocksDB's `db/version_edit.cc`)."""
        edit, fields = _Edit(), _Fields(raw)
        while fields.left:
            tag = fields.number()
            if tag in _NUMBERS:
                value = fields.number()
                edit.next_file = value if tag == _NEXT_FILE else edit.next_file
                edit.to_come = value if tag == _IN_GROUP else edit.to_come
            elif tag in _STRINGS or tag & _MAY_BE_SKIPPED:
                fields.string()
            elif tag == _DELETED_FILE:
                fields.number(), fields.number()
            elif tag == _NEW_FILE:
                fields.new_file()
            else:
                break
        return edit


@dataclass(slots=True)
class _Fields:
    """Reads an edit. Behind its end everything is 0 and empty."""

    raw: bytes
    at: int = field(default=0)

    @property
    def left(self) -> bool:
        return self.at < len(self.raw)

    def number(self) -> int:
        """In groups of seven bits, the lowest first."""
        value = shift = 0
        while self.left:
            byte = self.raw[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        return value

    def string(self) -> bytes:
        length = self.number()
        self.at += length
        return self.raw[self.at - length : self.at]

    def new_file(self) -> None:
        """Level, number, size, smallest and largest key, their sequence numbers; then tagged strings up to tag 1."""
        for _ in range(3):
            self.number()
        self.string(), self.string()
        self.number(), self.number()
        while self.left and self.number() != 1:
            self.string()


def mend_current(db: Path) -> str | None:
    """Point CURRENT to the newest MANIFEST. What was wrong, None where nothing was or no MANIFEST is there."""
    manifests = _manifests(db)
    damage = _current_damage(db) if manifests else None
    if damage is None:
        return None
    # Whoever made the engine's files was killed before it had made all, where nothing was ever written.
    begun = not any(db.glob("*.sst")) and not any(log.stat().st_size for log in log_files(db))
    missing = not (db / "CURRENT").exists()
    _write_current(db, manifests[-1].name)
    if begun and missing:
        return None
    return f"{damage}: it names {manifests[-1].name} again"
