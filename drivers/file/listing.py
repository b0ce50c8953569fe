"""Looking at a directory in bounded steps: which files are there, in the order in which they are to be read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import translate
from pathlib import Path
from typing import Literal, NamedTuple

ENTRIES_PER_STEP = 20_000
MAX_LISTED = 10_000
"""Files that one look finds. Of more, those that come first."""

_BEING_WRITTEN = re.compile(
    r"\.|.*(\.(part|partial|tmp|temp|filepart|crdownload|swp|lock)|~)\Z", re.IGNORECASE | re.DOTALL
)


class Entry(NamedTuple):
    """A file that was seen. `look` is what changes when the file does: inode, size, modification time."""

    path: str
    look: tuple[int, int, int]


class Listing:
    """One look at `root`. `wanted` says which files are of interest."""

    def __init__(
        self,
        root: Path,
        patterns: Sequence[str],
        *,
        recursive: bool,
        leave_out: Sequence[Path],
        order: Literal["mtime", "name"],
        wanted: Callable[[Entry], bool],
    ) -> None:
        self._root = root
        self._matches = re.compile("|".join(map(translate, patterns))).match
        self._recursive = recursive
        self._leave_out = {os.path.normpath(path) for path in leave_out}
        self._order = _by_name if order == "name" else _by_mtime
        self._wanted = wanted
        self._found: list[Entry] = []
        self._walk = self._entries()
        self.unreadable: dict[str, str] = {}
        """Folders below it that could not be looked into, and why."""

    def step(self, most: int = ENTRIES_PER_STEP) -> list[Entry] | None:
        """Look at some `most` names. All that was found, when that is it. Raises OSError where there is no `root`."""
        for _ in range(most):
            entry = next(self._walk, None)
            if entry is None:
                return self._first()
            if entry.path and self._wanted(entry):
                self._found.append(entry)
        if len(self._found) > 2 * MAX_LISTED:
            self._found = self._first()
        return None

    def _first(self) -> list[Entry]:
        self._found.sort(key=self._order)
        return self._found[:MAX_LISTED]

    def _entries(self) -> Iterator[Entry]:
        """Each file that matches; for every other name an entry without a path, so that steps stay bounded."""
        folders = [""]
        while folders:
            below = folders.pop()
            try:
                with os.scandir(self._root / below) as names:
                    for name in names:
                        yield self._entry(name, below, folders)
            except OSError as error:
                if not below:
                    raise
                self.unreadable[below] = error.strerror or str(error)

    def _entry(self, name: os.DirEntry[str], below: str, folders: list[str]) -> Entry:
        nothing = Entry("", (0, 0, 0))
        if _BEING_WRITTEN.match(name.name):
            return nothing
        path = os.path.join(below, name.name)  # noqa: PTH118  (a Path for each of a million names takes seconds)
        try:
            if name.is_dir(follow_symlinks=False):
                if self._recursive and os.path.normpath(name.path) not in self._leave_out:
                    folders.append(path)
                return nothing
            if not self._matches(name.name) or not name.is_file(follow_symlinks=False):
                return nothing
            stat = name.stat(follow_symlinks=False)
        except OSError:
            # It went away while it was looked at.
            return nothing
        return Entry(path, (stat.st_ino, stat.st_size, stat.st_mtime_ns))


def _by_mtime(entry: Entry) -> tuple[int, str]:
    return entry.look[2], entry.path


def _by_name(entry: Entry) -> str:
    return entry.path
