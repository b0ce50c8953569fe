"""A store that is not open, looked at: `edge check`. What it finds is what an opening would find, and nothing is changed."""

from __future__ import annotations

from pathlib import Path

from storage.catalog import Catalog
from storage.check import CheckReport, check
from storage.clock import SystemClock
from storage.directory import StoreDirectory
from storage.errors import StorageError, StoreDamagedError
from storage.kv.rocks import RocksStore
from storage.kv.staging import staged
from storage.opening import load
from storage.salvage.newest import find_missing, newest_commit
from storage.salvage.report import SalvageReport

_REMEDY = "edge repair, or opening the store for writing, salvages what it can"


def check_directory(path: str | Path) -> CheckReport:
    """Check a store that is not open. Damage of any kind is reported, not raised, with what opening would lose to it.

    Raises StoreLockedError, StoreFormatError (there is no store, or nothing says which), StorageError (no permission).
    """
    directory = StoreDirectory(Path(path), create=False)
    try:
        report = _check(directory)
        for line in directory.damage():
            report.error("files", f"{line}; {_REMEDY}")
        return report
    finally:
        directory.close()


def _check(directory: StoreDirectory) -> CheckReport:
    try:
        kv = RocksStore(directory.db, directory.path, read_only=True)
    except StoreDamagedError:
        return _check_mended(directory)
    try:
        if not kv.evidence.damage:
            found = SalvageReport(list(kv.evidence.mended))
            _tell_newest(kv, directory, found)
            report = check(kv, directory.store_id, tuple(f"{line}; {_REMEDY}" for line in found.lines))
            return _with_lost(report, found)
    finally:
        kv.close()
    return _check_mended(directory)


def _check_mended(directory: StoreDirectory) -> CheckReport:
    """Mend what is beside the original, and report what that took and what is lost."""
    report = CheckReport()
    try:
        with staged(directory.path) as folder:
            kv = RocksStore(folder / "db", folder / "aside", chunks=directory.path / "chunks")
            try:
                _, _, salvaged = load(kv, directory.store_id)
                _tell_newest(kv, directory, salvaged)
                report = check(kv, directory.store_id, tuple(f"{line}; {_REMEDY}" for line in salvaged.told))
                for lost in salvaged.lost:
                    report.error(
                        f"{lost.stream}/{lost.segment}.{lost.epoch} bytes {lost.start} to {lost.end}", lost.why
                    )
            finally:
                kv.close()
    except (StorageError, OSError) as error:
        report.error("files", f"{error}")
    return report


def _tell_newest(kv: RocksStore, directory: StoreDirectory, found: SalvageReport) -> None:
    """What only the witness knows of."""
    catalog = Catalog.load(kv)
    missing, _ = find_missing(kv, directory.store_id, SystemClock().boot_id, newest_commit(kv, catalog))
    if missing is not None:
        missing.tell(catalog, found)


def _with_lost(report: CheckReport, found: SalvageReport) -> CheckReport:
    for lost in found.lost:
        report.error(f"{lost.stream}/{lost.segment}.{lost.epoch} bytes {lost.start} to {lost.end}", lost.why)
    return report
