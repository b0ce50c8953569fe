"""A small world to break: gateways and a hub on twins that lose power, joined by upstreams of any kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from storage import SegmentStore
from storage.clock import FakeClock
from storage.errors import StorageError
from storage.event import Event
from storage.kv.memory import MemoryTwin
from storage.model import Append, Frame, StreamConfig
from storage.trace import Trace
from storage.writer import Writer
from sync.contract import Upstream
from sync.fake import CALM, FaultyUpstream, Schedule
from sync.hub.receiver import Receiver
from sync.replicator import LinkState, Pace
from sync.uplink import Uplink, UplinkStatus

QUICK = Pace(refused_pause_s=1.0)


class Machine:
    """A store on a twin. With `cut_share` above zero it loses power at that share of its steps, and is down then."""

    def __init__(self, random: Random, hits: Counter[str], cut_share: float = 0.0) -> None:
        self.random = random
        self.cut_share = cut_share
        self.hits = hits
        self.twin = MemoryTwin()
        self.down = False
        self.clock = FakeClock(boot=random.getrandbits(60))
        self.aim: tuple[str, int] | None = None
        self.doomed = False
        self.store = SegmentStore.in_memory(self.twin, clock=self.clock)

    def trace(self, step: str, details: dict[str, object]) -> None:
        if self.down or not self._struck(step):
            return
        self.hits[step] += 1
        if step == "hub.replied":
            # The one step that nobody waits for: the world has gone on, and may be looking into the store.
            self.doomed = True
        else:
            self.cut_power()

    def _struck(self, step: str) -> bool:
        if self.aim is None or self.aim[0] != step:
            return self.cut_share > 0 and self.random.random() < self.cut_share
        left = self.aim[1] - 1
        self.aim = (step, left) if left else None
        return not left

    def cut_power(self) -> None:
        self.twin.power_cut(self.random.randint(0, self.twin.unsynced_batches))
        self.down = True

    def start(self) -> None:
        """Up again after a power cut, or a plain restart. Power may go again while it opens."""
        if not self.down:
            self.store.close()
        self.clock.reboot()
        while True:
            self.down = False
            try:
                self.store = SegmentStore.in_memory(self.twin, clock=self.clock, trace=self.trace)
                return
            except StorageError:
                if not self.down:
                    raise


class Hub(Machine):
    """The machine upstream. `receiver` is that of the store as it is open now."""

    def __init__(self, random: Random, hits: Counter[str], cut_share: float = 0.0) -> None:
        super().__init__(random, hits, cut_share)
        self.receiver = Receiver(self.store, self.trace)
        self.changed: list[Callable[[], None]] = []

    def start(self) -> None:
        super().start()
        self.receiver = Receiver(self.store, self.trace)
        for serve_again in self.changed:
            serve_again()


Kind = Callable[[Hub, Sequence[Trace]], Iterator[list[Upstream]]]
"""How a hub is reached: yields an upstream for each of some gateways, given the trace of each."""


class Gateway(Machine):
    """A node with writers that number what they send, and the uplink that brings it to the hub."""

    def __init__(
        self, name: str, random: Random, hits: Counter[str], upstream: FaultyUpstream, *, streams: int = 2
    ) -> None:
        super().__init__(random, hits)
        self.name = name
        self.upstream = upstream
        self.patterns: tuple[str, ...] = ("*",)
        self.streams = [f"plant/{number}" for number in range(streams)]
        self.told_safe = dict.fromkeys(self.streams, 0)
        self.now_s = 0.0
        self._prepare()

    def _prepare(self) -> None:
        for stream in self.streams:
            self.store.create_stream(stream, StreamConfig(attributes={"unit": "m3/h"}))
        self.uplink = Uplink(
            "hub",
            self.name,
            self.store,
            self.upstream,
            clock=self.clock,
            random=self.random.random,
            patterns=self.patterns,
            pace=QUICK,
            max_unit_bytes=self.random.choice([1, 64 << 10, 4 << 20]),
            hint_interval_s=5.0,
            trace=self.trace,
        )

    def start(self) -> None:
        """Whatever it takes until the gateway is up with its streams and its uplink."""
        while True:
            super().start()
            try:
                self._prepare()
                return
            except StorageError:
                if not self.down:
                    raise

    def write(self) -> None:
        """Send on from what was told safe: events that are stored already are not stored again."""
        stream = self.random.choice(self.streams)
        first, count = self.told_safe[stream], self.random.randint(1, 4)
        payloads = [payload(self.name, stream, first + number) for number in range(count)]
        self.clock.advance(self.random.random())
        try:
            writer = Writer(self.store, stream, "plc")
            keys = self.random.choice(["", "pump", "valve"])
            writer.append_many(payloads, keys, number=first, headers=(("topic", b"a"),)).result()
            self.told_safe[stream] = first + count
        except StorageError:
            if not self.down:
                raise

    def write_across_streams(self) -> None:
        """One commit over all streams."""
        appends = []
        for stream in self.streams:
            first = self.told_safe[stream]
            appends.append(Append(stream, [Frame([payload(self.name, stream, first)], writer="plc", number=first)]))
        try:
            self.store.submit(appends).result()
        except StorageError:
            if not self.down:
                raise
            return
        for stream in self.streams:
            self.told_safe[stream] += 1

    def replicate(self) -> None:
        """One step of the uplink, then as much time as it says."""
        try:
            self.now_s += self.uplink.step(self.now_s)
        except StorageError:
            if not self.down:
                raise

    def drain(self, steps: int = 5000) -> UplinkStatus:
        """Step until the link is live and has nothing more to send."""
        for _ in range(steps):
            self.replicate()
            status = self.uplink.status()
            if status.state is LinkState.LIVE and status.bytes_behind == 0:
                return status
        raise AssertionError(f"not drained after {steps} steps: {self.uplink.status()}")


def payload(node: str, stream: str, number: int) -> bytes:
    return f"{node} {stream} {number}".encode()


Row = tuple[int, int, int, int, int, bytes]


def all_rows(store: SegmentStore) -> dict[str, list[Row]]:
    """Everything that a store holds of each stream, as it lies on disk, where it lies."""
    unit = store.next_unit("check", {}, lambda name: True, 1 << 40)
    return {
        part.stream: [(e.segment, e.epoch, e.start, e.length, e.events, e.raw) for e in part.entries]
        for part in (() if unit is None else unit.parts)
    }


def events(store: SegmentStore, stream: str) -> list[Event]:
    return list(store.read(stream))


@dataclass(frozen=True, slots=True)
class Told:
    """What makes an event the same event, in two stores."""

    position: str
    time_ns: int
    key: str
    writer: str | None
    number: int | None
    payload: bytes

    @staticmethod
    def of(event: Event) -> Told:
        return Told(str(event.position), event.time_ns, event.routing_key, event.writer, event.number, event.payload)


class World:
    """One hub, some gateways, links that fail by a schedule, and the checks that must hold at every moment."""

    def __init__(self, hub: Hub, upstreams: list[Upstream], random: Random, hits: Counter[str], streams: int) -> None:
        self.random = random
        self.hits = hits
        self.hub = hub
        self.links = [FaultyUpstream(upstream, random, CALM, hub.start) for upstream in upstreams]
        self.gateways = [
            Gateway(f"pump-{number}", random, hits, link, streams=streams)
            for number, link in enumerate(self.links, start=7)
        ]

    def disturb(self, cut_share: float, schedule: Schedule) -> None:
        for machine in (self.hub, *self.gateways):
            machine.cut_share = cut_share
        for link in self.links:
            link.schedule = schedule

    def recover(self) -> None:
        """Whoever is down is switched on again."""
        for machine in (self.hub, *self.gateways):
            if machine.doomed:
                machine.doomed = False
                machine.cut_power()
            while machine.down:
                machine.start()

    def live(self, steps: int) -> None:
        """Random life, with what must hold checked after every step."""
        for _ in range(steps):
            gateway = self.random.choice(self.gateways)
            action = self.random.choices(
                [gateway.write, gateway.write_across_streams, gateway.replicate, gateway.cut_power, self.hub.cut_power],
                [4, 1, 12, 0.2, 0.2],
            )[0]
            action()
            self.recover()
            if action not in (gateway.write, gateway.write_across_streams):
                self.check_prefix()
                self.check_confirmed()

    def check_prefix(self) -> None:
        """What the hub holds of each stream is a prefix of its local history: the same bytes at the same offsets."""
        upstream = all_rows(self.hub.store)
        for gateway in self.gateways:
            local = all_rows(gateway.store)
            for stream in gateway.streams:
                there, here = upstream.pop(f"{gateway.name}/{stream}", []), local.get(stream, [])
                assert there == here[: len(there)], f"{gateway.name}/{stream} is no prefix of its local history"
        assert not upstream, f"the hub holds streams that nobody has: {list(upstream)}"

    def check_confirmed(self) -> None:
        """What an uplink calls confirmed is durable at the hub."""
        for gateway in self.gateways:
            durable = self.hub.store.holdings(gateway.name).streams
            for stream, held in gateway.uplink.confirmed.items():
                there = durable[stream].length if stream in durable else 0
                assert held.length <= there, f"{stream} was confirmed and is not durable upstream"

    def check_whole_commits(self) -> None:
        """Streams that were written together are mirrored together: no commit is upstream by half."""
        for gateway in self.gateways:
            newest = {}
            for stream in gateway.streams:
                held = self.hub.store.holdings(gateway.name).streams.get(stream)
                newest[stream] = 0 if held is None else held.through
            horizon = max(newest.values(), default=0)
            unit = gateway.store.next_unit("check", {}, lambda name: True, 1 << 40)
            for part in unit.parts if unit is not None else ():
                missing = [e.commit for e in part.entries if newest[part.stream] < e.commit <= horizon]
                assert not missing, f"commits {missing} of {part.stream} are missing below {horizon}"

    def settle(self) -> None:
        """Calm, everything drained: now upstream is complete."""
        self.disturb(0.0, CALM)
        self.recover()
        for gateway in self.gateways:
            gateway.drain()
        self.check_prefix()

    def check_exactly_once(self) -> None:
        """Upstream each stream holds each event that was told safe once, in order, and each as it is here."""
        for gateway in self.gateways:
            for stream in gateway.streams:
                here = events(gateway.store, stream)
                if not here and not self.hub.store.has_stream(f"{gateway.name}/{stream}"):
                    continue
                there = events(self.hub.store, f"{gateway.name}/{stream}")
                assert [Told.of(event) for event in there] == [Told.of(event) for event in here]
                numbers = [event.number for event in there]
                assert numbers == list(range(len(numbers)))
                assert len(numbers) >= gateway.told_safe[stream]
                assert [event.payload for event in there] == [
                    payload(gateway.name, stream, number) for number in range(len(numbers))
                ]
        for machine in (self.hub, *self.gateways):
            report = machine.store.check()
            assert report.ok, report.findings


@contextmanager
def world_of(kind: Kind, seed: int, *, gateways: int = 1, streams: int = 2) -> Iterator[World]:
    """A world whose gateways reach the hub by `kind`, everything in it drawn from `seed`."""
    random, hits = Random(seed), Counter[str]()
    hub = Hub(random, hits)
    known: list[Gateway] = []

    def trace_of(number: int) -> Trace:
        def trace(step: str, details: dict[str, object]) -> None:
            known[number].trace(step, details)

        return trace

    with contextmanager(kind)(hub, [trace_of(number) for number in range(gateways)]) as upstreams:
        world = World(hub, upstreams, random, hits, streams)
        known.extend(world.gateways)
        yield world
        for machine in (world.hub, *world.gateways):
            machine.cut_share = 0.0
            machine.store.close()
