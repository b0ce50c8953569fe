"""Rules that write: appends of every kind, scales, seals, truncations."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import strategies as st
from hypothesis.stateful import rule

from storage import KeyRange, SegmentId
from storage.errors import StorageError, StoreFullError
from tests.storage.model.bench import STREAMS, WRITERS, Bench, survives
from tests.storage.model.semantics import Model, Segment
from tests.storage.model.submissions import Append, Appends, Said, Scale, Seal, Truncate

KEYS = [f"pump-{number}" for number in range(8)]
MOST_SEGMENTS = 40

keys = st.sampled_from(KEYS)
counts = st.sampled_from([1, 1, 1, 2, 5])
sizes = st.sampled_from([0, 0, 0, 0, 60, 700])


class Writing(Bench):
    """Appends to streams of several segments, alone and together."""

    def event(self, key: str, size: int, writer: str | None = None, number: int | None = None) -> Said:
        self.said += 1
        return Said(key, b"%d:" % self.said + b"x" * size, self.clock.wall_ns(), writer, number)

    def send(self, *appends: Append, cursor: bool = False) -> None:
        if cursor:
            self.cursor += 1
        try:
            # Every fourth is removed.
            state = b"%d" % self.cursor if self.cursor % 4 else b""
            self.submit(Appends(appends, {"cursor": state} if cursor else {}))
        except StoreFullError:
            names = [STREAMS[append.stream] for append in appends]
            assert any(config.when_full == "block" and config.retention.max_bytes for config in names)

    def expected(self) -> Model:
        """What will be durable if nothing happens."""
        model = self.model.copy()
        for each in self.in_flight:
            with suppress(StorageError):
                model.take(each.submission, 1 << 60)
        return model

    @rule(bursts=st.lists(st.tuples(st.integers(0, 4), keys, counts, sizes, st.booleans()), min_size=1, max_size=6))
    @survives
    def append(self, bursts: list[tuple[int, str, int, int, bool]]) -> None:
        for where, key, count, size, commit in bursts:
            said = [self.event(key, size) for _ in range(count)]
            self.send(Append(self.stream_of(where), said), cursor=commit)
            if commit:
                self.store.commit()
                self.settle()

    @rule(groups=st.lists(st.tuples(st.booleans(), keys, sizes), min_size=2, max_size=5), cursor=st.booleans())
    def append_to_several_streams(self, groups: list[tuple[bool, str, int]], cursor: bool) -> None:
        appends = []
        for where, name in enumerate(self.names()[:2]):
            said = [self.event(key, size) for other, key, size in groups if int(other) == where]
            if said:
                appends.append(Append(name, said))
        self.send(*appends, cursor=cursor)

    @rule(
        where=st.integers(0, 4), writer=st.sampled_from(WRITERS),
        bursts=st.lists(st.tuples(st.integers(-5, 1), st.integers(1, 4), keys, keys), min_size=1, max_size=4),
    )  # fmt: skip
    @survives
    def append_numbered(self, where: int, writer: str, bursts: list[tuple[int, int, str, str]]) -> None:
        """From the next number on, from an earlier one once more, or with one left out."""
        name = self.stream_of(where)
        for back, count, key, other in bursts:
            last = self.expected().streams[name].numbers.get(writer, -1)
            first = max(0, last + 1 + (back if back > -3 else 0))
            said = [self.event(key if i % 2 else other, 0, writer, first + i) for i in range(count)]
            self.send(Append(name, said), cursor=True)
            if count > 1:
                self.store.commit()
                self.settle()

    @rule(where=st.integers(0, 4), key=keys, rivals=st.integers(1, 4), late=st.booleans())
    @survives
    def append_conditionally(self, where: int, key: str, rivals: int, late: bool) -> None:
        """Of those who expect the same length one wins, unless another was there before."""
        self.commit_all()
        name = self.stream_of(where)
        if not self.model.streams[name].open:
            return
        expected = len(self.model.streams[name].segment_of(key).said)
        if late:
            self.send(Append(name, [self.event(key, 0)]))
        for _ in range(rivals):
            self.send(Append(name, [self.event(key, 0)], expected))

    @rule(create=st.booleans())
    @survives
    def commit(self, create: bool) -> None:
        self.store.commit()
        if create and len(self.model.streams) < len(STREAMS):
            self.create("d")

    def commit_all(self) -> None:
        for _ in range(100):
            if not self.in_flight or not (self.store.commit() or self.store.blocked):
                break
        self.settle()
        self.learn()

    @rule(where=st.integers(0, 4), first=st.integers(0, 20), merged=st.integers(1, 3), parts=st.integers(1, 3))
    @survives
    def scale(self, where: int, first: int, merged: int, parts: int) -> None:
        """Split, merge, or both; now and then what may be sealed already."""
        name = self.stream_of(where)
        stream = self.model.streams[name]
        if first == 20:
            segment = stream.segments[merged * parts % len(stream.segments)]
            self.scale_to(name, [segment], segment.keys.split())
            return
        segments = sorted(stream.open, key=lambda segment: segment.keys.low)
        if not segments or len(stream.segments) >= MOST_SEGMENTS:
            return
        first %= len(segments)
        sealed = segments[first : first + merged]
        parts = parts if len(segments) < 6 else 1
        self.scale_to(name, sealed, KeyRange(sealed[0].keys.low, sealed[-1].keys.high).split(parts))

    def scale_to(self, name: str, sealed: list[Segment], ranges: tuple[KeyRange, ...]) -> None:
        ids = [SegmentId(name, segment.number, segment.epoch) for segment in sealed]
        scale = Scale(name, [segment.number for segment in sealed], ranges)
        self.wait_for(scale, lambda: self.store.scale(name, ids, ranges))

    @rule(where=st.integers(0, 4), value=st.integers(0, 10_000))
    @survives
    def truncate_or_seal(self, where: int, value: int) -> None:
        """At the position of an event: in its segment what lies before its commit goes, the others stay.

        Seldom a stream is sealed, which ends much of what can happen to it.
        """
        name = self.stream_of(where)
        stream = self.model.streams[name]
        if value % 20 == 0 and where:
            self.wait_for(Seal(name), lambda: self.store.seal(name))
            return
        live = stream.live({})
        if live:
            place = live[value % len(live)]
            position = self.known.at[name, place]
            self.overtake(Truncate(name, {place.segment: place.ordinal}), lambda: self.store.truncate(name, position))
