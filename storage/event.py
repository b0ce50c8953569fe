"""Events as they are read.

A reader makes a great many of them. So each holds no more than its payload and its place in its frame; what else is asked
of it follows from those, and is made when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

from storage.model import Headers, Position


class EventFrame(NamedTuple):
    """What the events of one frame share, and where the frame stands: its offset, its last place, what comes behind it.

    `captured_ns` and `times_ns` (by place, where they differ) are readings of the boot clock, `shift_ns` behind 1970.
    """

    stream: str
    number: int
    epoch: int
    offset: int
    last: int
    behind: Position
    shift_ns: int
    captured_ns: int
    times_ns: Sequence[int] | None
    routing_key: str
    writer: str | None
    first_number: int
    content_type: str
    headers: Headers
    uncertain: bool


class Event(tuple[EventFrame, int, bytes]):
    """One event as read: equal to any other of which the same is said."""

    __slots__ = ()

    def __new__(
        cls, stream: str, position: Position, next: Position, time_ns: int, routing_key: str, writer: str | None,
        number: int | None, content_type: str, headers: Headers, payload: bytes, uncertain: bool = False,
    ) -> Self:  # fmt: skip
        """A single one, from elsewhere than a frame that was read."""
        segment, epoch, offset, place = position
        frame = EventFrame(
            stream, segment, epoch, offset, place, next, 0, time_ns, None, routing_key, writer, (number or 0) - place,
            content_type, headers, uncertain,
        )  # fmt: skip
        return tuple.__new__(cls, (frame, place, payload))

    @property
    def frame(self) -> EventFrame:
        """What it shares with others."""
        return self[0]

    @property
    def payload(self) -> bytes:
        return self[2]

    @property
    def stream(self) -> str:
        return self[0].stream

    @property
    def position(self) -> Position:
        frame = self[0]
        return Position(frame.number, frame.epoch, frame.offset, self[1])

    @property
    def next(self) -> Position:
        """Where what comes behind it stands."""
        frame, place, _ = self
        return frame.behind if place == frame.last else Position(frame.number, frame.epoch, frame.offset, place + 1)

    @property
    def time_ns(self) -> int:
        """When it was captured, since 1970, by the clock as it was believed when it was read."""
        frame = self[0]
        return frame.shift_ns + (frame.captured_ns if frame.times_ns is None else frame.times_ns[self[1]])

    @property
    def routing_key(self) -> str:
        return self[0].routing_key

    @property
    def writer(self) -> str | None:
        return self[0].writer

    @property
    def number(self) -> int | None:
        """Its number under its writer."""
        return None if self[0].writer is None else self[0].first_number + self[1]

    @property
    def content_type(self) -> str:
        return self[0].content_type

    @property
    def headers(self) -> Headers:
        return self[0].headers

    @property
    def uncertain(self) -> bool:
        """The clock of that boot was never trusted: `time_ns` is only as good as its neighbours bound it."""
        return self[0].uncertain

    def in_stream(self, stream: str) -> Event:
        """The same under the name that its stream has elsewhere."""
        return tuple.__new__(Event, (self[0]._replace(stream=stream), self[1], self[2]))

    def __getnewargs__(self) -> tuple[object, ...]:
        return (
            self.stream, self.position, self.next, self.time_ns, self.routing_key, self.writer, self.number,
            self.content_type, self.headers, self.payload, self.uncertain,
        )  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and self.__getnewargs__() == other.__getnewargs__()

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((self.position, self.payload))

    def __repr__(self) -> str:
        return f"Event{self.__getnewargs__()!r}"
