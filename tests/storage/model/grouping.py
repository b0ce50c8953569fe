"""Rules of a reader group: its readers deal with each event once for each checkpoint generation, those of a key in order."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from storage import Event
from storage.model import StreamInfo
from storage.readers import GroupConfig
from tests.storage.crew import Crew
from tests.storage.model.bench import Bench, survives
from tests.storage.model.submissions import Place

READ = ("a", "b/c")
READERS = ("p", "q", "r")

steps_of_readers = st.lists(
    st.tuples(
        st.sampled_from(["read", "read", "read", "read", "read", "read", "close", "die", "die reading"]),
        st.sampled_from(READERS),
        st.integers(1, 5),
    ),
    min_size=1,
    max_size=8,
)


class Grouping(Bench):
    """The readers of one group."""

    def __init__(self) -> None:
        self.crew: Crew[tuple[str, Place]] = Crew(READERS, READ, self.stream_info)
        self.grouped = False
        super().__init__()

    def stream_info(self, name: str) -> StreamInfo:
        return self.store.stream(name)

    def come_back(self) -> None:
        super().come_back()
        if self.grouped:
            self.open_group()

    def open_group(self) -> None:
        config = GroupConfig(lease_s=1e9, record_interval_s=2.0)
        self.crew.come_back(self.store.reader_group("g", READ, config=config))
        self.grouped = True

    # what readers do

    @rule(steps=steps_of_readers)
    @survives
    def readers_read(self, steps: list[tuple[str, str, int]]) -> None:
        if not self.grouped:
            self.open_group()
        crew = self.crew
        for what, reader, most in steps:
            if what == "read":
                crew.join(reader)
                self.read_one(reader, most)
            elif reader not in crew.online:
                continue
            elif what == "close":
                crew.close(reader)
            else:
                if what == "die reading":
                    crew.online[reader].read(most)  # It dies before it has dealt with what it got.
                crew.die(reader)
            crew.look()

    def read_one(self, reader: str, most: int) -> bool:
        """One `read`. Whether it got anything."""
        items = self.crew.online[reader].read(most)
        self.settle()
        self.learn()
        self.crew.deal_with(reader, items, self.known_event)
        return bool(items)

    def known_event(self, event: Event) -> tuple[str, Place]:
        """It is one that was stored, it was not handed out yet, and all of its key before it were."""
        name = event.stream
        stream = self.model.streams[name]
        place = self.known.seen[name, event.position]
        self.expect_events(name, [event], [place])
        before = set(self.crew.dealt_with)
        assert (name, place) not in before, "handed out again"
        for other in stream.history({}):
            if other == place:
                break
            segment = stream.segments[other.segment]
            same = segment.said[other.ordinal].key == event.routing_key
            assert not same or (name, other) in before or other.ordinal < segment.start, "not in the order of its key"
        return name, place

    # checkpoints

    @precondition(lambda self: self.grouped)
    @rule(value=st.integers(0, 30))
    @survives
    def checkpoint_or_reset(self, value: int) -> None:
        complete = self.crew.complete()
        if complete and value < 6:
            self.steps_left = None  # Whether it came to that could not be told.
            self.crew.reset_to(complete[value % len(complete)])
        else:
            self.crew.checkpoint()

    # what holds

    def at_the_end(self) -> None:
        super().at_the_end()
        if not self.grouped:
            return
        self.read_to_the_end()
        for name in self.crew.complete():
            self.crew.reset_to(name)
            self.read_to_the_end()

    def read_to_the_end(self) -> None:
        self.crew.read_to_the_end(self.read_one)
        live = {(name, place) for name in READ for place in self.model.streams[name].live({})}
        assert live <= set(self.crew.dealt_with), "left out"
