"""Rules of a hub: what it holds of the store is at any moment a prefix of it, at the same places."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from storage import SegmentStore
from storage.kv.memory import MemoryTwin
from storage.mirror.unit import Unit
from storage.model import is_internal
from tests.storage.model.bench import Bench
from tests.storage.model.submissions import Place


class Mirroring(Bench):
    """Units are cut, lost, resent; the hub loses power."""

    def __init__(self) -> None:
        self.hub_twin = MemoryTwin()
        self.hub: SegmentStore | None = None
        self.cut_units: list[tuple[Unit, dict[str, list[Place]]]] = []
        """Units that were cut, and what was in them."""
        self.upstream_is_set_up = False
        self.sent: dict[str, list[Place]] = {}
        super().__init__()

    @initialize(set_up=st.booleans())
    def set_up_an_upstream(self, set_up: bool) -> None:
        """One that is not reached yet keeps everything."""
        self.upstream_is_set_up = set_up

    @rule(max_bytes=st.sampled_from([1, 400, 1 << 20]), units=st.integers(0, 8), twice=st.booleans())
    def replicate(self, max_bytes: int, units: int, twice: bool) -> None:
        if self.hub is not None and units == 0:
            self.hub_twin.power_cut()
            self.hub = SegmentStore.in_memory(self.hub_twin, clock=self.clock)
        for _ in range(units):
            if not self.send_a_unit(max_bytes, twice):
                break
        self.look_at_hub()

    def send_a_unit(self, max_bytes: int, twice: bool = False) -> bool:
        hub = self.hub = self.hub or SegmentStore.in_memory(self.hub_twin, clock=self.clock)
        held = hub.holdings("g")
        unit = self.store.next_unit("g", held.streams, self.wanted, max_bytes, held.boots)
        if unit is None:
            return False
        content = {part.stream: self.content(part.stream, part.after, part.through) for part in unit.parts}
        for _ in range(1 + twice):
            hub.submit_unit(unit).result()
        for name, places in content.items():
            self.sent[name] = [*self.sent.get(name, ()), *places]
        return True

    @staticmethod
    def wanted(name: str) -> bool:
        return not is_internal(name)

    def content(self, name: str, after: int, through: int) -> list[Place]:
        stream = self.model.streams[name]
        return [
            place
            for place in stream.live({})
            if after < stream.segments[place.segment].commits[place.ordinal] <= through
        ]

    def look_at_hub(self) -> None:
        if self.hub is None:
            return
        for name, places in self.sent.items():
            segments = self.model.streams[name].segments
            held = {event.position: event for event in self.hub.read(f"g/{name}")}
            expected = [place for place in self.model.streams[name].history({}) if place in set(places)]
            assert list(held) == [self.known.at[name, place] for place in expected]
            for place in expected:
                said, event = segments[place.segment].said[place.ordinal], held[self.known.at[name, place]]
                assert (event.routing_key, event.payload, event.time_ns) == (said.key, said.payload, said.time_ns)
                assert (event.writer, event.number) == (said.writer, said.number)

    def confirmed(self) -> dict[str, int]:
        """Of each stream, the commit up to which the hub holds it, where there is one."""
        if self.hub is None:
            return dict.fromkeys(self.names(), 0) if self.upstream_is_set_up else {}
        held = self.hub.holdings("g").streams
        return {name: held[name].through if name in held else 0 for name in self.names()}

    def at_the_end(self) -> None:
        super().at_the_end()
        if self.hub is None:
            return
        for _ in range(10_000):
            if not self.send_a_unit(500):
                break
        self.look_at_hub()
        for name, stream in self.model.streams.items():
            if not self.hub.has_stream(f"g/{name}"):
                assert not stream.live({})
                continue
            here, there = self.store.stream(name), self.hub.stream(f"g/{name}")
            for one, other in zip(here.segments, there.segments, strict=True):
                assert (other.id.number, other.id.epoch, other.keys, other.until) == (
                    (one.id.number, one.id.epoch, one.keys, one.until)
                )
                # Of a segment that was given up whole before any of it was sent, nothing is.
                assert other.length == one.length or (other.length == 0 and one.start == one.length)
            assert set(stream.live({})) <= set(self.sent.get(name, ())), "not all of it came up"
        assert [finding for finding in self.hub.check().findings if finding.severity == "error"] == []
        self.hub.close()
