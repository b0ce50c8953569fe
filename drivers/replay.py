"""What was recorded, played back with its timing: JSON lines as `edge --json read` and `tail` and `edge export` write them.

Each event keeps its key, content type, headers and payload; its time is now, as far behind the first one as it was
recorded, divided by `speed`. Lines of gaps are passed over. Where a recording goes back in time, the event is due at once.

The cursor says how far the file was played, in which lap, and what it is known by: another file under the same name is
played from its beginning. A line is at most 16 MiB; a longer one is bad.
"""

from __future__ import annotations

import base64
import json
import os
from collections import deque
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import ClassVar, NamedTuple

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
from drivers.file.records import complete_lines
from drivers.file.state import fingerprint
from storage.clock import Clock
from storage.model import Append, Frame, Headers

MAX_EVENTS_PER_POLL = 10_000
MAX_BYTES_PER_POLL = 4 << 20
CHUNK_BYTES = 256 << 10
MAX_LINE_BYTES = 16 << 20
MAX_SPEED = 1e6


@config
class ReplayConfig:
    """A recording that is played back."""

    path: Path | None = None
    """The file: JSON lines, as `edge --json read STREAM` prints them."""
    speed: float = 1.0
    """How many times as fast as it was recorded. 0: as fast as the store takes it."""
    loop: bool = False
    """Begin anew at its end, for ever."""


class _Recorded(NamedTuple):
    """An event of the recording, and where the line behind it begins."""

    time_ns: int
    key: str
    content_type: str
    headers: Headers
    payload: bytes
    end: int


class _Due(NamedTuple):
    """When it is played, on the boot clock."""

    at_ns: int
    event: _Recorded


class ReplayDriver:
    """Cursored: how far the recording was played is committed with what was played."""

    Config = ReplayConfig
    shape: ClassVar[Shape] = Shape.CURSORED
    pushback: ClassVar[str] = "waits, and makes up for it afterwards"
    waits_in_poll: ClassVar[bool] = False

    def __init__(self, config: ReplayConfig, settings: SourceSettings, clock: Clock) -> None:
        if not 0 <= config.speed <= MAX_SPEED:
            raise DriverConfigError(f"source {settings.name}: speed = {config.speed}: use 0 to {MAX_SPEED:.0f}")
        self._config = config
        self._settings = settings
        self._clock = clock
        self._descriptor: int | None = None
        self._offset = 0
        self._lap = 0
        self._ahead: deque[_Recorded] = deque()
        self._read_offset = 0
        self._lap_has_events = False
        self._start: tuple[int, int] | None = None
        self._last_due_ns = 0
        self._counters = new_counters() | {"laps": 0}

    @property
    def counters(self) -> Mapping[str, int]:
        return self._counters

    def open(self, state: bytes | None) -> None:
        path = self._config.path
        try:
            if path is None:
                raise FileNotFoundError(2, "No `path`")
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if state is not None:
                offset, lap, digest = _parse_cursor(state)
                if fingerprint(self._descriptor, offset) == digest:
                    self._offset, self._lap = offset, lap
        except OSError as error:
            raise DeviceLostError(
                f"source {self._settings.name}: {path or 'no file'} can't be played ({error.strerror}): put it there or "
                "correct `path`; it is tried again by itself"
            ) from error
        self._read_offset = self._offset
        # What is left of a lap may have no event; that alone does not mean that there is none in all the file.
        self._lap_has_events = self._offset > 0

    def poll(self, timeout_s: float) -> Delivery | None:
        """What is due. Returns at once: there is nothing to wait on."""
        now_ns = self._clock.boot_ns()
        due: list[_Due] = []
        size_bytes, bad = 0, self._counters["bad"]
        while len(due) < MAX_EVENTS_PER_POLL and size_bytes < MAX_BYTES_PER_POLL:
            event = self._next()
            if event is None:
                break
            at_ns = self._due_ns(event, now_ns)
            if at_ns > now_ns:
                break
            self._ahead.popleft()
            self._last_due_ns = at_ns
            self._offset = event.end
            due.append(_Due(at_ns, event))
            size_bytes += len(event.payload)
        if not due and bad == self._counters["bad"]:
            return None
        return self._delivery(due, size_bytes)

    def ack(self, delivery: Delivery) -> None:
        """Nothing to do: the cursor was committed with the events."""

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _due_ns(self, event: _Recorded, now_ns: int) -> int:
        """When it is to be played: the first that is played after an opening, or of a lap, as soon as can be."""
        if not self._config.speed:
            return now_ns
        if self._start is None:
            self._start = (self._last_due_ns or now_ns, event.time_ns)
        start_ns, recorded_ns = self._start
        return max(self._last_due_ns, start_ns + int((event.time_ns - recorded_ns) / self._config.speed))

    def _next(self) -> _Recorded | None:
        """The next event, without taking it. None: the recording is over."""
        while not self._ahead:
            if self._read_ahead():
                continue
            if not self._config.loop or not self._lap_has_events:
                return None
            self._lap += 1
            self._counters["laps"] += 1
            self._offset = self._read_offset = 0
            self._lap_has_events = False
            self._start = None
        return self._ahead[0]

    def _read_ahead(self) -> bool:
        """Some lines further. False: that was the last."""
        assert self._descriptor is not None, "poll before open"
        size = CHUNK_BYTES
        try:
            while True:
                chunk = os.pread(self._descriptor, size, self._read_offset)
                lines, used = complete_lines(chunk, final=len(chunk) < size, most=MAX_EVENTS_PER_POLL)
                if used or not chunk or size >= MAX_LINE_BYTES:
                    break
                size = min(4 * size, MAX_LINE_BYTES)
        except OSError as error:
            raise DeviceLostError(
                f"source {self._settings.name}: {self._config.path} can't be read on ({error.strerror}); tried again by itself"
            ) from error
        if chunk and not used:
            used, lines = len(chunk), [b"a line that is too long"]
        for line in lines:
            self._read_offset += len(line) + 1
            self._take(line)
        # The last line may have no end.
        return bool(used)

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            event = _parse(line, self._read_offset)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._counters["bad"] += 1
            return
        if event is not None:
            self._ahead.append(event)
            self._lap_has_events = True

    def _delivery(self, due: list[_Due], size_bytes: int) -> Delivery:
        self._counters["good"] += len(due)
        self._counters["bytes"] += size_bytes
        frames = []
        for (key, content_type, headers), run in groupby(due, key=lambda each: each.event[1:4]):
            played = list(run)
            times_ns = [each.at_ns for each in played]
            frames.append(
                Frame(
                    [each.event.payload for each in played],
                    routing_key=self._settings.key or key,
                    content_type=self._settings.content_type or content_type,
                    headers=headers,
                    captured_ns=times_ns[0],
                    times_ns=times_ns,
                )
            )
        assert self._descriptor is not None
        cursor = json.dumps([self._offset, self._lap, fingerprint(self._descriptor, self._offset)]).encode()
        return Delivery([Append(self._settings.stream, frames)] if frames else [], cursor)


def _parse_cursor(state: bytes) -> tuple[int, int, str]:
    try:
        offset, lap, digest = json.loads(state)
    except (ValueError, TypeError) as error:
        raise DriverError(f"the cursor is none of this driver: {error}") from error
    return int(offset), int(lap), str(digest)


def _parse(line: bytes, end: int) -> _Recorded | None:
    """None where it is a gap. Raises an error of many kinds where it is no event."""
    raw = json.loads(line)
    if "gap" in raw:
        return None
    time_ns, key, content_type = raw["time_ns"], raw.get("key", ""), raw.get("content_type", "")
    if not isinstance(time_ns, int) or not isinstance(key, str) or not isinstance(content_type, str):
        raise ValueError("no event")
    encoded = raw.get("payload_base64")
    payload = raw["payload"].encode() if encoded is None else base64.b64decode(encoded, validate=True)
    headers = tuple(
        (name, base64.b64decode(value["base64"]) if isinstance(value, dict) else value.encode())
        for name, value in raw.get("headers", ())
    )
    return _Recorded(time_ns, key, content_type, headers, payload, end)
