"""Reader groups against a model: whatever happens, each event once for each checkpoint generation, in order of keys."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import Event, FakeClock, SegmentStore
from storage.errors import StoreBusyError, StoreFailedError
from storage.kv.memory import MemoryTwin
from storage.model import KeyRange, SegmentId
from storage.readers import CheckpointEvent, GroupConfig, Reader, ReaderGroup, ReaderPosition
from storage.readers.group_codec import GroupCodec
from tests.storage.fake_streams import Streams

STREAMS = ("s", "t")
READERS = ("a", "b", "c", "d")
Said = tuple[str, str, int]
"""An event: its stream, its key, and which of that key it is."""


class Run:
    """Readers deal with what they are handed and keep their position in one step, as `reader_offline` asks of them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = FakeClock()
        self.twin = MemoryTwin()
        self.store = SegmentStore.in_memory(self.twin, clock=self.clock)
        self.streams = Streams(self.store)
        self.said: list[Said] = []
        self.next: dict[tuple[str, str], int] = {}
        self.dealt_with: list[Said] = []
        self.online: dict[str, Reader] = {}
        self.kept: dict[str, ReaderPosition] = {}
        self.dead: set[str] = set()
        self.left_over: set[str] = set()
        """Of the dead, those from before a restart."""
        self.begun: dict[str, tuple[list[Said], set[str]]] = {}
        """Of a checkpoint: what was dealt with before it, and the readers that have not passed it."""
        self.streams.create("s", self.random.randint(1, 4))
        self.streams.create("t", 1)
        self.open_group()
        self.come_back()

    def open_group(self) -> None:
        config = GroupConfig(lease_s=1e9, record_interval_s=2.0)
        synchronizer = self.store.synchronizer("_system/groups/g", GroupCodec(), compact_bytes=2000)
        self.group = ReaderGroup(self.streams, synchronizer, "g", config)
        self.group.set_up(STREAMS, "head", None)

    def run(self, steps: int) -> None:
        choices = {
            self.append: 20, self.append_and_scale: 6, self.one_reads: 20, self.all_read: 8, self.read_and_die: 2,
            self.come_back: 4, self.lose: 4, self.checkpoint: 6, self.reset: 1, self.power_cut: 2, self.wait: 4,
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
                self.join(reader)

    def join(self, reader: str) -> None:
        if reader in self.online:
            return
        if reader in self.dead - self.left_over:
            self.declare_dead(reader)
        kept = self.kept.pop(reader, None)
        self.gone(reader)
        self.online[reader] = self.group.reader(reader, kept)

    def one_reads(self) -> None:
        reader = self.random.choice(READERS)
        if reader in self.online:
            self.step(reader, self.random.randint(1, 6))

    def all_read(self) -> None:
        for reader in list(self.online):
            self.step(reader, self.random.randint(1, 6))

    def read_and_die(self) -> None:
        """It dies before it has dealt with what it got."""
        reader = self.random.choice(READERS)
        if reader in self.online:
            self.online.pop(reader).read(3)
            self.dead.add(reader)

    def step(self, reader: str, most: int) -> bool:
        """One `read`. Whether it got anything."""
        items = self.online[reader].read(most)
        for item in items:
            if isinstance(item, CheckpointEvent):
                self.begun[item.name][1].discard(reader)
            elif isinstance(item, Event):
                self.deal_with(reader, (item.stream, item.routing_key, int(item.payload)))
        self.kept[reader] = self.online[reader].position
        assert ReaderPosition.parse(str(self.kept[reader])) == self.kept[reader]
        return bool(items)

    def deal_with(self, reader: str, event: Said) -> None:
        stream, key, number = event
        before = sum(other[:2] == (stream, key) for other in self.dealt_with)
        assert number == before, f"{event} was read as number {before} of its key"
        self.dealt_with.append(event)
        for behind, waiting in self.begun.values():
            if reader in waiting:
                behind.append(event)

    def lose(self) -> None:
        reader, how = self.random.choice(READERS), self.random.randrange(3)
        if reader in self.online:
            gone = self.online.pop(reader)
            if how == 0:
                gone.close()
                self.kept.pop(reader, None)
                self.gone(reader)
                return
            self.dead.add(reader)
        if reader in self.dead and how == 1:
            self.declare_dead(reader)

    def declare_dead(self, reader: str) -> None:
        self.group.reader_offline(reader, self.kept.pop(reader, None))
        self.gone(reader)

    def gone(self, reader: str) -> None:
        self.dead.discard(reader)
        self.left_over.discard(reader)
        for _, waiting in self.begun.values():
            waiting.discard(reader)

    # checkpoints, resets, restarts

    def checkpoint(self) -> None:
        name = f"c{len(self.begun)}"
        with suppress(StoreBusyError):
            self.group.checkpoint(name)
            self.begun[name] = (list(self.dealt_with), {*self.online, *self.dead})

    def complete(self) -> list[str]:
        return [checkpoint.name for checkpoint in self.group._synchronizer.fetch().complete]

    def reset(self) -> None:
        if complete := self.complete():
            self.reset_to(self.random.choice(complete))
            self.come_back()

    def reset_to(self, name: str) -> None:
        self.group.reset_to_checkpoint(name)
        self.dealt_with = list(self.begun[name][0])
        for held in (self.online, self.kept, self.dead, self.left_over):
            held.clear()
        for _, waiting in self.begun.values():
            waiting.clear()

    def power_cut(self) -> None:
        reader = self.random.choice(READERS)
        if reader in self.online:
            self.twin.failing_syncs = 1
            with suppress(StoreFailedError):
                self.step(reader, 3)
            self.twin.failing_syncs = 0
        self.twin.power_cut(keep=self.random.randint(0, self.twin.unsynced_batches))
        self.store = SegmentStore.in_memory(self.twin, clock=self.clock)
        self.streams.store = self.store
        self.dead |= set(self.online)
        self.left_over = set(self.dead)
        self.online.clear()
        self.open_group()
        self.come_back()

    def wait(self) -> None:
        self.clock.advance(self.random.randint(1, 4))

    # what holds

    def look(self) -> None:
        """Each segment has one reader, and where the group stands is a cut of the key space."""
        state = self.group._synchronizer.fetch()
        owned = [segment for segments in self.group.readers.values() for segment in segments]
        assert len(owned) == len(set(owned))
        for cut_of in (self.group.cut(), self.group.retention_cut()):
            assert set(cut_of) == set(STREAMS)
            for stream, cut in cut_of.items():
                keys = {info.id: info.keys for info in self.streams.stream(stream).segments}
                ranges = sorted((keys[SegmentId(stream, *p[:2])] for p in cut.positions), key=lambda of: of.low)
                assert [of.low for of in ranges] == [0, *(of.high for of in ranges[:-1])]
                assert ranges[-1].high == 1 << 64
        assert GroupCodec().decode_state(GroupCodec().encode_state(state)) == state

    def end(self) -> None:
        self.read_to_the_end()
        for name in self.complete():
            self.reset_to(name)
            self.look()
            self.read_to_the_end()
        self.store.close()

    def read_to_the_end(self) -> None:
        for reader in list(self.dead):
            self.declare_dead(reader)
        for reader in READERS:
            self.join(reader)
        quiet = rounds = 0
        while quiet < 12:
            rounds += 1
            assert rounds < 500, "the readers come to an end"
            got = [self.step(reader, 50) for reader in list(self.online)]
            quiet = 0 if any(got) else quiet + 1
        self.look()
        assert sorted(self.dealt_with) == sorted(self.said), "each event once"
        shares = [len(segments) for segments in self.group.readers.values()]
        assert max(shares) - min(shares) <= 1, "shares are fair"
        assert self.group.unread_bytes() == dict.fromkeys(STREAMS, 0)
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
