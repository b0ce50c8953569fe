"""Reader groups against a model: whatever happens, each event once for each checkpoint generation, in order of keys."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import Event, FakeClock, SegmentStore
from storage.errors import StoreFailedError
from storage.kv.memory import MemoryTwin
from storage.model import KeyRange
from storage.readers import GroupConfig, ReaderGroup, ReaderPosition
from storage.readers.group_codec import GroupCodec
from tests.storage.crew import Crew
from tests.storage.fake_streams import Streams

STREAMS = ("s", "t")
READERS = ("a", "b", "c", "d")
Said = tuple[str, str, int]
"""An event: its stream, its key, and which of that key it is."""


class Run:
    """Readers of a group, and what happens to them and to the streams."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = FakeClock()
        self.twin = MemoryTwin()
        self.store = SegmentStore.in_memory(self.twin, clock=self.clock)
        self.streams = Streams(self.store)
        self.said: list[Said] = []
        self.next: dict[tuple[str, str], int] = {}
        self.crew: Crew[Said] = Crew(READERS, STREAMS, self.streams.stream)
        self.streams.create("s", self.random.randint(1, 4))
        self.streams.create("t", 1)
        self.open_group()
        self.come_back()

    def open_group(self) -> None:
        config = GroupConfig(lease_s=1e9, record_interval_s=2.0)
        synchronizer = self.store.synchronizer("_system/groups/g", GroupCodec(), compact_bytes=2000)
        self.group = ReaderGroup(self.streams, synchronizer, "g", config)
        self.group.set_up(STREAMS, "head", None)
        self.crew.come_back(self.group)

    def run(self, steps: int) -> None:
        choices = {
            self.append: 20, self.append_and_scale: 6, self.one_reads: 20, self.all_read: 8, self.read_and_die: 2,
            self.come_back: 4, self.lose: 4, self.crew.checkpoint: 6, self.reset: 1, self.power_cut: 2, self.wait: 4,
        }  # fmt: skip
        for _ in range(steps):
            self.random.choices(list(choices), list(choices.values()))[0]()
            self.look()
        self.end()

    # what happens to the streams

    def append(self) -> None:
        stream = self.random.choice(STREAMS)
        for _ in range(self.random.randint(1, 8)):
            key = f"k{self.random.randrange(10)}"
            number = self.next.get((stream, key), 0)
            self.next[stream, key] = number + 1
            self.said.append((stream, key, number))
            self.streams.append(stream, key, b"%d" % number)

    def append_and_scale(self) -> None:
        if self.random.random() < 0.5:
            self.append()
        stream = self.random.choice(STREAMS)
        infos = [info for info in self.streams.stream(stream).segments if info.until is None]
        infos.sort(key=lambda info: info.keys.low)
        first = self.random.randrange(len(infos))
        last = self.random.randint(first, min(first + 1, len(infos) - 1))
        parts = self.random.randint(1, 3) if len(infos) < 6 else 1
        whole = KeyRange(infos[first].keys.low, infos[last].keys.high)
        self.streams.scale(stream, [info.id for info in infos[first : last + 1]], list(whole.split(parts)))

    # what readers do

    def come_back(self) -> None:
        for reader in READERS:
            if self.random.random() < 0.6:
                self.crew.join(reader)

    def one_reads(self) -> None:
        reader = self.random.choice(READERS)
        if reader in self.crew.online:
            self.step(reader, self.random.randint(1, 6))

    def all_read(self) -> None:
        for reader in list(self.crew.online):
            self.step(reader, self.random.randint(1, 6))

    def read_and_die(self) -> None:
        """It dies before it has dealt with what it got."""
        reader = self.random.choice(READERS)
        if reader in self.crew.online:
            self.crew.online[reader].read(3)
            self.crew.die(reader)

    def step(self, reader: str, most: int) -> bool:
        """One `read`. Whether it got anything."""
        items = self.crew.online[reader].read(most)
        self.crew.deal_with(reader, items, self.next_of_its_key)
        kept = self.crew.kept[reader]
        assert ReaderPosition.parse(str(kept)) == kept
        return bool(items)

    def next_of_its_key(self, event: Event) -> Said:
        said = event.stream, event.routing_key, int(event.payload)
        before = sum(other[:2] == said[:2] for other in self.crew.dealt_with)
        assert said[2] == before, f"{said} was read as number {before} of its key"
        return said

    def lose(self) -> None:
        reader, how = self.random.choice(READERS), self.random.randrange(3)
        if reader in self.crew.online:
            if how == 0:
                self.crew.close(reader)
                return
            self.crew.die(reader)
        if reader in self.crew.dead and how == 1:
            self.crew.declare_dead(reader)

    # resets, restarts

    def reset(self) -> None:
        if complete := self.crew.complete():
            self.crew.reset_to(self.random.choice(complete))
            self.come_back()

    def power_cut(self) -> None:
        reader = self.random.choice(READERS)
        if reader in self.crew.online:
            self.twin.failing_syncs = 1
            with suppress(StoreFailedError):
                self.step(reader, 3)
            self.twin.failing_syncs = 0
        self.twin.power_cut(keep=self.random.randint(0, self.twin.unsynced_batches))
        self.store = SegmentStore.in_memory(self.twin, clock=self.clock)
        self.streams.store = self.store
        self.open_group()
        self.come_back()

    def wait(self) -> None:
        self.clock.advance(self.random.randint(1, 4))

    # what holds

    def look(self) -> None:
        self.crew.look()
        state = self.group._synchronizer.fetch()
        assert GroupCodec().decode_state(GroupCodec().encode_state(state)) == state

    def end(self) -> None:
        self.read_to_the_end()
        for name in self.crew.complete():
            self.crew.reset_to(name)
            self.look()
            self.read_to_the_end()
        self.store.close()

    def read_to_the_end(self) -> None:
        self.crew.read_to_the_end(self.step)
        assert sorted(self.crew.dealt_with) == sorted(self.said), "each event once"
        assert not self.group._synchronizer.fetch().ongoing


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32))
def test_each_event_once_whatever_happens(seed: int) -> None:
    Run(seed).run(60)


@pytest.mark.long
@pytest.mark.timeout(900)
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32))
def test_each_event_once_whatever_happens_at_length(seed: int) -> None:
    Run(seed).run(200)
