"""A daemon scales the streams whose configuration asks for it, and its hub holds the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import Client
from edge.daemon.node import Node
from storage import Event, FakeClock, SegmentStore
from tests.edge.running import edge, node_of, running, write_config
from tests.edge.test_daemon import free_port, upstream
from tests.waiting import until

POLICY = (
    '[[stream]]\nname = "plant/flow"\n'
    'scaling = { by = "events", target_per_s = 10, windows = ["2s", "5s", "20s"], cooldown = "5s", max_segments = 8 }\n'
)
KEYS = [f"pump-{number}" for number in range(16)]


class Load:
    """Events of many keys, each key's numbered, some every second."""

    def __init__(self, node: Node, clock: FakeClock) -> None:
        self.node = node
        self.clock = clock
        self.client = Client(node.config.node.socket)
        self.sent = 0
        self.most = 0

    def run(self, seconds: int, keys_per_s: int, events_per_key: int) -> int:
        """How many segments are open in the end."""
        for _ in range(seconds):
            for _ in range(keys_per_s):
                key, turn = KEYS[self.sent % len(KEYS)], self.sent // len(KEYS)
                self.client.write("plant/flow", [f"{turn}.{n}".encode() for n in range(events_per_key)], key=key)
                self.sent += 1
            self.clock.advance(1)
            self.node.scale_streams()
            self.most = max(self.most, self.open_segments())
        return self.open_segments()

    def open_segments(self) -> int:
        return sum(segment.until is None for segment in self.node.store.stream("plant/flow").segments)


def by_key(events: Iterator[Event]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = defaultdict(list)
    for event in events:
        found[event.routing_key].append(event.payload)
    return found


@pytest.mark.long
def test_a_loaded_stream_is_split_and_later_merged_in_order_and_its_hub_holds_the_same(tmp_path: Path) -> None:
    port, clock = free_port(), FakeClock()
    hub_config = write_config(tmp_path / "hub", "hub", f'[hub]\nlisten = "127.0.0.1:{port}"\n')
    config = write_config(tmp_path / "gateway", more=POLICY + upstream(port))
    with node_of(hub_config, clock) as hub, node_of(config, clock) as gateway:
        load_ = Load(gateway, clock)
        assert load_.run(60, 4, 8) >= 4
        shown = load_.client.stream("plant/flow")
        assert shown.scaling.by == "events"
        assert shown.scaling.target_per_s == 10
        assert shown.epoch == max(segment.epoch for segment in shown.segments) > 0
        measured = [segment.rates_per_s[0] for segment in shown.segments if segment.state == "OPEN"]
        assert 20 < sum(measured) < 45
        screen = edge("--socket", str(gateway.config.node.socket), "streams", "plant/flow").out
        assert f"epoch {shown.epoch}, 1 to 8 segments of 10 events/s each" in screen
        assert load_.run(200, 1, 1) == 1
        assert load_.most <= 8
        mine = by_key(gateway.store.read("plant/flow"))
        for key, payloads in mine.items():
            turns = [tuple(map(int, payload.split(b"."))) for payload in payloads]
            assert turns == sorted(turns), key
        assert sum(map(len, mine.values())) == 60 * 4 * 8 + 200
        until(lambda: gateway.snapshot().uplinks[0].behind_events == 0, "the hub to hold everything")
        there = hub.store.stream("pump-7/plant/flow")
        assert [s.id.number for s in there.segments] == [
            s.id.number for s in gateway.store.stream("plant/flow").segments
        ]
        assert by_key(hub.store.read("pump-7/plant/flow")) == mine
        assert gateway.check().findings == ()


@pytest.mark.long
def test_nothing_is_scaled_while_nothing_can_be_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor takes the step, and must not wait for a disk."""
    clock = FakeClock()
    policy = '[[stream]]\nname = "plant/flow"\nscaling = { by = "fixed", min_segments = 2 }\n'
    with node_of(write_config(tmp_path, more=policy), clock) as node:
        Client(node.config.node.socket).write("plant/flow", [b"x"])
        with monkeypatch.context() as patched:
            patched.setattr(SegmentStore, "blocked", "disk full")
            clock.advance(100)
            node.scale_streams()
            assert len(node.store.stream("plant/flow").segments) == 1
        clock.advance(100)
        node.scale_streams()
        assert len(node.store.stream("plant/flow").segments) == 3


@pytest.mark.long
def test_the_daemon_takes_the_step_by_itself(tmp_path: Path) -> None:
    policy = '[[stream]]\nname = "plant/flow"\nscaling = { by = "fixed", min_segments = 2 }\n'
    with running(write_config(tmp_path, more=policy)) as node:
        node.client.write("plant/flow", [b"x"])
        until(lambda: len(node.client.stream("plant/flow").segments) == 3, "the second segment")
        until(lambda: "plant/flow: 0.0 split into 2, by its load" in node.log.read_text(), "a word of it in the log")
