"""A state that several hold alike: changed by updates on a condition, rebuilt from them after a restart."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from storage.errors import StorageError, StoreBusyError
from storage.model import Gap
from storage.state.revisioned import Revision, RevisionedStream, Write

COMPACT_BYTES = 256 << 10
"""So much behind the last whole state, or four times its size, and the next update writes a whole state again."""
MAX_TRIES = 1_000

_WHOLE, _UPDATES = b"I", b"U"
_LENGTH = struct.Struct(">I")

S = TypeVar("S")
U = TypeVar("U")


class Codec(Protocol[S, U]):
    """What a state is: where it begins, what an update makes of it, and how both are written. All of it is pure."""

    def initial(self) -> S:
        """The state before anything was written."""

    def apply(self, state: S, update: U) -> S:
        """The state behind `update`, as a new value."""

    def encode_state(self, state: S) -> bytes: ...

    def decode_state(self, raw: bytes) -> S: ...

    def encode_update(self, update: U) -> bytes: ...

    def decode_update(self, raw: bytes) -> U: ...


class StateDamagedError(StorageError):
    """Updates were lost to damage, so the state can't be known. `restore` goes on from the state before them."""


class StateSynchronizer(Generic[S, U]):
    """Holds the newest state it has fetched. Any thread may call anything."""

    def __init__(self, stream: RevisionedStream, codec: Codec[S, U], *, compact_bytes: int = COMPACT_BYTES) -> None:
        self._stream = stream
        self._codec = codec
        self._compact_bytes = compact_bytes
        self._lock = threading.RLock()
        self._state = codec.initial()
        self._revision = Revision(0)
        self._doubtful: list[Write] = []
        """Writes that were not on disk in the time given: at most one for each thread that updates."""
        self._whole: tuple[Revision, Revision] | None = None
        """Where the newest whole state begins and ends."""

    @property
    def name(self) -> str:
        return self._stream.name

    @property
    def state(self) -> S:
        """As last fetched or updated."""
        return self._state

    @property
    def revision(self) -> Revision:
        """Up to where `state` goes."""
        return self._revision

    def fetch(self) -> S:
        """Apply what others wrote; the newest durable state. Raises StateDamagedError."""
        with self._lock:
            if self._stream.latest > self._revision:
                self._read()
            return self._state

    def _read(self) -> None:
        state, revision, whole = self._state, self._revision, self._whole
        lost: Gap | None = None
        for item in self._stream.read_all(revision):
            if isinstance(item, Gap):
                lost = item
                revision = Revision(item.next.offset)
                continue
            kind, body = item.data[:1], item.data[1:]
            if kind == _WHOLE:
                state, whole, lost = self._codec.decode_state(body), (item.revision, item.next), None
            elif kind != _UPDATES:
                raise StateDamagedError(f"{self.name!r} at {item.revision}: {kind!r} begins no entry of a state")
            elif lost is None:
                for raw in _unpack(body):
                    state = self._codec.apply(state, self._codec.decode_update(raw))
            revision = item.next
        if lost is not None:
            raise StateDamagedError(
                f"{self.name!r}: what was written from {lost.position} to {lost.next} is lost ({lost.reason.name.lower()}"
                f"{': ' + lost.detail if lost.detail else ''}). `restore` goes on from the state before it"
            )
        self._state, self._revision, self._whole = state, revision, whole

    def update(self, decide: Callable[[S], Sequence[U]], *, timeout_s: float | None = None) -> S:
        """Change the state by what `decide` makes of the newest one; durable when it returns. The state behind it.

        `decide` is asked again whenever somebody else was faster; an empty answer changes nothing, and what it raises
        comes out. Raises StateDamagedError, StoreBusyError after 1,000 tries, TimeoutError where the disk takes longer
        than `timeout_s` each (it may still become durable; the next update waits to know), what `submit` raises.
        """
        self._wait_to_know(timeout_s)
        for _ in range(MAX_TRIES):
            with self._lock:
                self.fetch()
                state, revision = self._state, self._revision
            updates = [self._codec.encode_update(update) for update in decide(state)]
            if not updates:
                return state
            behind = self._written(self._stream.begin_write(revision, _UPDATES + _pack(updates)), timeout_s)
            if behind is not None:
                for raw in updates:
                    state = self._codec.apply(state, self._codec.decode_update(raw))
                self._advance(revision, behind, state)
                self._compact_if_due()
                return state
        raise StoreBusyError(f"{self.name!r}: others were faster {MAX_TRIES} times; nothing was changed: try again")

    def _written(self, write: Write, timeout_s: float | None) -> Revision | None:
        try:
            return write.result(timeout_s)
        except TimeoutError:
            self._doubtful.append(write)
            raise

    def _wait_to_know(self, timeout_s: float | None) -> None:
        """Of writes that took too long, whether they are on disk: what is decided next depends on it."""
        while self._doubtful:
            write = self._doubtful[0]
            write.result(timeout_s)
            with self._lock:
                if self._doubtful[:1] == [write]:
                    self._doubtful.pop(0)

    def _advance(self, before: Revision, behind: Revision, state: S) -> None:
        with self._lock:
            if self._revision == before:
                self._state, self._revision = state, behind

    def _compact_if_due(self) -> None:
        with self._lock:
            begin, end = self._whole or (Revision(0), Revision(0))
            due = self._revision.offset - end.offset > max(self._compact_bytes, 4 * (end.offset - begin.offset))
        if due:
            self.compact()

    def compact(self) -> bool:
        """Write the whole state, and give up what lies before the whole state before it. False: others were faster."""
        with self._lock:
            state = self.fetch()
            revision, before = self._revision, self._whole
        if not self._write_whole(revision, state):
            return False
        if before is not None:
            self._stream.truncate_to(before[0])
        return True

    def restore(self) -> S:
        """Go on from the state before the damage, by writing it whole. What was fetched since comes from there.

        Where there is no damage, or another has restored already, it only fetches.
        """
        while True:
            with self._lock:
                latest = self._stream.latest
                try:
                    return self.fetch()
                except StateDamagedError:
                    state = self._before_damage()
            self._write_whole(latest, state)

    def _before_damage(self) -> S:
        """The newest state that can be known: of the updates behind the last whole state, those before the first gap."""
        state = self._codec.initial()
        known = True
        for item in self._stream.read_all(Revision(0)):
            if isinstance(item, Gap):
                known = False
            elif item.data[:1] == _WHOLE:
                state, known = self._codec.decode_state(item.data[1:]), True
            elif known and item.data[:1] == _UPDATES:
                for raw in _unpack(item.data[1:]):
                    state = self._codec.apply(state, self._codec.decode_update(raw))
            else:
                known = False
        return state

    def _write_whole(self, revision: Revision, state: S) -> bool:
        behind = self._stream.begin_write(revision, _WHOLE + self._codec.encode_state(state)).result()
        if behind is None:
            return False
        with self._lock:
            if self._revision == revision:
                self._revision, self._whole = behind, (revision, behind)
        return True


def _pack(updates: Sequence[bytes]) -> bytes:
    return b"".join(_LENGTH.pack(len(raw)) + raw for raw in updates)


def _unpack(body: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(body):
        end = at + _LENGTH.size + _LENGTH.unpack_from(body, at)[0]
        yield body[at + _LENGTH.size : end]
        at = end
