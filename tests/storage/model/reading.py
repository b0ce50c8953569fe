"""Rules that read: from everywhere, up to everywhere, by readers that look once and by readers that stay."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import rule

from storage import Event, Gap, Position, StreamCut
from storage.merging import StreamReader
from tests.storage.model.bench import Bench, survives
from tests.storage.model.submissions import Place, Places, Truncate


@dataclass
class Kept:
    """A place in a stream as text, as somebody keeps it."""

    stream: str
    cut: str
    places: Places


@dataclass
class Tail:
    """A reader that stays, and what it has handed out."""

    stream: str
    reader: StreamReader
    cut: str
    places: dict[int, int] = field(default_factory=dict)
    resumed: bool = False


class Reading(Bench):
    """Reads at a moment, StreamCuts that are kept, and readers at the tail."""

    def __init__(self) -> None:
        self.cuts: list[Kept] = []
        self.tails: list[Tail] = []
        super().__init__()

    def place_at(self, name: str, position: Position) -> Place:
        """Which event stands at a position, the end of its segment included."""
        place = self.known.seen.get((name, position))
        if place is not None:
            return place
        said = self.model.streams[name].segments[position.number].said
        assert position.offset == self.offset(name, Place(position.number, len(said))), "no event stands there"
        return Place(position.number, len(said))

    def expect_read(
        self, name: str, start: Position | StreamCut | str, places: Places, stop: Kept | None = None
    ) -> None:
        """A read is what the model says, and what is missing before the first event of a segment is told once."""
        stream = self.model.streams[name]
        gaps: list[Gap] = []
        end = None if stop is None else StreamCut.parse(stop.cut)
        events = list(self.store.read(name, start, stop=end, on_gap=gaps.append))
        until = None if stop is None else stop.places
        self.expect_events(name, events, stream.live(places, until))
        told = [gap.position.number for gap in gaps]
        assert len(set(told)) == len(told), "told twice"
        for segment in stream.segments:
            missed = [i for _, i in stream.history(places, until) if _ == segment.number and i < segment.start]
            assert (segment.number in told) == bool(missed), f"{segment.number}: {missed} are gone, told: {gaps}"

    # reading at a moment

    @rule(
        what=st.sampled_from(["positions", "positions", "a time", "a segment", "cuts", "cuts"]), where=st.integers(0, 4),
        values=st.lists(st.integers(0, 10_000), min_size=2, max_size=8),
    )  # fmt: skip
    def read(self, what: str, where: int, values: list[int]) -> None:
        if what == "positions":
            self.read_from_positions(where, values)
        elif what == "a time":
            self.read_from_a_time(where, values[0] % 60)
        elif what == "a segment":
            self.read_a_segment(where, values[0], 1 + values[1] % 4)
        else:
            self.read_kept_cuts(values[0], values[1])

    def read_from_positions(self, where: int, values: list[int]) -> None:
        """Of events, and behind them; now and then of one that was given up."""
        name = self.stream_of(where)
        stream = self.model.streams[name]
        for value in values:
            places = stream.history({}) if value % 5 == 0 else stream.live({})
            if not places:
                continue
            place = places[value // 2 % len(places)]
            if value % 2:
                behind = place._replace(ordinal=place.ordinal + 1)
                self.expect_read(name, self.known.behind[name, place], stream.at(behind))
            else:
                self.expect_read(name, self.known.at[name, place], stream.at(place))

    def read_from_a_time(self, where: int, ago: int) -> None:
        name = self.stream_of(where)
        stream = self.model.streams[name]
        since = self.clock.wall_ns() - ago * 1_000_000_000
        self.expect_read(name, f"{ago}s", stream.since(since))

    @rule(where=st.integers(0, 4), values=st.lists(st.integers(0, 10_000), min_size=1, max_size=3))
    def keep_cuts(self, where: int, values: list[int]) -> None:
        name = self.stream_of(where)
        stream = self.model.streams[name]
        live = stream.live({})
        self.keep(name, "tail", stream.tail())
        for value in values:
            if value % 4 == 0 or not live:
                self.keep(name, "head", stream.head())
            else:
                place = live[value % len(live)]
                self.keep(name, self.known.at[name, place], stream.at(place))

    def keep(self, name: str, where: str | Position, places: Places) -> None:
        """A cut says nothing of what follows a segment that is not read to its end: that is read from its beginning."""
        cut = self.store.cut(name, where)
        segments = self.model.streams[name].segments
        named = [segments[position.number] for position in cut.positions]
        follows = {
            segment.number: 0
            for segment in segments
            if any(one.epoch < segment.epoch and one.keys.overlaps(segment.keys) for one in named)
            and places.get(segment.number, 0) <= segment.start
        }
        self.cuts.append(Kept(name, str(cut), {**places, **follows}))
        del self.cuts[:-12]

    def read_kept_cuts(self, one: int, other: int) -> None:
        if self.cuts:
            start, stop = self.cuts[one % len(self.cuts)], self.cuts[other % len(self.cuts)]
            self.expect_read(start.stream, StreamCut.parse(start.cut), start.places)
            if start.stream == stop.stream:
                self.expect_read(start.stream, StreamCut.parse(start.cut), start.places, stop)

    @rule(value=st.integers(0, 20))
    @survives
    def truncate_at_a_kept_cut(self, value: int) -> None:
        if self.cuts and value < 10:
            kept = self.cuts[value % len(self.cuts)]
            cut = StreamCut.parse(kept.cut)
            self.overtake(Truncate(kept.stream, kept.places), lambda: self.store.truncate(kept.stream, cut))

    def read_a_segment(self, where: int, value: int, most: int) -> None:
        """One segment in small steps is the same as in one."""
        name = self.stream_of(where)
        stream = self.model.streams[name]
        segment = stream.segments[value % len(stream.segments)]
        info = self.store.stream(name).segments[segment.number]
        reader = self.store.segment_reader(info.id, Position(segment.number, segment.epoch, info.start))
        events: list[Event] = []
        while items := reader.poll(most):
            assert len(items) <= most
            events += [item for item in items if isinstance(item, Event)]
        live = range(segment.start, len(segment.said))
        self.expect_events(name, events, [Place(segment.number, index) for index in live])

    # readers that stay

    def follow(self, where: int, value: int) -> None:
        name = self.stream_of(where)
        stream = self.model.streams[name]
        start, places = [("head", stream.head()), ("tail", stream.tail())][value % 2]
        reader = self.store.reader(name, start)
        self.tails.append(Tail(name, reader, str(reader.cut), dict(places)))
        del self.tails[:-4]

    @rule(steps=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1, 2, 3, 50])), min_size=1, max_size=6))
    def read_on(self, steps: list[tuple[int, int]]) -> None:
        """Another one follows now and then."""
        for value, most in steps:
            if most == 50 or not self.tails:
                self.follow(value, len(self.tails))
            else:
                tail = self.tails[value % len(self.tails)]
                self.take_in(tail, tail.reader.poll(most))

    def take_in(self, tail: Tail, items: list[Event | Gap]) -> None:
        """What was handed out comes next; what was left out was given up, and that was told."""
        name, stream = tail.stream, self.model.streams[tail.stream]
        if not items:
            assert stream.live(tail.places) == [], "there is more"
        ahead = iter(stream.history(tail.places))
        for item in items:
            number = item.position.number
            if isinstance(item, Gap):
                place = self.place_at(name, item.next)
                was = tail.places.get(number, 0)
                assert place.ordinal <= stream.segments[number].start
                # A cut does not say of what follows a segment whether its missing head was told.
                assert was < place.ordinal or (tail.resumed and item.position.offset == 0), "told twice"
                tail.places[number] = max(was, place.ordinal)
                continue
            place = self.known.seen[name, item.position]
            self.expect_events(name, [item], [place])
            assert place.ordinal == tail.places.get(number, 0), "left out without a word, or handed out again"
            for other in ahead:
                if other == place:
                    break
                given_up = stream.segments[other.segment].start
                assert other.ordinal < given_up, "out of order"
            else:
                raise AssertionError("out of order, or handed out again")
            tail.places[number] = place.ordinal + 1
        tail.cut = str(tail.reader.cut)

    def at_the_end(self) -> None:
        """From behind every event, from every cut, by every reader that stayed."""
        super().at_the_end()
        for name, stream in self.model.streams.items():
            for place in stream.live({})[:60]:
                behind = place._replace(ordinal=place.ordinal + 1)
                self.expect_read(name, self.known.behind[name, place], stream.at(behind))
        for kept in self.cuts:
            self.expect_read(kept.stream, StreamCut.parse(kept.cut), kept.places)
        for tail in self.tails:
            while items := tail.reader.poll(3):
                self.take_in(tail, items)
            self.take_in(tail, [])

    def come_back(self) -> None:
        super().come_back()
        for tail in self.tails:
            tail.resumed = True
            tail.reader = self.store.reader(tail.stream, StreamCut.parse(tail.cut))
