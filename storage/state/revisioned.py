"""A stream of one segment as a log with revisions: appended to on the condition that nobody else was faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from storage.errors import ConditionFailedError, StorageError, TooLargeError
from storage.group import Group
from storage.merging import StreamReader
from storage.model import MAX_EVENT_BYTES, Append, Frame, Gap, Position, Receipt, SegmentInfo, StreamInfo
from storage.queue import Take
from storage.ticket import Ticket


class Revision(NamedTuple):
    """A place between two entries of a revisioned stream: the offset of its segment. Later ones are greater."""

    offset: int

    def __str__(self) -> str:
        return str(self.offset)


class Entry(NamedTuple):
    """What was written, and the revisions before and behind it."""

    revision: Revision
    next: Revision
    data: bytes


class Store(Protocol):
    """What a revisioned stream needs of its store."""

    def stream(self, name: str) -> StreamInfo: ...

    def reader(self, stream: str, start: str | Position = "head") -> StreamReader: ...

    def submit_take(self, take: Take, size_bytes: int) -> Ticket: ...

    def truncate(self, name: str, /, *positions: str | Position) -> bool: ...


class Write:
    """A write that waits for its sync."""

    def __init__(self, submit: Callable[[Take], Ticket], append: Append) -> None:
        self._append = append
        self._revision: Revision | None = None
        self._ticket = submit(self._take)

    def _take(self, group: Group, ticket: Ticket) -> None:
        stream = group.stream(self._append.stream)
        try:
            group.take(ticket, [self._append], {})
        except ConditionFailedError:
            # Told with the commit, not before it: once it is told, what was written instead can be read.
            group.outcomes.append((ticket, Receipt(group.number, (None,), 0, 0)))
            return
        assert stream is not None
        self._revision = Revision(group.length(stream, stream.layout[-1]))

    def done(self) -> bool:
        return self._ticket.done()

    def result(self, timeout_s: float | None = None) -> Revision | None:
        """Wait until durable: the revision behind the entry, None where the stream did not end where expected.

        Raises what refused it, or TimeoutError: it may still become durable then.
        """
        self._ticket.result(timeout_s)
        return self._revision


class RevisionedStream:
    """One of these may be made anywhere in the process, as often as wanted: the stream is what they share."""

    def __init__(self, store: Store, name: str) -> None:
        """Raises UnknownStreamError, StorageError where the stream has more than one segment."""
        self._store = store
        self.name = name
        self._segment()

    def _segment(self) -> SegmentInfo:
        segments = self._store.stream(self.name).segments
        if len(segments) != 1:
            raise StorageError(
                f"{self.name!r} has {len(segments)} segments: revisions need a stream of one, never scaled"
            )
        return segments[0]

    @property
    def oldest(self) -> Revision:
        """Where what is still there begins."""
        return Revision(self._segment().start)

    @property
    def latest(self) -> Revision:
        """Behind the newest durable entry."""
        return Revision(self._segment().length)

    def read_all(self, start: Revision | None = None) -> Iterator[Entry | Gap]:
        """Entries from `start` (the oldest) to what is durable by then; what is gone comes as gaps, told once each."""
        segment = self._segment()
        offset = segment.start if start is None else start.offset
        reader = self._store.reader(self.name, Position(segment.id.number, segment.id.epoch, offset))
        while items := reader.poll():
            for item in items:
                if isinstance(item, Gap):
                    yield item
                else:
                    yield Entry(Revision(item.position.offset), Revision(item.next.offset), item.payload)

    def write(self, data: bytes) -> Revision:
        """Append whatever others do; durable when it returns. Raises TooLargeError, what `submit` raises."""
        revision = self.begin_write(None, data).result()
        assert revision is not None
        return revision

    def write_conditionally(self, revision: Revision, data: bytes) -> Revision | None:
        """Append where the stream ends at `revision`; durable when it returns. None where it does not any more.

        Raises TooLargeError, what `submit` raises.
        """
        return self.begin_write(revision, data).result()

    def begin_write(self, revision: Revision | None, data: bytes) -> Write:
        """As the two above, without waiting."""
        if len(data) > MAX_EVENT_BYTES:
            raise TooLargeError(f"{len(data)} bytes in one entry of {self.name!r}: at most {MAX_EVENT_BYTES}")
        expected = self._segment().length if revision is None else revision.offset
        append = Append(self.name, [Frame([data])], None if revision is None else expected)
        return Write(lambda take: self._store.submit_take(take, len(data)), append)

    def truncate_to(self, revision: Revision) -> None:
        """Give up everything before `revision`; durable when it returns. Offsets stay as they are."""
        segment = self._segment()
        self._store.truncate(self.name, Position(segment.id.number, segment.id.epoch, revision.offset))
