"""The durable tables' records: immutable, and each the bytes of one table entry."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from uuid import UUID

from storage.keys import SegmentKey
from storage.model import KeyRange, StreamConfig

_SEGMENT = struct.Struct(">QQQIQI")


@dataclass(frozen=True, slots=True)
class SegmentLayout:
    """A segment's place in its stream: opened by commit `opened`, sealed by commit `sealed` in epoch `until`.

    Of a mirrored stream the commits are the origin's.
    """

    segment: int
    epoch: int
    keys: KeyRange
    opened: int = 0
    until: int | None = None
    sealed: int | None = None

    @property
    def open(self) -> bool:
        return self.until is None


FIRST_SEGMENT = SegmentLayout(0, 0, KeyRange())
"""What a stream begins with."""


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A stream. `origin` is the node it is mirrored from and the name it has there, None for our own."""

    number: int
    name: str
    incarnation: UUID
    config: StreamConfig
    origin: tuple[str, str] | None
    layout: tuple[SegmentLayout, ...]
    """Every segment that it ever had, those of an epoch next to each other, the oldest first."""

    @property
    def open_layout(self) -> tuple[SegmentLayout, ...]:
        return tuple(layout for layout in self.layout if layout.open)

    @property
    def takes(self) -> bool:
        """Whether events may be appended: it is neither sealed nor mirrored, and was not for as long as it is there."""
        return self.origin is None and any(layout.open for layout in self.layout)

    @property
    def epoch(self) -> int:
        """The newest: of the segments that are open, or of the seal that ended the stream."""
        return max(layout.epoch if layout.until is None else layout.until for layout in self.layout)

    def segment(self, number: int, epoch: int) -> SegmentLayout | None:
        return next((s for s in self.layout if (s.segment, s.epoch) == (number, epoch)), None)

    def key(self, layout: SegmentLayout) -> SegmentKey:
        return SegmentKey(self.number, layout.segment, layout.epoch)

    def encode(self) -> bytes:
        return json.dumps(
            {
                "number": self.number,
                "incarnation": self.incarnation.hex,
                "config": json.loads(self.config.to_json()),
                "origin": self.origin,
                "layout": encode_layout(self.layout),
            }
        ).encode()

    @staticmethod
    def decode(name: str, raw: bytes) -> StreamRecord:
        loaded = json.loads(raw)
        origin = loaded["origin"]
        return StreamRecord(
            loaded["number"],
            name,
            UUID(loaded["incarnation"]),
            StreamConfig.from_json(json.dumps(loaded["config"]).encode()),
            None if origin is None else (origin[0], origin[1]),
            decode_layout(loaded["layout"]),
        )


def encode_layout(layout: tuple[SegmentLayout, ...]) -> list[list[int | None]]:
    """As JSON lists: number, epoch, low and high end of the key range, opened, until, sealed."""
    return [[s.segment, s.epoch, s.keys.low, s.keys.high, s.opened, s.until, s.sealed] for s in layout]


def decode_layout(loaded: list[list[int]]) -> tuple[SegmentLayout, ...]:
    return tuple(SegmentLayout(s, e, KeyRange(low, high), *commits) for s, e, low, high, *commits in loaded)


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """A segment as a commit left it. `start` and `length` are offsets: bytes [start, length) are there or are gaps."""

    start: int = 0
    length: int = 0
    events: int = 0
    checksum: int = 0
    last_commit: int = 0
    gaps: int = 0

    def encode(self) -> bytes:
        return _SEGMENT.pack(self.start, self.length, self.events, self.checksum, self.last_commit, self.gaps)

    @staticmethod
    def decode(raw: bytes) -> SegmentRecord:
        return SegmentRecord(*_SEGMENT.unpack(raw))


@dataclass(frozen=True, slots=True)
class FamilyRecord:
    """A generation. `first` is the first commit that wrote to it, `group` the retention class of its streams.

    `thinned` counts how often every second block of it was given up.
    """

    kind: str
    number: int
    first: int
    group: str = ""
    thinned: int = 0

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number:08d}"

    def encode(self) -> bytes:
        return json.dumps(
            {
                "kind": self.kind,
                "number": self.number,
                "first": self.first,
                "group": self.group,
                "thinned": self.thinned,
            }
        ).encode()

    @staticmethod
    def decode(raw: bytes) -> FamilyRecord:
        loaded = json.loads(raw)
        return FamilyRecord(
            loaded["kind"], loaded["number"], loaded["first"], loaded.get("group", ""), loaded.get("thinned", 0)
        )


@dataclass(frozen=True, slots=True)
class MirrorRecord:
    """The store, and its newest opening, that may speak for a node; its commit up to which its boots are held."""

    store: UUID
    opening: int
    boots: int = 0

    def encode(self) -> bytes:
        return json.dumps({"store": self.store.hex, "opening": self.opening, "boots": self.boots}).encode()

    @staticmethod
    def decode(raw: bytes) -> MirrorRecord:
        loaded = json.loads(raw)
        return MirrorRecord(UUID(loaded["store"]), loaded["opening"], loaded.get("boots", 0))


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """The store itself. `verified` is the last commit whose record is known to lie outside of any log.

    `chain` is the first commit that the chain still holds without a hole, `generation` the highest number of a telemetry
    generation that was given up, `chunk` of a chunk: numbers are not used twice.
    """

    store: UUID
    opening: int
    verified: int
    chain: int = 0
    generation: int = 0
    chunk: int = 0

    def encode(self) -> bytes:
        return json.dumps(
            {
                "store": self.store.hex,
                "opening": self.opening,
                "verified": self.verified,
                "chain": self.chain,
                "generation": self.generation,
                "chunk": self.chunk,
            }
        ).encode()

    @staticmethod
    def decode(raw: bytes) -> NodeRecord:
        loaded = json.loads(raw)
        return NodeRecord(
            UUID(loaded["store"]),
            loaded["opening"],
            loaded["verified"],
            loaded.get("chain", 0),
            loaded.get("generation", 0),
            loaded.get("chunk", 0),
        )
