"""Reads a whole store: what every segment holds, and what is wrong with it whatever was written."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from uuid import UUID

from storage import Event, Gap, GapReason, Position, SegmentState, SegmentStore, StreamInfo, entry
from storage.check import CheckReport, Finding
from storage.keys import SegmentKey
from storage.reading import SegmentScan
from tests.campaign.events import Identity, identify, wrong_with
from tests.campaign.model import EntryAt, Found, Segment

RANGES_TRIED = 4
"""Byte ranges of each stream that are read and compared with its events."""
FRAME_BYTES = 301_000
"""No frame of the load is longer."""


class Reading:
    """What a store holds now, the streams below `prefix`. `problems` is what can't be whatever was written to it."""

    def __init__(self, store: SegmentStore, random: Random, boots: Mapping[UUID, int], prefix: str = "") -> None:
        self._store = store
        self._random = random
        self._boots = boots
        self.found: dict[Segment, Found] = {}
        self.streams: dict[str, StreamInfo] = {}
        """By the name that its writers know."""
        self.problems: list[str] = []
        for stream in store.streams():
            if stream.name.startswith(prefix) and ("/" in stream.name) == bool(prefix):
                self.streams[stream.name.removeprefix(prefix)] = stream
                self._read(stream, stream.name.removeprefix(prefix))

    def _wrong(self, where: object, what: str) -> None:
        self.problems.append(f"{where}: {what}")

    def _read(self, stream: StreamInfo, name: str) -> None:
        for segment in stream.segments:
            found = Found(segment.start, segment.length, segment.events, sealed=segment.state is SegmentState.SEALED)
            found.entries = self._entries(stream.name, segment.id.number, segment.id.epoch)
            self.found[name, segment.id.number, segment.id.epoch] = found
        self._judge_keys(stream, name)
        gaps: list[Gap] = []
        events = list(self._store.read(stream.name, on_gap=gaps.append))
        for gap in gaps:
            thinned = gap.reason is GapReason.THINNED and stream.config.when_full == "thin"
            if thinned or (stream.origin is not None and gap.reason is GapReason.DROPPED):
                here = self.found[name, gap.position.number, gap.position.epoch]
                here.thinned.append((gap.position.offset, gap.next.offset))
            else:
                self._wrong(f"{name} {gap.position}", f"a gap up to {gap.next}: {gap.reason.name} {gap.detail}")
        newest: dict[str, Identity] = {}
        for event in events:
            self._judge(name, event, newest)
        if events:
            self._read_again(name, events)
            self._read_ranges(name, events)

    def _judge_keys(self, stream: StreamInfo, name: str) -> None:
        """The open segments share out the key space, but for a stream that was ended."""
        low = 0
        for segment in sorted((s for s in stream.segments if s.state is SegmentState.OPEN), key=lambda s: s.keys.low):
            if segment.keys.low != low:
                self._wrong(name, f"no open segment, or two, take keys from {low} to {segment.keys.low}")
            low = segment.keys.high
        if low not in (0, 1 << 64):
            self._wrong(name, f"no open segment takes keys from {low} on")

    def _judge(self, name: str, event: Event, newest: dict[str, Identity]) -> None:
        """One event, in the order of reading: of a key and a source, numbers rise."""
        where = f"{name} {event.position}"
        try:
            identity = identify(event)
        except ValueError:
            self._wrong(where, f"is no event that was ever written: {event.payload[:40]!r}")
            return
        wrong = wrong_with(event, identity)
        if wrong is not None:
            self._wrong(where, f"{identity} {wrong}")
        before = newest.get(event.routing_key)
        if before is not None and before.number >= identity.number:
            self._wrong(where, f"{identity} comes behind {before}, of the same key")
        newest[event.routing_key] = identity
        live = self.found[name, event.position.number, event.position.epoch].live
        if live and event.position <= next(reversed(live)):
            self._wrong(where, "comes behind a later position")
        live[event.position] = identity

    def _read_again(self, name: str, events: list[Event]) -> None:
        """A read from behind any event gives the rest of what a read of everything gave."""
        place = self._random.randrange(len(events))
        again = list(self._store.read(events[0].stream, events[place].next, limit=20))
        if again != events[place + 1 : place + 21]:
            self._wrong(f"{name} {events[place].next}", "a read from there differs from a read of all")

    def _read_ranges(self, name: str, events: list[Event]) -> None:
        """The bytes under an event's offsets hold its payload."""
        for event in self._random.sample(events, min(len(events), RANGES_TRIED)):
            whole = self._store.read_bytes(event.stream, event.position, FRAME_BYTES)
            if event.payload not in whole:
                self._wrong(f"{name} {event.position}", "the bytes from there on do not hold its payload")
            within = event.position._replace(offset=event.position.offset + 1)
            some = self._store.read_bytes(event.stream, within, 50)
            if not some.startswith(whole[1:51]):
                self._wrong(f"{name} {event.position}", "a byte range from within differs")

    def _entries(self, stream: str, number: int, epoch: int) -> list[EntryAt]:
        catalog = self._store._catalog
        scan = SegmentScan(self._store._kv, catalog, SegmentKey(catalog.streams[stream].number, number, epoch))
        entries = []
        offset = scan.record.start
        while items := scan.entries_from(offset):
            for start, raw in items:
                head = entry.head(raw)
                entries.append(EntryAt(start, head.commit, self._boots.get(head.boot, 0) + head.appended_ns))
            offset = items[-1][0] + 1
        return entries

    def at(self, stream: str, position: Position) -> Identity | None:
        """Which event stands there."""
        found = self.found.get((stream, position.number, position.epoch))
        return None if found is None else found.live.get(position)


def damage(report: CheckReport) -> list[Finding]:
    """What a checker found, without the notes: what was thinned, or given up before it was sent, is noted as a gap."""
    return [finding for finding in report.findings if finding.severity == "error"]
