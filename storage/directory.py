"""The store's directory: its format, its identity, and the lock that keeps a second program out."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from uuid import UUID, uuid4

from storage.codec import crc32c
from storage.errors import StorageError, StoreFormatError, StoreFullError, StoreLockedError

FORMAT = 1
_FORMAT_FILES = ("FORMAT", "FORMAT.copy")
_ASIDE_KEPT = 2


class _NewerFormatError(StoreFormatError):
    """The store is whole, and of a newer program."""


class StoreDirectory:
    """`path`, locked. `store_id` is the UUID that was made with it."""

    def __init__(self, path: Path, *, create: bool = True, mend: bool = False) -> None:
        """Lock it; made where missing, if `create`; set right, if `mend`.

        Raises StoreFormatError, StoreLockedError, StorageError (no permission).
        """
        self.path = path
        try:
            if create:
                _make(path)
            elif not any((path / name).exists() for name in _FORMAT_FILES):
                raise StoreFormatError(f"there is no store at {path}")
            known = read_format(path)
            self._lock = self._take_lock()
            self.store_id = known or self._create()
            self.mended = self._mend_format() if mend else ()
            """What was set right in the directory's own files, one line each."""
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
        """Where damaged files of this opening go. The oldest are dropped when there are more than two."""
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
        for name in reversed(_FORMAT_FILES):
            self._write_format(name, store_id)
        return store_id

    def damage(self) -> tuple[str, ...]:
        """What is wrong with the directory's own files, one line each."""
        return tuple(f"{name} is damaged or missing; its copy is not" for name in _FORMAT_FILES if self._is_bad(name))

    def _is_bad(self, name: str) -> bool:
        file = self.path / name
        return not file.exists() or file.read_bytes() != _format_text(self.store_id).encode()

    def _write_format(self, name: str, store_id: UUID) -> None:
        text = _format_text(store_id)
        fresh = self.path / f"{name}.new"
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(self.path / name)
        sync_directory(self.path)

    def _mend_format(self) -> tuple[str, ...]:
        """Write each of the two copies anew that is not what it should be."""
        lines = []
        begun = not self.db.exists()
        for name in _FORMAT_FILES:
            missing = not (self.path / name).exists()
            if self._is_bad(name):
                self._write_format(name, self.store_id)
                if begun and missing:
                    continue  # Whoever made the store was killed before it had written both.
                lines.append(f"{name} was damaged or missing and was written again from its copy")
        return tuple(lines)

    def close(self) -> None:
        os.close(self._lock)


def _format_text(store_id: UUID) -> str:
    content = {"format": FORMAT, "store": str(store_id)}
    return json.dumps({**content, "crc": crc32c(json.dumps(content).encode())})


def read_format(path: Path) -> UUID | None:
    """The UUID of the store at `path`, from the copy that checks; None where there is none yet. Raises StoreFormatError.

    Both are looked at: where one of them is of a newer program, that is no damage, and it may not be written over.
    """
    damage: StoreFormatError | None = None
    found: UUID | None = None
    for name in _FORMAT_FILES:
        try:
            store = _read_copy(path, path / name)
            found = found or store
        except _NewerFormatError:
            raise
        except StoreFormatError as error:
            damage = damage or error
    if found is None and damage is not None:
        raise damage
    return found


def _read_copy(path: Path, file: Path) -> UUID | None:
    try:
        loaded = json.loads(file.read_bytes())
        form = int(loaded["format"])
        if form > FORMAT and "crc" not in loaded:
            raise _newer(path, form)
        store = UUID(loaded["store"])
        content = {"format": form, "store": str(store)}
        if "crc" in loaded and loaded["crc"] != crc32c(json.dumps(content).encode()):
            raise ValueError("its checksum does not hold")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreFormatError(
            f"{file} is damaged ({error}), and so is its copy: restore it, or choose another node.data_dir"
        ) from error
    if form > FORMAT:
        raise _newer(path, form)
    return store


def _newer(path: Path, form: int) -> _NewerFormatError:
    return _NewerFormatError(
        f"the store at {path} has format {form}, this program knows {FORMAT}: "
        "it was written by a newer edge; install that version again. Nothing was touched"
    )


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
