"""The file drivers: a watched directory, and a log that grows. This docstring is the specification.

`file` (`FileDriver`): a directory that others put files into
    A file is taken when its name matches `patterns`, it is a regular file (links are not followed), and its inode, size
    and modification time have not changed for `min_age`, by two looks at it and the boot clock: the wall clock may lie, and
    so may modification times. Names of files that are being written (`.x`, `x.part`, `x.tmp`, …) are left alone, so that
    whoever renames a file into place needs no age at all. The directory is looked at every `interval`, by polling: that
    works on every file system, also over a network.

    csv     each row is an event: a JSON object by the names of the header. A cell that is a JSON number is written as
            that number, digit for digit; an empty cell is null; all others are strings. Quoted cells may hold newlines.
    jsonl   each line is an event as it is, when it is JSON
    lines   each line is an event as it is, without its end
    whole   the file is one event; its content type is guessed by its ending
    auto    by the ending: .csv and .tsv, .jsonl and .ndjson, .log and .txt; everything else is whole

    Events carry the headers `file.name` (the path below the directory) and `file.mtime_ns`.

What becomes of a file
    When all of it is on disk in the store, it is moved to `completed` (or deleted, or kept: `after`). A file of which a
    line or all could not be read goes to `failed` with a file NAME.reason beside it, however `after` says unless it is
    `keep`; what could be read of it is stored. So does one of which the store refused something, whose stream was
    sealed meanwhile. A name that is taken there gets a number; nothing is ever overwritten. Where the folder is on
    another file system the file is copied, synced and renamed there before it is gone here. What can't be moved (a full
    disk, a read-only folder) stays, is not stored again, is said, and is tried again every 10 s.

    A file that grows after it was taken is read on from where reading ended. One that is replaced under its name is
    another file. One that is not readable is tried again at every look.

Exactly once
    With its events is committed, in one write, how far a file was read: a part of the cursor for each file (`FileState`). A
    file is known again by its path, a digest of what was read of it (first and last 4 KiB; all of a whole file), and its inode
    or modification time: either may change, by a remount or by growth, but not both at a time. The part is removed when
    the move is on disk (`fsync` of both folders).

Limits
    10,000 files looked at in one look, those that are first in `order`. 9,000 files known: read and not yet moved, or
    kept; of kept files that are gone the oldest are forgotten when room is needed. A line or row is at most 4 MiB, a cell
    of a CSV file 128 KiB; longer ones are bad. A routing key is cut to 1,024 bytes. A whole file is at most as large as an
    event of its stream: 8 MiB, of a bulk stream 64 MiB; larger ones go to `failed`. A delivery is of some 1 MiB read, at
    most 75,000 events and 256 files.

`follow` (`FollowDriver`): one file that another program appends lines to, across rotation
    A line is taken when its end is there. Rotation by renaming (the old file is read until it has not grown for `settle`) and
    by copying and truncating are both followed, also several of them while the gateway was off, for as long as the rotated
    files lie beside the log, not compressed. With the lines is committed where reading stands: inode, offset and
    fingerprint; and, when it goes on to another file, what the rotated ones are known by that are read (`rotation`). What
    copying and truncating loses of lines that are written between the two is lost for every reader.

Steps
    file.read, file.stored (all of a file is, and it may go), file.copied, file.removed (here, once it was copied), file.moved,
    file.forgotten; follow.read, follow.switched
"""

from drivers.file.driver import FileDriver
from drivers.file.following import FollowDriver

__all__ = ["FileDriver", "FollowDriver"]
