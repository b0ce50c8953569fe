"""What the store knows of its streams, segments, writers and cursors: the durable tables, held in memory as well.

Records are immutable; a commit makes new ones and, once they are on disk, puts them in place of the old. So a reader
that looks at any moment sees what is durable, and nothing of what is not yet.
"""

from __future__ import annotations

import json
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from storage import keys
from storage.boots import Boot, Timeline, decode_boot, encode_boot
from storage.codec import unseal
from storage.drops import Drops
from storage.keys import DEFAULT, SegmentKey
from storage.kv.contract import KeyValueStore
from storage.model import KeyRange, StreamConfig

_SEGMENT = struct.Struct(">QQQIQI")
_WRITER = struct.Struct(">Q")
_U64 = struct.Struct(">Q")


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
    generation that was given up: numbers are not used twice.
    """

    store: UUID
    opening: int
    verified: int
    chain: int = 0
    generation: int = 0

    def encode(self) -> bytes:
        return json.dumps(
            {
                "store": self.store.hex,
                "opening": self.opening,
                "verified": self.verified,
                "chain": self.chain,
                "generation": self.generation,
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
        )


def encode_number(number: int) -> bytes:
    return _U64.pack(number)


@dataclass(slots=True)
class Changes:
    """New records, by what they replace. The overlay that a commit fills, and the catalog takes over once durable."""

    streams: dict[str, StreamRecord] = field(default_factory=dict)
    segments: dict[SegmentKey, SegmentRecord] = field(default_factory=dict)
    segment_starts: dict[tuple[SegmentKey, int], int] = field(default_factory=dict)
    writers: dict[tuple[int, str], int] = field(default_factory=dict)
    forgotten: list[tuple[int, str]] = field(default_factory=list)
    cursors: dict[str, bytes] = field(default_factory=dict)
    boots: dict[tuple[UUID, UUID], Boot] = field(default_factory=dict)
    mirrors: dict[str, MirrorRecord] = field(default_factory=dict)
    throughs: dict[int, int] = field(default_factory=dict)
    families: dict[str, FamilyRecord] = field(default_factory=dict)
    drops: dict[int, Drops] = field(default_factory=dict)
    gone_families: list[FamilyRecord] = field(default_factory=list)
    gone_starts: list[tuple[SegmentKey, int]] = field(default_factory=list)
    node: NodeRecord | None = None

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and payload of every table entry that changes."""
        for name, stream in self.streams.items():
            yield keys.stream(name), stream.encode()
        for segment, record in self.segments.items():
            yield keys.segment(segment), record.encode()
        for (segment, generation), start in self.segment_starts.items():
            yield keys.segment_start(segment, generation), _U64.pack(start)
        for (stream_number, writer), last in self.writers.items():
            yield keys.writer(stream_number, writer), _WRITER.pack(last)
        for name, state in self.cursors.items():
            yield keys.cursor(name), state
        for boot in self.boots.values():
            yield keys.boot(boot.store, boot.id), encode_boot(boot)
        for node, mirror in self.mirrors.items():
            yield keys.mirror(node), mirror.encode()
        for stream_number, commit in self.throughs.items():
            yield keys.through(stream_number), _U64.pack(commit)
        for name, family in self.families.items():
            yield keys.family(name), family.encode()
        for stream_number, drops in self.drops.items():
            yield keys.drops(stream_number), drops.encode()
        if self.node is not None:
            yield keys.NODE, self.node.encode()

    def gone(self) -> Iterator[bytes]:
        """Key of every table entry that goes. Nothing may rest on their absence."""
        for stream_number, writer in self.forgotten:
            yield keys.writer(stream_number, writer)
        for family in self.gone_families:
            yield keys.family(family.name)
        for segment, generation in self.gone_starts:
            yield keys.segment_start(segment, generation)


class Catalog:
    """The durable tables. Loaded once; from then on it follows the commits."""

    def __init__(self) -> None:
        self.node: NodeRecord | None = None
        self.streams: dict[str, StreamRecord] = {}
        self.by_number: dict[int, StreamRecord] = {}
        self.segments: dict[SegmentKey, SegmentRecord] = {}
        self.writers: dict[int, dict[str, int]] = {}
        self.cursors: dict[str, bytes] = {}
        self.timelines: dict[UUID, Timeline] = {}
        self.mirrors: dict[str, MirrorRecord] = {}
        self.throughs: dict[int, int] = {}
        self.families: dict[str, FamilyRecord] = {}
        self.drops: dict[int, Drops] = {}
        self.version = 0
        """Odd while a commit is being taken over: what was read of several records meanwhile may not belong together."""
        self._starts: dict[SegmentKey, list[tuple[int, int]]] = {}

    @staticmethod
    def load(kv: KeyValueStore) -> Catalog:
        """Read every table. Raises DamagedBlockError where one does not check."""
        catalog = Catalog()
        changes = Changes()
        writers: list[tuple[int, int, str, int]] = []
        start = b""
        while items := kv.scan(DEFAULT, start, None, limit=10_000):
            for key, value in items:
                commit, payload = unseal(key, value)
                if key[:1] == keys.WRITER:
                    stream_number, writer = keys.parse_writer(key)
                    writers.append((commit, stream_number, writer, _WRITER.unpack(payload)[0]))
                else:
                    parse_entry(key, payload, changes)
            start = items[-1][0] + b"\0"
        for _, stream_number, writer, last in sorted(writers):
            changes.writers[stream_number, writer] = last
        catalog.apply(changes)
        return catalog

    def apply(self, changes: Changes) -> None:
        """Take over what a commit made durable."""
        self.version += 1
        try:
            self._apply(changes)
        finally:
            self.version += 1

    def _apply(self, changes: Changes) -> None:
        for name, stream in changes.streams.items():
            self.streams[name] = stream
            self.by_number[stream.number] = stream
        self.segments.update(changes.segments)
        for (segment, generation), start in changes.segment_starts.items():
            starts = self._starts.get(segment, [])
            self._starts[segment] = sorted({*(s for s in starts if s[1] != generation), (start, generation)})
        for stream_number, writer in changes.forgotten:
            self.writers.get(stream_number, {}).pop(writer, None)
        for (stream_number, writer), last in changes.writers.items():
            of_stream = self.writers.setdefault(stream_number, {})
            of_stream.pop(writer, None)
            of_stream[writer] = last
        self.cursors.update(changes.cursors)
        for store in {boot.store for boot in changes.boots.values()}:
            changed = [boot for boot in changes.boots.values() if boot.store == store]
            self.timelines[store] = self.timelines.get(store, Timeline()).with_boots(changed)
        self.mirrors.update(changes.mirrors)
        self.throughs.update(changes.throughs)
        self.families = {**self.families, **changes.families}
        for family in changes.gone_families:
            self.families.pop(family.name, None)
        for segment, generation in changes.gone_starts:
            self._starts[segment] = [s for s in self._starts.get(segment, ()) if s[1] != generation]
        self.drops.update(changes.drops)
        if changes.node is not None:
            self.node = changes.node

    def generation_of(self, segment: SegmentKey, offset: int) -> int | None:
        """The telemetry generation that holds the segment's byte at `offset`, None before the first."""
        starts = self._starts.get(segment)
        if not starts:
            return None
        at = bisect_right(starts, (offset, 1 << 62)) - 1
        return starts[at][1] if at >= 0 else starts[0][1]

    def generations_of(self, segment: SegmentKey) -> list[tuple[int, int]]:
        """`(first offset, generation)` of every generation that holds some of the segment, in order."""
        return list(self._starts.get(segment, ()))

    def segments_in(self, generation: int) -> list[tuple[SegmentKey, int, int]]:
        """`(segment, first offset, offset behind the last)` of everything that a generation holds."""
        found = []
        for segment, starts in list(self._starts.items()):
            for index, (first, number) in enumerate(starts):
                if number == generation:
                    record = self.segments.get(segment, SegmentRecord())
                    end = starts[index + 1][0] if index + 1 < len(starts) else record.length
                    found.append((segment, first, end))
        return found

    def newest_family(self, kind: str, group: str | None = None) -> FamilyRecord | None:
        of_kind = [family for family in self.families.values() if family.kind == kind and group in (None, family.group)]
        return max(of_kind, key=lambda family: family.number, default=None)

    def chain_family_of(self, commit: int) -> FamilyRecord | None:
        """The generation of the chain that holds the record of `commit`."""
        holding = [f for f in self.families.values() if f.kind == "chain" and f.first <= commit]
        return max(holding, key=lambda family: family.number, default=None)

    def store_of(self, stream: StreamRecord) -> UUID | None:
        """The store whose boots the stream was written in: ours, or that of the node it is mirrored from."""
        if stream.origin is None:
            return None if self.node is None else self.node.store
        mirror = self.mirrors.get(stream.origin[0])
        return None if mirror is None else mirror.store

    def timeline_of(self, stream: StreamRecord) -> Timeline:
        """Where the boots in which the stream was written stand in wall time."""
        store = self.store_of(stream)
        return Timeline() if store is None else self.timelines.get(store, Timeline())


def parse_entry(key: bytes, payload: bytes, changes: Changes) -> None:
    """Put one table entry of `default` into `changes`, whatever table it belongs to."""
    table, rest = key[:1], key[1:]
    if table == keys.STREAM:
        name = rest.decode()
        changes.streams[name] = StreamRecord.decode(name, payload)
    elif table == keys.SEGMENT:
        changes.segments[keys.parse_segment(key)] = SegmentRecord.decode(payload)
    elif table == keys.SEGMENT_START:
        changes.segment_starts[keys.parse_segment_start(key)] = _U64.unpack(payload)[0]
    elif table == keys.WRITER:
        changes.writers[keys.parse_writer(key)] = _WRITER.unpack(payload)[0]
    elif table == keys.CURSOR:
        changes.cursors[rest.decode()] = payload
    elif table == keys.BOOT:
        store, boot_id = keys.parse_boot(key)
        changes.boots[store, boot_id] = decode_boot(store, boot_id, payload)
    elif table == keys.MIRROR:
        changes.mirrors[rest.decode()] = MirrorRecord.decode(payload)
    elif table == keys.THROUGH:
        changes.throughs[int.from_bytes(rest, "big")] = _U64.unpack(payload)[0]
    elif table == keys.FAMILY:
        changes.families[rest.decode()] = FamilyRecord.decode(payload)
    elif table == keys.DROPS:
        changes.drops[int.from_bytes(rest, "big")] = Drops.decode(payload)
    elif table == keys.NODE:
        changes.node = NodeRecord.decode(payload)
