"""The files that a log was rotated into: which there are, in the order in which they were written, and what of them is read.

A file is known by what was read of it (`drivers.file.state.fingerprint`), since rotation changes its name and copying its
inode. So beside where it stands a reader keeps a mark for each file that it is done with; what lies there without a mark
has not been read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
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


class Member(NamedTuple):
    """A file that is open: the log itself, or one that it was rotated to."""

    path: Path
    descriptor: int
    stat: os.stat_result


@contextmanager
def family(path: Path, pattern: str) -> Iterator[list[Member] | None]:
    """The log and the files beside it that match, the one that was written first first, the log last, where it is there.

    None: they were renamed meanwhile, so that nobody knows which is which. Raises OSError.
    """
    members: list[Member] = []
    try:
        for name in [*_rotated(path, pattern), path]:
            # It may be gone: then the second look finds so, too.
            with suppress(FileNotFoundError):
                descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                members.append(Member(name, descriptor, os.fstat(descriptor)))
        yield members if _are_in_place(members, path, pattern) else None
    finally:
        for member in members:
            os.close(member.descriptor)


def _are_in_place(members: list[Member], path: Path, pattern: str) -> bool:
    names = [*_rotated(path, pattern), *([path] if path.exists() else [])]
    try:
        return [(member.path, member.stat.st_ino) for member in members] == [
            (name, name.stat().st_ino) for name in names
        ]
    except FileNotFoundError:
        return False


def _rotated(path: Path, pattern: str) -> list[Path]:
    """logrotate's numbers count back; everything else (dates) counts up. Of more than 100 the newest."""
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


def mark_of(member: Member, offset: int) -> Mark:
    """For what is before `offset`."""
    return Mark(member.stat.st_ino, offset, fingerprint(member.descriptor, offset))


def unread_from(member: Member, marks: Iterable[Mark]) -> int | None:
    """Where reading has to begin; None where all of it is read."""
    known = [mark.offset for mark in marks if mark.is_of(member.descriptor, member.stat)]
    start = max(known, default=0)
    return start if member.stat.st_size > start else None


def still_there(members: Iterable[Member], marks: Sequence[Mark]) -> list[Mark]:
    """Those of `marks` that one of the files is known by."""
    kept = {mark for member in members for mark in marks if mark.is_of(member.descriptor, member.stat)}
    return [mark for mark in marks if mark in kept]
