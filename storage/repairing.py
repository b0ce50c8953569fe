"""A store that is not open, repaired: `edge repair`. What opening does over damage, then all of it read, and more said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from storage.check import CheckReport
from storage.salvage.report import LostRange
from storage.store import SegmentStore


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What was damaged and what became of it. `lost`: exact ranges that are gone, each a gap record now.

    `put_back` entries of `put_back_bytes` were found whole in damaged files and are in their place again. `quarantined`
    are the damaged files, as they were found, with their sizes. `check` is what the checker says afterwards.
    """

    lines: tuple[str, ...]
    lost: tuple[LostRange, ...]
    put_back: int
    put_back_bytes: int
    quarantined: tuple[tuple[Path, int], ...]
    check: CheckReport

    @property
    def lost_bytes(self) -> int:
        """Of offsets: uncompressed."""
        return sum(lost.bytes for lost in self.lost)

    @property
    def damaged(self) -> bool:
        """Whether anything was found."""
        return bool(self.lines or self.lost)


def repair_directory(path: str | Path) -> RepairReport:
    """Repair a store that is not open, by opening it, and by reading all of it.

    Raises StoreLockedError, StoreFormatError, StoreDamagedError, StoreFullError, StorageError (no permission).
    """
    root = Path(path)
    before = _aside(root)
    with SegmentStore.open(root, create=False) as store:
        while store.scrub():
            pass
        salvaged = store.salvaged
        found = store.check()
        lines = store.recovery
    quarantined = tuple((file, size) for file, size in sorted(_aside(root).items()) if file not in before)
    return RepairReport(lines, tuple(salvaged.lost), salvaged.put_back, salvaged.put_back_bytes, quarantined, found)


def _aside(root: Path) -> dict[Path, int]:
    return {file: file.stat().st_size for file in (root / "aside").rglob("*") if file.is_file()}
