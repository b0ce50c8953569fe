"""Rules of a reader group: its readers deal with each event once for each checkpoint generation, those of a key in order."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from storage import Event, SegmentId
from storage.errors import StoreBusyError
from storage.readers import CheckpointEvent, GroupConfig, Reader, ReaderGroup, ReaderPosition
from tests.storage.model.bench import Bench, survives
from tests.storage.model.submissions import Place

READ = ("a", "b/c")
READERS = ("p", "q", "r")
DealtWith = list[tuple[str, Place]]

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
    """Readers keep their position and what they made of the events in one step, as `reader_offline` asks of them."""

    def __init__(self) -> None:
        self.group: ReaderGroup | None = None
        self.dealt_with: DealtWith = []
        self.online: dict[str, Reader] = {}
        self.kept_at: dict[str, ReaderPosition] = {}
        self.dead: set[str] = set()
        self.left_over: set[str] = set()
        """Of the dead, those from before a restart."""
        self.begun: dict[str, tuple[DealtWith, set[str]]] = {}
        """Of a checkpoint: what was dealt with before it, and the readers that have not passed it."""
        super().__init__()

    def come_back(self) -> None:
        super().come_back()
        self.dead |= set(self.online)
        self.left_over = set(self.dead)
        self.online.clear()
        if self.group is not None:
            self.open_group()

    def open_group(self) -> ReaderGroup:
        config = GroupConfig(lease_s=1e9, record_interval_s=2.0)
        self.group = self.store.reader_group("g", READ, config=config)
        return self.group

    # what readers do

    @rule(steps=steps_of_readers)
    @survives
    def readers_read(self, steps: list[tuple[str, str, int]]) -> None:
        self.group = self.group or self.open_group()
        for what, reader, most in steps:
            if what == "read":
                self.join(reader)
                self.read_one(reader, most)
            elif reader not in self.online:
                continue
            elif what == "close":
                self.close(reader)
            else:
                if what == "die reading":
                    self.online[reader].read(most)  # It dies before it has dealt with what it got.
                del self.online[reader]
                self.dead.add(reader)
            self.look_at_group()

    def join(self, reader: str) -> None:
        if reader in self.online or self.group is None:
            return
        if reader in self.dead - self.left_over:
            self.declare_dead(reader)
        self.dead.add(reader)
        self.left_over.add(reader)
        self.online[reader] = self.group.reader(reader, self.kept_at.get(reader))
        self.kept_at.pop(reader, None)
        self.gone(reader)

    def declare_dead(self, reader: str) -> None:
        assert self.group is not None
        self.group.reader_offline(reader, self.kept_at.get(reader))
        self.kept_at.pop(reader, None)
        self.gone(reader)

    def close(self, reader: str) -> None:
        self.online[reader].close()
        del self.online[reader]
        self.kept_at.pop(reader, None)
        self.gone(reader)

    def gone(self, reader: str) -> None:
        self.dead.discard(reader)
        self.left_over.discard(reader)
        for _, waiting in self.begun.values():
            waiting.discard(reader)

    def read_one(self, reader: str, most: int) -> bool:
        """One `read`. Whether it got anything."""
        items = self.online[reader].read(most)
        self.settle()
        self.learn()
        for item in items:
            if isinstance(item, CheckpointEvent):
                self.begun[item.name][1].discard(reader)
            elif isinstance(item, Event):
                self.deal_with(reader, item)
        self.kept_at[reader] = self.online[reader].position
        return bool(items)

    def deal_with(self, reader: str, event: Event) -> None:
        name = event.stream
        stream = self.model.streams[name]
        place = self.known.seen[name, event.position]
        self.expect_events(name, [event], [place])
        before = set(self.dealt_with)
        assert (name, place) not in before, "handed out again"
        for other in stream.history({}):
            if other == place:
                break
            segment = stream.segments[other.segment]
            same = segment.said[other.ordinal].key == event.routing_key
            assert not same or (name, other) in before or other.ordinal < segment.start, "not in the order of its key"
        self.dealt_with.append((name, place))
        for behind, waiting in self.begun.values():
            if reader in waiting:
                behind.append((name, place))

    # checkpoints

    @precondition(lambda self: self.group is not None)
    @rule(value=st.integers(0, 30))
    @survives
    def checkpoint_or_reset(self, value: int) -> None:
        assert self.group is not None
        complete = self.complete()
        if complete and value < 6:
            self.steps_left = None  # Whether it came to that could not be told.
            self.reset_to(complete[value % len(complete)])
            return
        name = f"c{len(self.begun)}"
        self.begun[name] = (list(self.dealt_with), {*self.online, *self.dead})
        try:
            self.group.checkpoint(name)
        except StoreBusyError:
            del self.begun[name]

    def complete(self) -> list[str]:
        return [] if self.group is None else [each.name for each in self.group._synchronizer.fetch().complete]

    def reset_to(self, name: str) -> None:
        assert self.group is not None
        self.group.reset_to_checkpoint(name)
        self.dealt_with = list(self.begun[name][0])
        for held in (self.online, self.kept_at, self.dead, self.left_over):
            held.clear()
        for _, waiting in self.begun.values():
            waiting.clear()

    # what holds

    def look_at_group(self) -> None:
        """Each segment has one reader, and where the group stands is a cut of the key space."""
        if self.group is None:
            return
        owned = [segment for segments in self.group.readers.values() for segment in segments]
        assert len(owned) == len(set(owned))
        for cut_of in (self.group.cut(), self.group.retention_cut()):
            assert set(cut_of) == set(READ)
            for stream, cut in cut_of.items():
                keys = {info.id: info.keys for info in self.store.stream(stream).segments}
                ranges = sorted((keys[SegmentId(stream, *p[:2])] for p in cut.positions), key=lambda of: of.low)
                assert [of.low for of in ranges] == [0, *(of.high for of in ranges[:-1])]
                assert ranges[-1].high == 1 << 64

    def at_the_end(self) -> None:
        super().at_the_end()
        if self.group is None:
            return
        self.read_to_the_end()
        for name in self.complete():
            self.reset_to(name)
            self.read_to_the_end()

    def read_to_the_end(self) -> None:
        assert self.group is not None
        for reader in list(self.dead):
            self.declare_dead(reader)
        for reader in READERS:
            self.join(reader)
        quiet = rounds = 0
        while quiet < 8:
            rounds += 1
            assert rounds < 500, "the readers come to an end"
            got = [self.read_one(reader, 50) for reader in list(self.online)]
            quiet = 0 if any(got) else quiet + 1
        self.look_at_group()
        live = {(name, place) for name in READ for place in self.model.streams[name].live({})}
        assert live <= set(self.dealt_with), "left out"
        shares = [len(segments) for segments in self.group.readers.values()]
        assert max(shares) - min(shares) <= 1, "shares are fair"
        assert self.group.unread_bytes() == dict.fromkeys(READ, 0)
