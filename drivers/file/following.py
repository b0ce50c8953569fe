"""The follower of a log that grows, across rotation. Specified in the package docstring."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar, Literal

from drivers.contract import (
    Delivery,
    DeviceLostError,
    DriverConfigError,
    DriverError,
    Shape,
    SourceSettings,
    config,
    new_counters,
)
from drivers.file.reading import to_frames
from drivers.file.records import Format, JsonLines, Lines, Records, read_piece
from drivers.file.rotation import Mark, Member, family, from_bytes, mark_of, still_there, to_bytes, unread_from
from drivers.file.state import fingerprint
from storage.clock import Clock
from storage.model import Append
from storage.trace import Trace, no_trace
from storage.units import Duration

_MARKS = "read"
"""The part of the cursor that holds the marks."""

_log = logging.getLogger(__name__)


@config
class FollowConfig:
    """A log that another program appends lines to."""

    path: Path | None = None
    """The file."""
    format: Literal["lines", "jsonl"] = "lines"
    """Each line is an event; of "jsonl", each that is JSON."""
    rotated: str = ""
    """Names that it is rotated to, in the same folder; without: its own with something behind it, such as x.log.1."""
    settle: Duration = Duration(2)
    """The next file is begun when the one that was rotated away has not grown for so long."""
    start: Literal["beginning", "end"] = "beginning"
    """Where to begin when it is first followed."""


class FollowDriver:
    """Cursored: where in which file it stands is committed with the lines before it."""

    Config = FollowConfig
    shape: ClassVar[Shape] = Shape.CURSORED
    pushback: ClassVar[str] = "waits; the lines stay in the file and in those it is rotated to"
    waits_in_poll: ClassVar[bool] = False

    def __init__(self, config: FollowConfig, settings: SourceSettings, clock: Clock) -> None:
        self._path = config.path or Path("/nonexistent/no-path")
        self._pattern = config.rotated or f"{self._path.name}?*"
        if "/" in self._pattern or (config.rotated and fnmatchcase(self._path.name, config.rotated)):
            raise DriverConfigError(
                f"source {settings.name}: rotated = {config.rotated!r}: use names in the same folder that {self._path.name} "
                'is none of, such as "x.log.*"'
            )
        self._config = config
        self._settings = settings
        self._clock = clock
        self._trace: Trace = no_trace
        self._format: Format = JsonLines() if config.format == "jsonl" else Lines()
        self._descriptor: int | None = None
        self._at: Mark | None = None
        self._skipping = False
        self._marks: list[Mark] = []
        self._marks_changed = False
        self._look = (0, 0)
        self._changed_ns = 0
        self._counters = new_counters() | dict.fromkeys(("files_done", "files_vanished"), 0)
        self.trouble: str | None = None

    @property
    def counters(self) -> Mapping[str, int]:
        return self._counters

    def trace_with(self, trace: Trace) -> None:
        self._trace = trace

    def take_parts(self, parts: Mapping[str, bytes]) -> None:
        self._marks = from_bytes(parts.get(_MARKS, b""))

    def open(self, state: bytes | None) -> None:
        if not self._path.parent.is_dir() or self._config.path is None:
            raise DeviceLostError(
                f"source {self._settings.name}: {self._config.path or 'no `path`'} has no folder to look into: make it, "
                "mount it or correct `path`; it is tried again by itself"
            )
        if state is None:
            return
        try:
            inode, offset, digest, self._skipping = json.loads(state)
            self._at = Mark(inode, offset, digest)
        except (ValueError, TypeError) as error:
            raise DriverError(f"the cursor is none of this driver: {error}") from error

    def poll(self, timeout_s: float) -> Delivery | None:
        """Returns at once: there is nothing to wait on."""
        try:
            records = self._choose() if self._descriptor is None else self._read_on()
        except OSError as error:
            raise DeviceLostError(
                f"source {self._settings.name}: {error.filename or self._path} can't be read ({error.strerror}): give the "
                "gateway the right to read it and its folder; it is tried again by itself"
            ) from error
        return None if records is None else self._delivery(records)

    def ack(self, delivery: Delivery) -> None:
        """Nothing to do: where it stands was committed with the lines."""

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    # Which file

    def _choose(self) -> Records | None:
        """None: there is none to read yet. That one is begun is committed at once: what is rotated from then on is owed."""
        with family(self._path, self._pattern) as members:
            if members is None:
                return None
            found = self._begin(members) if self._at is None else self._take_up(members)
            return Records((), 0) if found else None

    def _begin(self, members: list[Member]) -> bool:
        """For the first time. What was rotated before counts as read. False: the log is not there yet."""
        if not members or members[-1].path != self._path:
            self.trouble = f"{self._path} is not there yet; it is followed from its beginning as soon as it is"
            return False
        *beside, log = members
        offset = log.stat.st_size if self._config.start == "end" else 0
        self._take(log, offset)
        self._skipping = offset > 0 and os.pread(log.descriptor, 1, offset - 1) != b"\n"
        self._set_marks([mark_of(member, member.stat.st_size) for member in beside])
        return True

    def _take_up(self, members: list[Member]) -> bool:
        """The file that reading stopped in, or else the next. False: there is none."""
        at = self._at
        assert at is not None
        if not at.offset:
            # Nothing tells a file of which nothing was read; but what has no mark is next.
            return self._switch(members)
        newest_first = members[::-1]
        # By its inode first: what was copied lies there twice, and so does what begins alike.
        found = [each for each in newest_first if each.stat.st_ino == at.inode and at.is_in(each.descriptor, each.stat)]
        if not found:
            found = [each for each in newest_first if each.path != self._path and at.is_in(each.descriptor, each.stat)]
        if found:
            self._take(found[0], at.offset)
            return True
        if not members or members[-1].path != self._path:
            self.trouble = f"{self._path} is not there, nor what was read of it: it is waited for"
            return False
        self._counters["files_vanished"] += 1
        _log.warning(
            "source %s: the file that was read to byte %d is not beside %s any more, and what came behind that is gone: keep "
            "more rotated files, and the newest not compressed (logrotate: delaycompress)",
            self._settings.name, at.offset, self._path,
        )  # fmt: skip
        return self._switch(members)

    def _switch(self, members: list[Member]) -> bool:
        """To the first file that is not read, or the beginning of the log. False: that is not there yet."""
        marks = [*self._marks, *([self._at] if self._at is not None and self._at.offset else [])]
        beside = [member for member in members if member.path != self._path]
        for member in members:
            start = 0 if member.path == self._path else unread_from(member, marks)
            if start is None:
                continue
            self._take(member, start)
            self._skipping = False
            self._set_marks(still_there(beside, marks))
            self._counters["files_done"] += 1
            self._trace("follow.switched", {"file": str(member.path), "offset": start})
            return True
        return False

    def _take(self, member: Member, offset: int) -> None:
        """Go on in it from `offset`."""
        self.close()
        self._descriptor = os.dup(member.descriptor)
        self._at = mark_of(member, offset)
        self._look = member.stat.st_size, member.stat.st_mtime_ns
        self._changed_ns = self._clock.boot_ns()
        self.trouble = None

    def _set_marks(self, marks: list[Mark]) -> None:
        self._marks = marks
        self._marks_changed = True

    # Reading

    def _read_on(self) -> Records | None:
        """What has come. None: nothing, or not all of a line."""
        descriptor, at = self._descriptor, self._at
        assert descriptor is not None
        assert at is not None
        stat = os.fstat(descriptor)
        look = stat.st_size, stat.st_mtime_ns
        now_ns = self._clock.boot_ns()
        if look != self._look:
            if stat.st_size < self._look[0] or not at.is_in(descriptor, stat):
                # It was cut, perhaps after it was copied: what was not read is in the copy.
                self.close()
                return None
            self._look, self._changed_ns = look, now_ns
        records = self._read(descriptor, final=False)
        if records is not None:
            self._changed_ns = now_ns
            return records
        if self._is_in_place(stat):
            self._changed_ns = now_ns
            return None
        with family(self._path, self._pattern) as members:
            if members is None or not (self._has_settled(now_ns) or _is_superseded(stat.st_ino, members, self._path)):
                return None
            # Nobody ends the last line any more.
            records = self._read(descriptor, final=True)
            if records is None and self._switch(members):
                records = Records((), 0)
            return records

    def _has_settled(self, now_ns: int) -> bool:
        return now_ns - self._changed_ns >= self._config.settle * 1e9

    def _read(self, descriptor: int, *, final: bool) -> Records | None:
        assert self._at is not None
        piece = read_piece(descriptor, self._at.offset, self._format, skipping=self._skipping, final=final)
        if not piece.consumed and piece.skipping == self._skipping:
            return None
        offset = self._at.offset + piece.consumed
        self._at = Mark(self._at.inode, offset, fingerprint(descriptor, offset))
        self._skipping = piece.skipping
        self._trace("follow.read", {"source": self._settings.name, "events": len(piece.records.payloads)})
        return piece.records

    def _is_in_place(self, stat: os.stat_result) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return (there.st_ino, there.st_dev) == (stat.st_ino, stat.st_dev)

    def _delivery(self, records: Records) -> Delivery:
        assert self._at is not None
        content_type = self._settings.content_type or self._format.content_type
        headers = (("file.name", os.fsencode(self._path.name)),)
        frames, _ = to_frames(
            records, self._settings.routing_key, content_type, headers, self._clock.boot_ns(), shift_ns=None
        )
        self._counters["good"] += len(records.payloads)
        self._counters["bad"] += records.bad
        self._counters["bytes"] += sum(map(len, records.payloads))
        parts = {_MARKS: to_bytes(self._marks)} if self._marks_changed else {}
        self._marks_changed = False
        cursor = json.dumps([*self._at, self._skipping]).encode()
        return Delivery([Append(self._settings.stream, frames)] if frames else [], cursor, parts=parts)


def _is_superseded(inode: int, members: list[Member], log: Path) -> bool:
    """Whether another file was rotated away after it, so that nobody writes to it any more."""
    beside = [member.stat.st_ino for member in members if member.path != log]
    return inode in beside[:-1]
