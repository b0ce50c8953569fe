"""The store's words as data: what is appended, what is read, and where it stands."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from storage.errors import InvalidNameError, StorageError
from storage.retention.drops import Dropped

MAX_EVENT_BYTES = 8 << 20
"""One event's payload. The same as Pravega's. In a bulk stream it may be as large as a submission."""
MAX_APPEND_BYTES = 64 << 20
"""One submission: all its payloads together."""
MAX_KEY_BYTES = 1024
MAX_NAME_BYTES = 255
MAX_OPEN_SEGMENTS = 1024
"""Open segments of one stream."""
MAX_SEGMENTS = 10_000
"""Segments that a stream has in all its life: their places in it are kept for as long as it is."""
MAX_WRITERS_PER_STREAM = 10_000
"""Writers remembered by number. Above it the one that has been silent longest is forgotten."""

INTERNAL = "_system/"
"""Below it lie the streams that the store keeps for itself."""
BULK = "bulk"
"""The kind of streams whose blocks lie in chunk files."""
STATE = "state"
"""The kind of streams that hold state: small, of one segment, kept by whoever compacts them."""

Headers = tuple[tuple[str, bytes], ...]

_NAME = re.compile(r"[A-Za-z0-9_.~@:+=-]+(/[A-Za-z0-9_.~@:+=-]+)*\Z")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.~@:+=-]")


def check_stream_name(name: str) -> str:
    """`name` if it is one: words of letters, digits and `_.~@:+=-`, separated by `/`, at most 255 bytes.

    Raises InvalidNameError, which names the first character that may not be there.
    """
    if len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidNameError(f"stream name of {len(name.encode())} bytes: at most {MAX_NAME_BYTES}: {name[:40]!r}…")
    if not _NAME.match(name) or any(word in (".", "..") for word in name.split("/")):
        raise InvalidNameError(
            f"{name!r} is no stream name: use words of letters, digits and _.~@:+=- with single slashes between them"
        )
    return name


def is_internal(name: str) -> bool:
    """Whether it is a stream that the store keeps for itself."""
    return name.startswith(INTERNAL)


def check_new_stream(name: str, config: StreamConfig) -> None:
    """Raises InvalidNameError for what is no stream name, or one that the store keeps for itself."""
    check_stream_name(name)
    if is_internal(name) and config.kind != STATE:
        raise InvalidNameError(f"{name!r}: names below {INTERNAL} are the store's own; choose another")


def stream_word(text: str) -> str:
    """`text` made usable as one word of a stream name: anything else becomes `_`."""
    word = _UNSAFE.sub("_", text)
    return word if word not in ("", ".", "..") else "_"


@lru_cache(maxsize=4096)
def key_point(routing_key: str) -> int:
    """Where a routing key falls in the key space [0, 2**64): BLAKE2b of its UTF-8, 8 bytes, big endian."""
    return int.from_bytes(hashlib.blake2b(routing_key.encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The half-open part [low, high) of the key space [0, 2**64) that a segment takes."""

    low: int = 0
    high: int = 1 << 64

    def __contains__(self, point: int) -> bool:
        return self.low <= point < self.high

    def overlaps(self, other: KeyRange) -> bool:
        return self.low < other.high and other.low < self.high

    def split(self, parts: int = 2) -> tuple[KeyRange, ...]:
        """This range in parts of one size."""
        size = self.high - self.low
        bounds = [self.low + size * part // parts for part in range(parts + 1)]
        return tuple(KeyRange(low, high) for low, high in pairwise(bounds))


class SegmentState(Enum):
    OPEN = 0
    SEALED = 1


class TransactionState(Enum):
    """Where a transaction stands. COMMITTING and ABORTING: the end of it is not on disk yet."""

    OPEN = 0
    COMMITTING = 1
    COMMITTED = 2
    ABORTING = 3
    ABORTED = 4


class GapReason(Enum):
    """Why a range of a segment holds no events any more."""

    DROPPED = 1
    THINNED = 2
    DAMAGED = 3
    REFUSED = 4


@dataclass(frozen=True, slots=True, order=True)
class SegmentId:
    """A segment of a stream. `number` counts the stream's segments, `epoch` is the scale that opened it."""

    stream: str
    number: int
    epoch: int

    def __str__(self) -> str:
        return f"{self.stream}/{self.number}.{self.epoch}"


class Position(NamedTuple):
    """Where an event stands: segment number and epoch, byte offset of its frame, and its place in that frame from 0.

    As text `number.epoch:offset` with `+place` behind it where the place is not 0. The same on a gateway and its hub.
    """

    number: int
    epoch: int
    offset: int
    place: int = 0

    def __str__(self) -> str:
        text = f"{self.number}.{self.epoch}:{self.offset}"
        return f"{text}+{self.place}" if self.place else text

    @staticmethod
    def parse(text: str) -> Position:
        """The position that `str()` wrote. Raises ValueError with an example of one."""
        match = re.fullmatch(r"(\d+)\.(\d+):(\d+)(?:\+(\d+))?", text)
        if match is None:
            raise ValueError(f"{text!r} is no position: one looks like 0.0:1234 or 0.0:1234+7")
        number, epoch, offset, place = match.groups()
        return Position(int(number), int(epoch), int(offset), int(place or 0))


@dataclass(frozen=True, slots=True)
class StreamCut:
    """Where a reader of a whole stream stands: a position in each of the segments that it reads side by side there.

    Their key ranges share out the key space. What lies before them in the order of epochs is read, what comes behind
    them is not. As text, the positions with commas between them; one position alone is a cut of a stream of one segment.
    """

    positions: tuple[Position, ...]

    def __str__(self) -> str:
        return ",".join(map(str, self.positions))

    @staticmethod
    def parse(text: str) -> StreamCut:
        """The cut that `str()` wrote. Raises ValueError with an example of one."""
        return StreamCut(tuple(Position.parse(part) for part in text.split(",")))


class Frame(NamedTuple):
    """One or more events that share everything but their payload and time: what is appended, contiguous, as one.

    `captured_ns` and `times_ns` are readings of the boot clock (`Clock.boot_ns`): of the first event, and of each
    where they differ. `number` is the first event's number under `writer`; the others follow it. `key_frame` says that
    video can be decoded from the first event on.
    """

    payloads: Sequence[bytes]
    routing_key: str = ""
    content_type: str = ""
    headers: Headers = ()
    captured_ns: int | None = None
    times_ns: Sequence[int] | None = None
    writer: str | None = None
    number: int | None = None
    key_frame: bool = False


class Append(NamedTuple):
    """Frames for one stream.

    `expected_length`, where given, must be the length of the open segment that the first frame's key falls into
    (conditional append).
    """

    stream: str
    frames: Sequence[Frame]
    expected_length: int | None = None


class Receipt(NamedTuple):
    """What a ticket resolves to once everything in its submission is on disk.

    `positions` holds, for each Append, where its first stored event stands (None: all of it was stored before, or left out).
    `left_out` are the streams whose events were not stored, and never will be: only of a submission that allows it.
    """

    commit: int
    positions: tuple[Position | None, ...]
    stored: int
    duplicates: int
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """A range of a segment that is gone. `events` is None where nobody knows how many there were."""

    stream: str
    position: Position
    next: Position
    reason: GapReason
    events: int | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long a stream is kept; None: no such bound.

    `max_age_s` counts time that is known to have passed, and never gives up what an upstream has not confirmed.
    `max_bytes` is in bytes of offsets (uncompressed); at it, `when_full` says what happens. `consumed`: what every
    consumer has read and every upstream has confirmed is given up.
    """

    max_age_s: float | None = None
    max_bytes: int | None = None
    consumed: bool = False


@dataclass(frozen=True)
class ScalingPolicy:
    """When a stream's segments are split and merged (the rule: `storage.load`).

    `by` is `fixed`, `events` or `bytes`; `target_per_s` the rate that one segment is meant for. `windows_s` are the
    spans over which rates are averaged, short to long; `cooldown_s` the least time between two scales of a stream.
    Raises StorageError where it makes no sense.
    """

    by: str = "fixed"
    target_per_s: float = 0.0
    min_segments: int = 1
    max_segments: int = 16
    windows_s: tuple[float, float, float] = (10.0, 60.0, 300.0)
    cooldown_s: float = 60.0

    @property
    def asks_for_something(self) -> bool:
        """Whether it may ever want another number of segments than the one that a stream begins with."""
        return self.by != "fixed" or self.min_segments > 1

    def __post_init__(self) -> None:
        if self.by not in ("fixed", "events", "bytes"):
            raise StorageError(f"a stream scales by {self.by!r}: use fixed, events or bytes")
        if self.by != "fixed" and not 0 < self.target_per_s < math.inf:
            raise StorageError(f"scaling by {self.by} needs target_per_s above 0, not {self.target_per_s}")
        if not 1 <= self.min_segments <= self.max_segments <= MAX_OPEN_SEGMENTS:
            raise StorageError(
                f"min_segments {self.min_segments}, max_segments {self.max_segments}: "
                f"1 <= min <= max <= {MAX_OPEN_SEGMENTS}"
            )
        short, middle, long = self.windows_s
        if not 0 < short <= middle <= long < math.inf or not 0 <= self.cooldown_s < math.inf:
            raise StorageError(
                f"windows of {short:g}, {middle:g} and {long:g} s, cooldown {self.cooldown_s:g} s: three windows above 0, "
                "the shortest first"
            )


@dataclass(frozen=True)
class StreamConfig:
    """How a stream is kept. Stored with the stream, mirrored with it.

    `when_full`, at `retention.max_bytes` or the disk limit: `block` takes in no more and loses nothing that was taken,
    `drop-oldest` gives up the oldest, `thin` first every second block. Of streams that compete for the disk the one
    with the smaller `priority` gives up first. What sources bring to a bulk stream is durable after `durable_every_s` at
    the latest; a program waits for its own tickets.
    """

    kind: str = "telemetry"
    priority: int = 10
    when_full: str = "block"
    scaling: ScalingPolicy = field(default_factory=ScalingPolicy)
    attributes: dict[str, str] = field(default_factory=dict)
    retention: RetentionPolicy = RetentionPolicy()
    durable_every_s: float = 0.0

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()

    @staticmethod
    def from_json(raw: bytes) -> StreamConfig:
        """The configuration stored as `raw`; what a newer program added to it is left alone."""
        loaded = json.loads(raw)
        if not isinstance(loaded, dict):
            raise StorageError(f"a stream's stored configuration is no object: {raw[:60]!r}")
        known = _known(StreamConfig, loaded)
        if isinstance(scaling := known.get("scaling"), dict):
            windows = tuple(scaling.get("windows_s", ScalingPolicy.windows_s))
            known["scaling"] = ScalingPolicy(**_known(ScalingPolicy, scaling) | {"windows_s": windows})
        if isinstance(retention := known.get("retention"), dict):
            known["retention"] = RetentionPolicy(**_known(RetentionPolicy, retention))
        return StreamConfig(**known)


def _known(kind: type, loaded: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(kind)}
    return {name: value for name, value in loaded.items() if name in names}


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """A segment as it stands on disk now. Bytes [start, length) are there; `events` were ever appended to it.

    `until` is the epoch in which it was sealed, None while it is open.
    """

    id: SegmentId
    keys: KeyRange
    until: int | None
    start: int
    length: int
    events: int
    last_commit: int
    gaps: int

    @property
    def state(self) -> SegmentState:
        return SegmentState.OPEN if self.until is None else SegmentState.SEALED

    def precedes(self, other: SegmentInfo) -> bool:
        """Whether `other` was opened when this was sealed and takes some of its keys: it is read only after this."""
        return self.until == other.id.epoch and self.keys.overlaps(other.keys)


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream as it stands on disk now. `origin` names the node it is mirrored from, None for our own.

    `dropped` is what was given up of it, by reason (`storage.retention.drops`).
    """

    name: str
    config: StreamConfig
    origin: str | None
    segments: tuple[SegmentInfo, ...]
    dropped: Mapping[str, Dropped] = field(default_factory=dict)

    def successors(self, segment: SegmentInfo) -> tuple[SegmentInfo, ...]:
        return tuple(other for other in self.segments if segment.precedes(other))

    def predecessors(self, segment: SegmentInfo) -> tuple[SegmentInfo, ...]:
        return tuple(other for other in self.segments if other.precedes(segment))
