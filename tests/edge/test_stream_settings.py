"""A stream that is there already takes over what its [[stream]] says, as far as that can be changed."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edge import Client
from edge.config import load
from storage import FakeClock, SegmentStore, StreamConfig
from storage.model import ScalingPolicy
from tests.edge.running import node_of, write_config
from tests.edge.test_daemon import free_port, upstream
from tests.waiting import until

SCALED = ScalingPolicy("events", 10.0)
POLICY = '[[stream]]\nname = "s"\nscaling = { by = "events", target_per_s = 10 }\n'


@pytest.mark.long
def test_a_daemon_takes_over_its_configuration_at_the_start_and_at_a_reload(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edge")
    config = write_config(tmp_path)
    with node_of(config, FakeClock()) as node:
        Client(node.config.node.socket).write("s", [b"x"])
        Client(node.config.node.socket).write("t", [b"x"])
    write_config(tmp_path, more=POLICY + '[[stream]]\nname = "t"\npriority = 77\n')
    with node_of(config, FakeClock()) as node:
        assert node.store.stream("s").config == StreamConfig(scaling=SCALED)
        assert node.store.stream("t").config == StreamConfig()
        assert "stream t keeps all settings that it was made with" in caplog.text
        write_config(tmp_path, more=POLICY.replace("10", "20"))
        assert node.reload(load(config)) == []
        assert node.store.stream("s").config.scaling.target_per_s == 20
        assert node.stream_config("s").scaling.target_per_s == 20


def events_of(store: SegmentStore, stream: str) -> int:
    return sum(segment.events for segment in store.stream(stream).segments) if store.has_stream(stream) else 0


@pytest.mark.long
def test_a_hub_keeps_what_is_mirrored_for_as_long_as_its_own_configuration_says(tmp_path: Path) -> None:
    port, now = free_port(), FakeClock()
    kept = '[[stream]]\nname = "pump-7/s"\nretention = { max_age = "1h" }\n'
    hub_config = write_config(tmp_path / "hub", "hub", f'[hub]\nlisten = "127.0.0.1:{port}"\n{kept}')
    config = write_config(tmp_path / "gateway", more=upstream(port))
    with node_of(hub_config, now) as hub, node_of(config, now) as gateway:
        client = Client(gateway.config.node.socket)
        client.write("s", [b"old"])
        client.write("other", [b"old"])
        now.advance(7200)
        client.write("s", [b"new"])
        client.write("other", [b"new"])
        until(lambda: events_of(hub.store, "pump-7/s") == events_of(hub.store, "pump-7/other") == 2, "all of it")
        hub.watch_disk()
        gateway.watch_disk()
        assert [event.payload for event in hub.store.read("pump-7/s")] == [b"new"]
        assert [event.payload for event in hub.store.read("pump-7/other")] == [b"old", b"new"]
        assert [event.payload for event in gateway.store.read("s")] == [b"old", b"new"]
