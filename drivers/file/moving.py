"""Where a file goes when all of it is stored: in steps, each of which may be the last one before a power cut.

On one file system a file is renamed, without ever taking the place of another (renameat2(2), RENAME_NOREPLACE), and both
folders are synced. Across file systems it is copied to a hidden name in the target folder and synced, then removed here,
then renamed there: the copy's name says whose it is, so that whoever comes after a crash goes on with it. Only when that
is on disk may the file be forgotten: a move that a power cut undoes would bring it back as a new one.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from drivers.file.config import FileConfig, folder, root_of
from drivers.file.reading import is_whole
from drivers.file.state import FileState, look_of
from storage.trace import Trace

COPIED_PER_STEP_BYTES = 16 << 20
MOVES_PER_STEP = 256
RETRY_S = 10.0
MAX_NAMES = 10_000
"""Of one name in a folder, by number."""

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_libc = ctypes.CDLL(None, use_errno=True)


class _Copy(NamedTuple):
    """A copy under way, across file systems."""

    state: FileState
    hidden: Path
    source: int
    made: int


class Mover:
    """Moves files away. Used from one thread; `now_ns` is the boot clock."""

    def __init__(self, config: FileConfig, now_ns: Callable[[], int], trace: Trace) -> None:
        self._root = root_of(config)
        self._config = config
        self._now_ns = now_ns
        self._trace = trace
        self._queue: deque[FileState] = deque()
        self._stuck: deque[FileState] = deque()
        self._retry_ns = 0
        self._copy: _Copy | None = None
        self._names: set[str] = set()
        self._unsynced: set[Path] = set()
        self.trouble: str | None = None
        """Why what should be moved is not, for a person."""
        self.failures = 0

    def __contains__(self, part_name: str) -> bool:
        return part_name in self._names

    def add(self, state: FileState) -> None:
        """All of it is stored, or never will be."""
        if state.part_name not in self._names:
            self._names.add(state.part_name)
            self._queue.append(state)

    def step(self) -> list[FileState]:
        """Move some. Those that are dealt with, on disk; one that changed meanwhile is not moved, and not `done` any more."""
        if self._stuck and self._now_ns() >= self._retry_ns:
            self._queue += self._stuck
            self._stuck.clear()
            self.trouble = None
        dealt_with: list[FileState] = []
        for _ in range(MOVES_PER_STEP):
            state = self._copy.state if self._copy is not None else self._queue[0] if self._queue else None
            if state is None:
                break
            try:
                over = self._move(state)
            except OSError as error:
                self._give_up(state, error)
                continue
            if not over:
                break
            self._queue.popleft()
            self._names.discard(state.part_name)
            dealt_with.append(state)
        return self._synced(dealt_with)

    def close(self) -> None:
        copy, self._copy = self._copy, None
        if copy is not None:
            os.close(copy.source)
            os.close(copy.made)

    def _synced(self, dealt_with: list[FileState]) -> list[FileState]:
        try:
            for path in self._unsynced:
                _sync_folder(path)
        except OSError as error:
            # It has left, but that is not known to last: once more, later.
            for state in dealt_with:
                self._queue.append(state)
                self._names.add(state.part_name)
                self._give_up(state, error)
            return []
        self._unsynced.clear()
        return dealt_with

    def _give_up(self, state: FileState, error: OSError) -> None:
        """For now."""
        if self._copy is not None:
            # On a full disk it would be in the way of all others. The file itself is still where it was.
            with suppress(OSError):
                self._copy.hidden.unlink()
        self.close()
        self._queue.remove(state)
        self._stuck.append(state)
        self._retry_ns = self._now_ns() + int(RETRY_S * 1e9)
        self.failures += 1
        where = "deleted" if self._deletes(state) else f"moved to {self._folder(state)}"
        self.trouble = (
            f"{self._root / state.path} is stored and can't be {where}: {error.strerror or error}: free space or give the "
            f"gateway the right to write there; it is tried again every {RETRY_S:.0f} s, and not stored twice"
        )

    def _deletes(self, state: FileState) -> bool:
        return self._config.after == "delete" and not state.reason

    def _folder(self, state: FileState) -> Path:
        return folder(self._config, self._config.failed if state.reason else self._config.completed)

    def _move(self, state: FileState) -> bool:
        """False: there is more to copy."""
        if self._copy is not None:
            return self._copy_on(self._copy)
        source = self._root / state.path
        target_folder = self._folder(state) / os.path.dirname(state.path)  # noqa: PTH120  (of a relative path)
        # Another file under the same name has another copy.
        hidden = target_folder / f".{state.part_name}.{state.inode}.{state.mtime_ns}.moving"
        stat = _stat(source)
        if stat is None or look_of(stat) != state.look:
            return self._without_source(state, hidden, there=stat is not None)
        if self._deletes(state):
            source.unlink()
            self._unsynced.add(source.parent)
            self._trace("file.moved", {"file": state.path})
            return True
        _make_folder(target_folder)
        if target_folder.stat().st_dev != stat.st_dev:
            descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                made = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
            except OSError:
                os.close(descriptor)
                raise
            self._copy = _Copy(state, hidden, descriptor, made)
            return self._copy_on(self._copy)
        self._publish(state, source, target_folder)
        return True

    def _without_source(self, state: FileState, hidden: Path, *, there: bool) -> bool:
        """What was read is not there any more. `there`: something else is, or it has changed."""
        if not there and self._root.stat().st_ino != state.root:
            # It is not gone, its directory is: forgotten now, it would be read again when that comes back.
            raise OSError(errno.ENODEV, "the directory that it was read from is not mounted")
        grown = there and self._is_still(state)
        copy = _stat(hidden)
        # A copy's time is set when all of it is there: an earlier life came so far, and perhaps as far as removing the file.
        whole = copy is not None and (copy.st_size, copy.st_mtime_ns) == (state.size_bytes, state.mtime_ns)
        if whole and not grown:
            self._publish(state, hidden, hidden.parent)
        elif copy is not None:
            hidden.unlink()
        if there and (grown or not whole):
            state.done = False
        # An earlier life moved it, and may not have come to syncing that; or somebody took it away.
        self._unsynced |= {path for path in ((self._root / state.path).parent, hidden.parent) if path.is_dir()}
        return True

    def _is_still(self, state: FileState) -> bool:
        """Whether what is there under its name begins with what was read of it."""
        descriptor = os.open(self._root / state.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            return state.is_of(descriptor, os.fstat(descriptor), whole=is_whole(state.path, self._config))
        finally:
            os.close(descriptor)

    def _copy_on(self, copy: _Copy) -> bool:
        left = COPIED_PER_STEP_BYTES
        while left > 0:
            read = os.read(copy.source, min(left, 1 << 20))
            if not read:
                break
            _write_all(copy.made, read)
            left -= len(read)
        else:
            return False
        stat = os.fstat(copy.source)
        os.utime(copy.made, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        os.fsync(copy.made)
        self.close()
        if look_of(stat) != copy.state.look:
            copy.hidden.unlink()
            copy.state.done = False
            return True
        _sync_folder(copy.hidden.parent)
        self._trace("file.copied", {"file": copy.state.path})
        source = self._root / copy.state.path
        source.unlink()
        _sync_folder(source.parent)
        self._trace("file.removed", {"file": copy.state.path})
        self._publish(copy.state, copy.hidden, copy.hidden.parent)
        return True

    def _publish(self, state: FileState, source: Path, target_folder: Path) -> None:
        """`source` under the first name that is free, with the reason beside it where there is one."""
        name = Path(state.path)
        for number in range(MAX_NAMES):
            target = target_folder / (name.name if not number else f"{name.stem}-{number}{name.suffix}")
            if state.reason and (target.exists() or not _write_reason(target, state)):
                continue
            if _rename(source, target):
                break
        else:
            raise OSError(errno.EEXIST, f"there are {MAX_NAMES} files of that name in {target_folder}")
        self._unsynced |= {source.parent, target_folder}
        self._trace("file.moved", {"file": state.path})


def _write_reason(target: Path, state: FileState) -> bool:
    """Beside `target`. False where another file's lies there."""
    text = f"{state.bad or 'all'} bad, {state.stored} stored. {state.reason}\n"
    path = target.with_name(f"{target.name}.reason")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    except FileExistsError:
        # Whose move was interrupted finds its own, perhaps torn.
        found = path.read_bytes()
        if not text.encode().startswith(found):
            return False
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        _write_all(descriptor, text.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True


def _rename(source: Path, target: Path) -> bool:
    """False where the name is taken."""
    old, new = os.fsencode(source), os.fsencode(target)
    if _libc.renameat2(_AT_FDCWD, old, _AT_FDCWD, new, _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        return False
    if number not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(number, os.strerror(number), str(source))
    # A file system that can't promise it (NFS). Nobody but this driver makes files there.
    if target.exists():
        return False
    source.rename(target)
    return True


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _make_folder(path: Path) -> None:
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, raw: bytes) -> None:
    view = memoryview(raw)
    while view:
        view = view[os.write(descriptor, view) :]
