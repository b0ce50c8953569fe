"""What the tests of reader groups share."""

from __future__ import annotations

from storage import Event, FakeClock, SegmentId, SegmentStore
from storage.kv.memory import MemoryTwin
from storage.readers import GroupConfig, Reader, ReaderGroup
from storage.readers.group import Where
from storage.readers.group_codec import GroupCodec
from tests.storage.fake_streams import Streams


class Bench:
    """Streams that are scaled by hand, and groups on them whose state is in a store."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.twin = MemoryTwin()
        self.store = SegmentStore.in_memory(self.twin, clock=self.clock)
        self.streams = Streams(self.store)

    def group(self, start: Where = "head", stop: Where | None = None, name: str = "g", *streams: str) -> ReaderGroup:
        synchronizer = self.store.synchronizer(f"_system/groups/{name}", GroupCodec())
        config = GroupConfig(lease_s=10, record_interval_s=2, timeout_s=0.1)
        group = ReaderGroup(self.streams, synchronizer, name, config)
        group.set_up(streams or ("s",), start, stop)
        return group

    def append(self, *numbers: int, stream: str = "s") -> None:
        """Events of as many keys, so that each segment gets some."""
        for number in numbers:
            self.clock.advance(0.001)
            self.streams.append(stream, f"k{number}", b"%d" % number)

    def segments(self, stream: str = "s") -> list[SegmentId]:
        return [info.id for info in self.streams.stream(stream).segments if info.until is None]

    def power_cut(self) -> None:
        self.twin.power_cut()
        self.store = SegmentStore.in_memory(self.twin, clock=self.clock)
        self.streams.store = self.store


def read(*readers: Reader, rounds: int = 6, most: int = 100) -> list[int]:
    """The events of some rounds of reading, by their number."""
    return [
        int(item.payload)
        for _ in range(rounds)
        for reader in readers
        for item in reader.read(most)
        if isinstance(item, Event)
    ]
