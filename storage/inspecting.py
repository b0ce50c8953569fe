"""A store that is not open, looked at: `edge check`. What it finds is what an opening would find, and nothing is changed."""

from __future__ import annotations

from pathlib import Path

from storage.check import CheckReport, check
from storage.directory import StoreDirectory
from storage.errors import StorageError, StoreDamagedError
from storage.kv.rocks import RocksStore
from storage.kv.staging import staged
from storage.opening import load

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
            return check(kv, directory.store_id, tuple(f"{line}; {_REMEDY}" for line in kv.evidence.mended))
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
