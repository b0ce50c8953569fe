"""A file that was read: who it is, and how far. This is what a part of the cursor holds."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass

DIGEST_BYTES = 4096
"""From the beginning of what was read, and from its end."""
READ_BYTES = 1 << 20


@dataclass(slots=True, eq=False)
class FileState:
    """A file, by its `path` below the directory, whose inode is `root`: under the same path another may be mounted, or none.

    `inode`, `size_bytes` and `mtime_ns` are as it was last looked at. The first `offset` bytes have been read, whose
    fingerprint is `digest`: `stored` events and `bad` ones were in them, `reason` says what was wrong first. `skipping`: in
    a line that is too long. `done`: all of it was read.
    """

    path: str
    root: int
    inode: int
    size_bytes: int
    mtime_ns: int
    offset: int = 0
    digest: str = ""
    stored: int = 0
    bad: int = 0
    reason: str = ""
    skipping: bool = False
    done: bool = False

    def to_bytes(self) -> bytes:
        # ASCII: a file's name need not be text, and what stands for its other bytes is no UTF-8.
        return json.dumps(list(asdict(self).values())).encode()

    @staticmethod
    def from_bytes(raw: bytes) -> FileState:
        return FileState(*json.loads(raw))

    @property
    def part_name(self) -> str:
        return part_name(self.path)

    @property
    def look(self) -> tuple[int, int, int]:
        """What changes when the file does."""
        return self.inode, self.size_bytes, self.mtime_ns

    def seen(self, stat: os.stat_result) -> None:
        self.inode, self.size_bytes, self.mtime_ns = look_of(stat)

    def is_of(self, descriptor: int, stat: os.stat_result, *, whole: bool) -> bool:
        """Whether it is this file that is open: what was read is in it still, and one of inode and time is the same."""
        if stat.st_size < self.offset or (stat.st_ino != self.inode and stat.st_mtime_ns != self.mtime_ns):
            return False
        if whole:
            return stat.st_size == self.offset and self.digest == digest_of_all(descriptor)
        # Of what nothing was read of nothing can be told, and nothing need be.
        return self.offset > 0 and self.digest == fingerprint(descriptor, self.offset)


def part_name(path: str) -> str:
    """What a part of the cursor is called: paths may be longer, and no text."""
    return hashlib.blake2b(os.fsencode(path), digest_size=16).hexdigest()


def look_of(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def fingerprint(descriptor: int, offset: int) -> str:
    """Of the first `offset` bytes, by their beginning and their end."""
    if not offset:
        return ""
    size = min(DIGEST_BYTES, offset)
    return digest(os.pread(descriptor, size, 0) + os.pread(descriptor, size, offset - size))


def digest(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def digest_of_all(descriptor: int) -> str:
    """The same of all that is in a file."""
    made, offset = hashlib.blake2b(digest_size=16), 0
    while read := os.pread(descriptor, READ_BYTES, offset):
        made.update(read)
        offset += len(read)
    return made.hexdigest()
