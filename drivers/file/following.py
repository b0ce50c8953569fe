"""The follower of a log that grows, across rotation. Specified in the package docstring."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
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
from drivers.file.rotation import Mark, from_bytes, marked, rotated, still_there, to_bytes, unread_from
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
        self._look: tuple[int, int] | None = None
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
            if self._at is None:
                # Committed at once, with nothing read: what is rotated from here on is owed.
                return self._delivery(Records((), 0)) if self._begin() else None
            if self._descriptor is None and not self._take_up():
                return None
            records = self._read_on()
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

    def _take_up(self) -> bool:
        """Open the file that reading stopped in, or else the next. False: there is none yet."""
        at = self._at
        assert at is not None
        newest_first = [self._path, *reversed(rotated(self._path, self._pattern))]
        # By its inode first: what was copied lies there twice, and so does what begins alike.
        if self._find(newest_first, lambda descriptor, stat: stat.st_ino == at.inode and at.is_in(descriptor, stat)):
            return True
        if at.offset and self._find(newest_first[1:], at.is_in):
            return True
        if not self._path.exists():
            self.trouble = f"{self._path} is not there, nor what was read of it: it is waited for"
            return False
        if at.offset:
            self._counters["files_vanished"] += 1
            _log.warning(
                "source %s: the file that was read to byte %d is not beside %s any more, and what came behind that is gone: "
                "keep more rotated files, and the newest not compressed (logrotate: delaycompress)",
                self._settings.name, at.offset, self._path,
            )  # fmt: skip
        return self._switch()

    def _begin(self) -> bool:
        """For the first time. What was rotated before counts as read."""
        if not self._find([self._path], lambda descriptor, stat: True):
            self.trouble = f"{self._path} is not there yet; it is followed from its beginning as soon as it is"
            return False
        assert self._descriptor is not None
        stat = os.fstat(self._descriptor)
        offset = stat.st_size if self._config.start == "end" else 0
        self._skipping = offset > 0 and os.pread(self._descriptor, 1, offset - 1) != b"\n"
        self._at = Mark(stat.st_ino, offset, fingerprint(self._descriptor, offset))
        self._set_marks(marked(rotated(self._path, self._pattern)))
        return True

    def _switch(self) -> bool:
        """To the first file that is not read, or the beginning of the newest. False: that is not there yet."""
        beside = rotated(self._path, self._pattern)
        # Before it is opened, so that the mark of where we stood is not lost when it is not there.
        marks = [*self._marks, *([self._at] if self._at is not None and self._at.offset else [])]
        for path, start in [*((path, unread_from(path, marks)) for path in beside), (self._path, 0)]:
            if start is None or not self._find([path], lambda descriptor, stat: True):
                continue
            assert self._descriptor is not None
            stat = os.fstat(self._descriptor)
            self._at = Mark(stat.st_ino, start, fingerprint(self._descriptor, start))
            self._skipping = False
            self._set_marks(still_there(beside, marks))
            self._counters["files_done"] += 1
            self._trace("follow.switched", {"file": str(path), "offset": start})
            return True
        return False

    def _find(self, paths: list[Path], is_it: Callable[[int, os.stat_result], bool]) -> bool:
        """Open the first of `paths` that it is."""
        for path in paths:
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                found = is_it(descriptor, os.fstat(descriptor))
            except BaseException:
                os.close(descriptor)
                raise
            if found:
                self.close()
                self._descriptor = descriptor
                self._look = None
                self.trouble = None
                return True
            os.close(descriptor)
        return False

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
            if not at.is_in(descriptor, stat):
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
        elif now_ns - self._changed_ns >= self._config.settle * 1e9:
            # Nobody ends the last line any more.
            records = self._read(descriptor, final=True)
            return records if records is not None else self._switched()
        return None

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

    def _switched(self) -> Records | None:
        return Records((), 0) if self._switch() else None

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
