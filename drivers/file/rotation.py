"""The files that a log was rotated into: which there are, in the order in which they were written, and what of them is read.

A file is known by what was read of it (`drivers.file.state.fingerprint`), since rotation changes its name and copying its
inode. So beside where it stands a reader keeps a mark for each file that it is done with; what lies there without a mark
has not been read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from drivers.file.state import fingerprint

MAX_ROTATED = 100
COMPRESSED = (".gz", ".xz", ".bz2", ".zst", ".lz4")
_NUMBERED = re.compile(r"\.(\d{1,6})\Z")


class Mark(NamedTuple):
    """How far a file was read, and what it is known by."""

    inode: int
    offset: int
    digest: str

    def is_in(self, descriptor: int, stat: os.stat_result) -> bool:
        """Whether the file that is open is the one that was read so far."""
        return stat.st_size >= self.offset and fingerprint(descriptor, self.offset) == self.digest

    def is_of(self, descriptor: int, stat: os.stat_result) -> bool:
        """The same of one that nobody should write to any more: a beginning that is alike is not enough."""
        return (stat.st_size == self.offset or stat.st_ino == self.inode) and self.is_in(descriptor, stat)


def to_bytes(marks: Iterable[Mark]) -> bytes:
    return json.dumps([*map(list, marks)]).encode()


def from_bytes(raw: bytes) -> list[Mark]:
    return [Mark(*mark) for mark in json.loads(raw)] if raw else []


def rotated(path: Path, pattern: str) -> list[Path]:
    """Files beside `path` that match, the one that was written first first; of more than 100 the newest. Raises OSError.

    logrotate's numbers count back; everything else (dates) counts up.
    """
    with os.scandir(path.parent) as names:
        found = [
            path.parent / name.name
            for name in names
            if name.name != path.name
            and fnmatchcase(name.name, pattern)
            and not name.name.endswith(COMPRESSED)
            and name.is_file(follow_symlinks=False)
        ]
    return sorted(found, key=_age)[-MAX_ROTATED:]


def _age(path: Path) -> tuple[bool, int, str]:
    match = _NUMBERED.search(path.name)
    return (match is not None, -int(match[1]) if match else 0, path.name)


def marked(paths: Iterable[Path]) -> list[Mark]:
    """A mark for all that is in each: it counts as read."""
    marks = []
    for path in paths:
        with opened(path) as descriptor:
            if descriptor is not None:
                stat = os.fstat(descriptor)
                marks.append(Mark(stat.st_ino, stat.st_size, fingerprint(descriptor, stat.st_size)))
    return marks


def unread_from(path: Path, marks: Iterable[Mark]) -> int | None:
    """Where reading `path` has to begin; None where all of it is read, or it is gone."""
    with opened(path) as descriptor:
        if descriptor is None:
            return None
        stat = os.fstat(descriptor)
        start = max((mark.offset for mark in marks if mark.is_of(descriptor, stat)), default=0)
        return start if stat.st_size > start else None


def still_there(paths: Iterable[Path], marks: Iterable[Mark]) -> list[Mark]:
    """Those of `marks` that one of `paths` is known by."""
    kept: set[Mark] = set()
    of_all = list(marks)
    for path in paths:
        with opened(path) as descriptor:
            if descriptor is not None:
                stat = os.fstat(descriptor)
                kept.update(mark for mark in of_all if mark.is_of(descriptor, stat))
    return [mark for mark in of_all if mark in kept]


@contextmanager
def opened(path: Path) -> Iterator[int | None]:
    """A descriptor; None where the file is gone. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
