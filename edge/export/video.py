"""A camera's stream: the packets of a range from the key frame before it on, and one picture out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from drivers.camera.mp4 import VideoError, Written, write_mp4
from drivers.camera.packet import Packet, from_event
from drivers.camera.picture import PictureError, snapshot
from edge.client import Client
from edge.export.whole import ExportError, whole_file, write_error
from edge.words import moment
from storage.event import Event
from storage.model import Gap, Position

MAX_OTHERS = 1000
"""Key frames of other cameras in the same stream that are looked past."""
_NEWEST_NS = (1 << 62) - 1


class Footage:
    """The video of one camera in a stream. Methods raise ExportError, and what the client raises."""

    def __init__(
        self, client: Client, stream: str, key: str | None = None, on_gap: Callable[[Gap], None] | None = None
    ) -> None:
        self._client = client
        self._stream = stream
        self._key = key
        self._on_gap = on_gap

    def write_mp4(
        self, start: str, stop: str | None, path: Path, *, close_gaps: bool, on_skipped: Callable[[int], None]
    ) -> Iterator[Written]:
        """The frames from the key frame before `start` up to `stop`; yields each file when it is on disk."""
        first = self._first(start, stop)
        if first is None:
            raise ExportError(f"{self._stream}: no video {_range(start, stop)}{self._nearest(start)}")
        packets = self._packets(self._key_frame_before(first), stop)
        written = 0
        try:
            for file in write_mp4(packets, path, close_gaps=close_gaps, on_skipped=on_skipped):
                written += 1
                yield file
        except VideoError as error:
            raise ExportError(str(error)) from error
        except OSError as error:
            raise write_error(path, error) from error
        if not written:
            raise ExportError(
                f"{self._stream}: no key frame {_range(start, stop)}, and none before it: nothing can be shown without "
                f"one. Ask for a longer range{self._nearest(start)}"
            )

    def write_picture(self, at: str, path: Path, width: int | None) -> Event:
        """What the first frame at or behind `at` shows, or the newest, as JPEG. The event that it is of."""
        wanted = self._first(at, None) or self._newest()
        if wanted is None:
            raise ExportError(f"{self._stream}: there is no video in it")
        events = self._events(self._key_frame_before(wanted), str(wanted.next))
        try:
            picture = snapshot((self._packet(event) for event in events), width)
        except PictureError as error:
            raise ExportError(f"{self._stream}, frame at {wanted.position}: {error}") from error
        with whole_file(path) as file:
            file.write(picture)
        return wanted

    def _packets(self, begin: Position, stop: str | None) -> Iterator[Packet]:
        """Without those behind a gap that build on what is gone: up to the next key frame they would be shown as rubbish."""
        seen: str | None = None
        torn = False

        def tear(gap: Gap) -> None:
            nonlocal torn
            torn = True
            if self._on_gap is not None:
                self._on_gap(gap)

        for event in self._events(begin, stop, tear):
            if seen is not None and event.routing_key != seen:
                raise ExportError(
                    f"{self._stream}: it has the video of {seen} and of {event.routing_key}: choose one with --key"
                )
            seen = event.routing_key
            packet = self._packet(event)
            torn = torn and not packet.key_frame
            if not torn:
                yield packet

    def _packet(self, event: Event) -> Packet:
        try:
            return from_event(event.payload, event.content_type, event.headers, event.time_ns)
        except ValueError as error:
            raise ExportError(f"{self._stream}, event at {event.position}: {error}") from error

    def _events(
        self, start: str | Position, stop: str | None, on_gap: Callable[[Gap], None] | None = None
    ) -> Iterator[Event]:
        events = self._client.read(self._stream, start, stop=stop, on_gap=on_gap)
        return (event for event in events if self._key is None or event.routing_key == self._key)

    def _first(self, start: str, stop: str | None) -> Event | None:
        if self._key is None:
            return next(self._client.read(self._stream, start, stop=stop, limit=1), None)
        return next(self._events(start, stop), None)

    def _newest(self) -> Event | None:
        begin = self._key_frame(_NEWEST_NS, self._key)
        newest: Event | None = None
        for event in self._events(begin.position, None) if begin is not None else ():
            newest = event
        return newest

    def _key_frame_before(self, event: Event) -> Position:
        """Where to begin so that `event` can be decoded: itself where it is a key frame, or nothing is before it."""
        if self._packet(event).key_frame:
            return event.position
        return (self._key_frame(event.time_ns, event.routing_key) or event).position

    def _key_frame(self, before_ns: int, key: str | None) -> Event | None:
        """The last one at or before that time, of that camera where one is named."""
        for _ in range(MAX_OTHERS):
            position = self._client.key_frame_before(self._stream, before_ns)
            found = next(self._client.read(self._stream, position, limit=1), None) if position is not None else None
            if found is None or key is None or found.routing_key == key:
                return found
            before_ns = found.time_ns - 1
        return None

    def _nearest(self, start: str) -> str:
        """`; the nearest is around 2026-… and from 2026-… on`."""
        behind = self._first(start, None)
        before = self._key_frame(behind.time_ns - 1 if behind is not None else _NEWEST_NS, self._key)
        near = [f"around {moment(before.time_ns)}"] if before is not None else []
        near += [f"from {moment(behind.time_ns)} on"] if behind is not None else []
        return f"; the nearest is {' and '.join(near)}" if near else "; there is none in the stream"


def _range(start: str, stop: str | None) -> str:
    return f"from {start}" + (f" to {stop}" if stop is not None else " on")
