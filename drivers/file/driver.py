"""The watched directory: look, read, and after the store has it move away. Specified in the package docstring."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import ClassVar, NamedTuple

from drivers.contract import (
    MAX_DELIVERY_BYTES,
    Delivery,
    DeviceLostError,
    DriverError,
    Shape,
    SourceSettings,
    new_counters,
)
from drivers.file.config import FileConfig, check, folder, root_of
from drivers.file.listing import Entry, Listing
from drivers.file.moving import Mover
from drivers.file.reading import OpenFile, is_whole, to_frames
from drivers.file.state import FileState, look_of, part_name
from drivers.outbox import MAX_STREAMS
from drivers.template import Router
from storage.clock import Clock
from storage.errors import InvalidNameError
from storage.model import MAX_EVENT_BYTES, Append, Frame, check_stream_name
from storage.trace import Trace, no_trace

MAX_FILES = 9_000
"""Known at a time. Their parts are fewer than a source may have."""
FILES_PER_DELIVERY = 256
TARGET_BYTES = 1 << 20
TARGET_EVENTS = 25_000
FORGOTTEN_PER_DELIVERY = 1_000

_log = logging.getLogger(__name__)


class _Read(NamedTuple):
    """What an acknowledgement is for: a file, and how far it was read."""

    state: FileState
    offset: int


class _Batch:
    """A delivery in the making, of what was captured at `now_ns`: one time for all takes the least room in the store."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self.frames: dict[str, list[Frame]] = {}
        self.read: dict[str, FileState] = {}
        self.events = 0
        self.size_bytes = 0
        self.opened = 0

    @property
    def full(self) -> bool:
        return self.size_bytes >= TARGET_BYTES or self.events >= TARGET_EVENTS or self.opened >= FILES_PER_DELIVERY

    def add(self, stream: str, frames: list[Frame]) -> None:
        self.frames.setdefault(stream, []).extend(frames)
        self.events += sum([len(frame.payloads) for frame in frames])
        self.size_bytes += sum([sum(map(len, frame.payloads)) for frame in frames])


class FileDriver:
    """Cursored: what was read of each file is committed with its events."""

    Config = FileConfig
    shape: ClassVar[Shape] = Shape.CURSORED
    pushback: ClassVar[str] = "waits; the files stay where they are"
    waits_in_poll: ClassVar[bool] = False

    def __init__(self, config: FileConfig, settings: SourceSettings, clock: Clock) -> None:
        check(config, settings.name)
        self._config = config
        self._settings = settings
        self._clock = clock
        self._root = root_of(config)
        self._route = Router(settings.stream, settings.routing_key, settings.name).route
        self._mover = Mover(config, clock.boot_ns, no_trace)
        self._trace: Trace = no_trace
        self._most_bytes: Callable[[str], int] = lambda stream: MAX_EVENT_BYTES
        self._takes: Callable[[str], bool] = lambda stream: True
        self._known: dict[str, FileState] = {}
        self._forgotten: deque[str] = deque()
        self._listing: Listing | None = None
        self._next_look_ns = 0
        self._seen: dict[str, tuple[tuple[int, int, int], int]] = {}
        self._ready: deque[Entry] = deque()
        self._open: OpenFile | None = None
        self._unread: dict[str, str] = {}
        self._streams: set[str] = set()
        self._counters = new_counters() | dict.fromkeys(
            ("files_done", "files_failed", "files_vanished", "moves_failed", "untimed"), 0
        )

    @property
    def counters(self) -> Mapping[str, int]:
        return self._counters | {"moves_failed": self._mover.failures}

    @property
    def trouble(self) -> str | None:
        if self._mover.trouble is not None:
            return self._mover.trouble
        unread = list(self._unread.items())[:1]
        for path, why in unread:
            others = f", and {len(self._unread) - 1} others" if len(self._unread) > 1 else ""
            return f"{self._root / path} can't be read: {why}; it is tried again at every look{others}"
        if len(self._known) >= MAX_FILES:
            return (
                f"{len(self._known)} files of {self._root} are read and still there, and no more are taken: move them away, "
                'or use another `after` than "keep"'
            )
        return None

    def trace_with(self, trace: Trace) -> None:
        self._trace = trace
        self._mover = Mover(self._config, self._clock.boot_ns, trace)

    def ask_with(self, takes: Callable[[str], bool]) -> None:
        self._takes = takes

    def limit_with(self, most_bytes: Callable[[str], int]) -> None:
        self._most_bytes = most_bytes

    def take_parts(self, parts: Mapping[str, bytes]) -> None:
        try:
            self._known = {name: FileState.from_bytes(part) for name, part in parts.items()}
        except (ValueError, TypeError) as error:
            raise DriverError(f"the cursor is none of this driver: {error}") from error

    def open(self, state: bytes | None) -> None:
        self._look()
        if self._config.after != "keep":
            for known in self._known.values():
                if known.done:
                    self._mover.add(known)

    def poll(self, timeout_s: float) -> Delivery | None:
        """Returns at once: there is nothing to wait on."""
        self._move()
        batch = _Batch(self._clock.boot_ns())
        while not batch.full and self._read_on(batch):
            pass
        if not batch.opened and not self._ready:
            self._look_on()
        return self._delivery(batch)

    def refused(self, delivery: Delivery, streams: Collection[str]) -> None:
        """The files that this was of are not all stored: they go to `failed`."""
        for read in _reads_of(delivery):
            stream, _ = self._route(_text_of(read.state.path))
            if stream in streams:
                read.state.reason = read.state.reason or (
                    f"the store refused some of it, or all: stream {stream} was sealed or takes no such event"
                )

    def ack(self, delivery: Delivery) -> None:
        """Files of which all is stored now go away."""
        for read in _reads_of(delivery):
            state = read.state
            if self._known.get(state.part_name) is not state or not state.done or state.offset != read.offset:
                continue
            self._counters["files_failed" if state.reason else "files_done"] += 1
            if state.reason:
                _log.warning("source %s: %s: %s", self._settings.name, self._root / state.path, state.reason)
            self._trace("file.stored", {"file": state.path})
            if self._config.after != "keep":
                self._mover.add(state)

    def close(self) -> None:
        self._mover.close()
        self._close_file()

    # Looking

    def _look(self) -> None:
        """Begin to. Raises DeviceLostError where there is no directory."""
        config = self._config
        if config.directory is None or not self._root.is_dir():
            raise DeviceLostError(
                f"source {self._settings.name}: {config.directory or 'no `directory`'} is no directory that can be looked "
                "into: make it, mount it or correct `directory`; it is tried again by itself"
            )
        leave_out = (
            () if config.after == "keep" else [folder(config, name) for name in (config.completed, config.failed)]
        )
        self._listing = Listing(
            self._root, config.patterns, recursive=config.recursive, leave_out=leave_out, order=config.order,
            wanted=self._wanted,
        )  # fmt: skip

    def _wanted(self, entry: Entry) -> bool:
        name = part_name(entry.path)
        if name in self._mover or (self._open is not None and self._open.state.path == entry.path):
            return False
        known = self._known.get(name)
        return known is None or not known.done or known.look != entry.look

    def _look_on(self) -> None:
        """Some steps further, or begin anew when it is time."""
        now_ns = self._clock.boot_ns()
        if self._listing is None:
            if now_ns < self._next_look_ns:
                return
            self._look()
        assert self._listing is not None
        try:
            found = self._listing.step()
        except OSError as error:
            raise DeviceLostError(
                f"source {self._settings.name}: {self._root} can't be looked into ({error.strerror}): mount it or give the "
                "gateway the right to read it; it is tried again by itself"
            ) from error
        if found is None:
            return
        unreadable = self._listing.unreadable
        self._listing = None
        self._next_look_ns = now_ns + int(self._config.interval * 1e9)
        self._found(found, now_ns)
        self._unread = {path: why for path, why in self._unread.items() if path in self._seen}
        self._unread.update(unreadable)

    def _found(self, entries: list[Entry], now_ns: int) -> None:
        """Those that have not changed for long enough are ready to be read."""
        before, self._seen = self._seen, {}
        for entry in entries:
            look, since_ns = before.get(entry.path, (None, now_ns))
            if look != entry.look:
                since_ns = now_ns
            self._seen[entry.path] = (entry.look, since_ns)
            if now_ns - since_ns >= self._config.min_age * 1e9:
                self._ready.append(entry)

    # Reading

    def _read_on(self, batch: _Batch) -> bool:
        """One more piece of the file that is open, or of the next one. False: there is nothing to read now."""
        if self._open is None and not self._open_next(batch):
            return bool(self._ready)
        file = self._open
        assert file is not None
        state, stored_bad = file.state, file.state.bad
        if file.whole and batch.events and batch.size_bytes + state.size_bytes > MAX_DELIVERY_BYTES:
            return False
        stream, key = self._route(_text_of(state.path))
        try:
            records = file.read()
        except OSError as error:
            self._close_file()
            self._unread[state.path] = error.strerror or str(error)
            return True
        if records is None:
            # It is being written to again. What has been read of it is known.
            self._close_file()
            return True
        self._trace("file.read", {"file": state.path, "events": len(records.payloads)})
        shift_ns = self._clock.wall_ns() - self._clock.boot_ns() if self._clock.trusted() else None
        content_type = self._settings.content_type or file.content_type
        frames, untimed = to_frames(records, key, content_type, file.headers(), batch.now_ns, shift_ns)
        if frames:
            batch.add(stream, frames)
        batch.read[state.part_name] = state
        self._counters["bad"] += state.bad - stored_bad
        self._counters["refused"] += file.refused
        self._counters["untimed"] += untimed
        if state.done:
            self._close_file()
        return True

    def _open_next(self, batch: _Batch) -> bool:
        """The next file that is ready. False: there was none, or it can't be read now."""
        if not self._ready or (len(self._known) >= MAX_FILES and not self._make_room()):
            self._ready.clear()
            return False
        entry = self._ready.popleft()
        batch.opened += 1
        stream, _ = self._route(_text_of(entry.path))
        if why := self._refused(stream):
            self._unread[entry.path] = why
            return False
        try:
            self._open = self._opened(entry, self._most_bytes(stream))
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._unread[entry.path] = error.strerror or str(error)
        return self._open is not None

    def _refused(self, stream: str) -> str:
        """Why the store would not take what is for `stream`. What it refuses is acknowledged, and its file would go."""
        try:
            check_stream_name(stream)
        except InvalidNameError as error:
            return str(error)
        if not self._takes(stream):
            return f"stream {stream} takes nothing (sealed, or mirrored from another node)"
        self._streams.add(stream)
        if len(self._streams) > MAX_STREAMS:
            self._streams.discard(stream)
            return f"{stream} would be stream {MAX_STREAMS + 1} of this source"
        return ""

    def _opened(self, entry: Entry, most_bytes: int) -> OpenFile | None:
        """None where it is not what was seen any more. Raises OSError."""
        descriptor = os.open(self._root / entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            stat = os.fstat(descriptor)
            if look_of(stat) != entry.look:
                os.close(descriptor)
                return None
            name = part_name(entry.path)
            state = self._known.get(name)
            if state is not None and not state.is_of(descriptor, stat, whole=is_whole(entry.path, self._config)):
                if not state.done and state.offset:
                    self._counters["files_vanished"] += 1
                    _log.warning(
                        "source %s: %s was replaced when %d bytes of it were read: what came behind them is gone",
                        self._settings.name, self._root / entry.path, state.offset,
                    )  # fmt: skip
                state = None
            if state is None:
                state = FileState(entry.path, self._root.stat().st_ino, *entry.look)
            state.seen(stat)
            state.done = state.done and state.offset == stat.st_size
            opened = OpenFile(descriptor, state, self._config, most_bytes)
        except BaseException:
            os.close(descriptor)
            raise
        self._known[name] = state
        return opened

    def _close_file(self) -> None:
        file, self._open = self._open, None
        if file is not None:
            file.close()

    def _make_room(self) -> bool:
        """Forget what is no more in the directory, the oldest first. False: all of it is."""
        root = self._root.stat().st_ino
        for name, known in self._known.items():
            if name not in self._mover and known.root == root and not (self._root / known.path).exists():
                del self._known[name]
                self._forgotten.append(name)
                return True
        return False

    # Handing over and moving away

    def _delivery(self, batch: _Batch) -> Delivery | None:
        parts: dict[str, bytes] = {}
        while self._forgotten and len(parts) < FORGOTTEN_PER_DELIVERY:
            parts[self._forgotten.popleft()] = b""
        if not parts and not batch.read:
            return None
        if parts:
            self._trace("file.forgotten", {"files": len(parts)})
        parts |= {name: state.to_bytes() for name, state in batch.read.items()}
        self._counters["good"] += batch.events
        self._counters["bytes"] += batch.size_bytes
        token = [_Read(state, state.offset) for state in batch.read.values()]
        return Delivery([Append(stream, frames) for stream, frames in batch.frames.items()], token=token, parts=parts)

    def _move(self) -> None:
        for state in self._mover.step():
            name = state.part_name
            if state.done and self._known.get(name) is state:
                del self._known[name]
                self._forgotten.append(name)


def _reads_of(delivery: Delivery) -> list[_Read]:
    token = delivery.token
    if not isinstance(token, list):
        raise DriverError("a delivery that this driver did not make")
    return token


def _text_of(path: str) -> str:
    """A path as text, whatever its bytes are."""
    return os.fsencode(path).decode(errors="replace")
