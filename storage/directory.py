"""The store's directory: its format, its identity, and the lock that keeps a second program out."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from uuid import UUID, uuid4

from storage.errors import StorageError, StoreFormatError, StoreFullError, StoreLockedError

FORMAT = 1
_ASIDE_KEPT = 2


class StoreDirectory:
    """`path`, locked. `store_id` is the UUID that was made with it."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Lock it; made where missing, if `create`. Raises StoreFormatError, StoreLockedError, StorageError (no permission)."""
        self.path = path
        try:
            if create:
                _make(path)
            elif not (path / "FORMAT").exists():
                raise StoreFormatError(f"there is no store at {path}")
            known = read_format(path)
            self._lock = self._take_lock()
            self.store_id = known or self._create()
            if create:
                # The engine syncs the names in its own directory only, and what a process made that was killed before
                # it synced may not be on disk either.
                _make(self.db)
                sync_directory(path)
        except PermissionError as error:
            raise StorageError(
                f"no permission for the store at {path}: {error.strerror}. "
                "Run as the user that owns it (the service's user is `edge`), or choose another node.data_dir"
            ) from error
        except OSError as error:
            if error.errno in (28, 122):
                raise StoreFullError(f"no space to open the store at {path}: free some") from error
            raise StorageError(f"the store at {path} can't be opened: {error}") from error

    @property
    def db(self) -> Path:
        return self.path / "db"

    def disk_bytes(self) -> int:
        """Everything below `path`, as it takes place on the disk or soon will."""
        total = 0
        folders = [self.path]
        while folders:
            for found in os.scandir(folders.pop()):
                try:
                    if found.is_dir(follow_symlinks=False):
                        folders.append(Path(found.path))
                        continue
                    status = found.stat(follow_symlinks=False)
                    total += max(status.st_blocks * 512, status.st_size)
                except FileNotFoundError:
                    continue
        return total

    def next_aside(self) -> Path:
        """Where damaged logs of this opening go. The oldest are dropped when there are more than two."""
        root = self.path / "aside"
        numbers = sorted(int(entry.name) for entry in root.glob("[0-9]*")) if root.exists() else []
        for number in numbers[: -(_ASIDE_KEPT - 1)]:
            shutil.rmtree(root / str(number), ignore_errors=True)
        return root / str(numbers[-1] + 1 if numbers else 1)

    def _take_lock(self) -> int:
        handle = os.open(self.path / "LOCK", os.O_RDWR | os.O_CREAT, 0o640)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(handle, 32).decode(errors="replace").strip()
            os.close(handle)
            raise StoreLockedError(
                f"the store at {self.path} is in use by process {owner or 'unknown'}: "
                "stop it first (`systemctl stop edge`), or ask the running daemon through its socket"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        return handle

    def _create(self) -> UUID:
        if self.db.exists():
            raise StoreFormatError(
                f"{self.path} holds a database but no FORMAT file: it is not a store, or the file was deleted. "
                "Restore FORMAT from a backup, or choose another node.data_dir"
            )
        store_id = uuid4()
        fresh = self.path / "FORMAT.new"
        with fresh.open("w", encoding="utf-8") as file:
            json.dump({"format": FORMAT, "store": str(store_id)}, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(self.path / "FORMAT")
        sync_directory(self.path)
        return store_id

    def close(self) -> None:
        os.close(self._lock)


def read_format(path: Path) -> UUID | None:
    """The UUID of the store at `path`, None where there is none yet. Raises StoreFormatError."""
    file = path / "FORMAT"
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        loaded = json.loads(text)
        form, store = int(loaded["format"]), UUID(loaded["store"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreFormatError(f"{file} is damaged ({error}): restore it, or choose another node.data_dir") from error
    if form > FORMAT:
        raise StoreFormatError(
            f"the store at {path} has format {form}, this program knows {FORMAT}: "
            "it was written by a newer edge; install that version again. Nothing was touched"
        )
    return store


def _make(path: Path) -> None:
    """Make a directory, and its parents, where they are missing, with durable names."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_directory(folder.parent)


def sync_directory(path: Path) -> None:
    """Make names in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
