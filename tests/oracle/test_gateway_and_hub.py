"""Gateway and hub as processes, and what happens to them in the field."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.demo.instrument import SerialInstrument
from edge.demo.nodes import GatewayPlan, NodeProcess, free_port, gateway_toml, hub_toml
from edge.demo.numbering import read_number, stamp
from edge.demo.scene import behind, drained
from tests.waiting import until

NODE = "pump-7"
PATIENCE_S = 30.0


@pytest.fixture
def hub_port() -> int:
    return free_port()


@pytest.fixture
def hub(tmp_path: Path, hub_port: int) -> Iterator[NodeProcess]:
    """Not started yet."""
    node = NodeProcess(tmp_path / "hub", hub_toml(tmp_path / "hub", hub_port))
    yield node
    node.kill()


@pytest.fixture
def instrument(tmp_path: Path) -> Iterator[SerialInstrument]:
    """Speaks already."""
    made = SerialInstrument("flow", tmp_path / "ttyFLOW", 50.0)
    made.start()
    yield made
    made.stop()
    made.close()


@pytest.fixture
def gateway(tmp_path: Path, hub_port: int, instrument: SerialInstrument) -> Iterator[NodeProcess]:
    """Not started yet. The broker that it is to subscribe at is not there and never will be."""
    plan = GatewayPlan(NODE, hub_port, instrument.path, free_port())
    node = NodeProcess(tmp_path / "gateway", gateway_toml(plan, tmp_path / "gateway"))
    yield node
    node.kill()


def captured(gateway: NodeProcess) -> int:
    return next(source.events for source in gateway.client.sources() if source.name == "flow")


@pytest.mark.long
def test_without_network_hub_and_broker_it_captures_at_once_and_drains_when_the_hub_appears(
    gateway: NodeProcess, hub: NodeProcess
) -> None:
    gateway.start()
    gateway.ready()
    until(lambda: captured(gateway) >= 50, "the capture")
    assert behind(gateway.client) is not None
    hub.start()
    hub.ready()
    until(lambda: any(stream.events >= 50 for stream in hub.client.streams()), "the backlog at the hub")
    held = [read_number(event.payload) for event in hub.client.read(f"{NODE}/plant/flow")]
    first = held[0]
    assert first is not None
    assert held == [("flow", first[1] + place) for place in range(len(held))]


@pytest.mark.long
def test_a_wiped_store_under_the_same_name_is_refused_and_told_what_to_do(
    gateway: NodeProcess, hub: NodeProcess
) -> None:
    hub.start()
    gateway.start()
    hub.ready()
    gateway.ready()
    gateway.client.write("plant/doses", [stamp("doser", number) for number in range(10)])
    until(lambda: any(stream.events == 10 for stream in hub.client.streams()), "the events at the hub")
    gateway.kill()
    shutil.rmtree(gateway.store)

    gateway.start()
    gateway.ready()
    gateway.client.write("plant/doses", [b"of the new store"])
    until(lambda: "wiped or replaced" in gateway.client.uplinks()[0].detail, "the refusal")
    uplink = gateway.client.uplinks()[0]
    assert "give this gateway another [node] name" in uplink.detail
    assert uplink.state == "BACKOFF"
    until(lambda: captured(gateway) > 0, "the capture, which goes on")
    held = [event.payload for event in hub.client.read(f"{NODE}/plant/doses")]
    assert held == [stamp("doser", number) for number in range(10)]


@pytest.mark.long
def test_a_hub_that_is_killed_and_comes_back_is_found_again(gateway: NodeProcess, hub: NodeProcess) -> None:
    hub.start()
    gateway.start()
    hub.ready()
    gateway.ready()
    for number in range(5):
        gateway.client.write("plant/doses", [stamp("doser", number)], writer="doser", number=number)
        hub.kill()
        hub.start()
        hub.ready()
    until(lambda: any(stream.events == 5 for stream in hub.client.streams()), "the events at the hub")
    assert drained(gateway.client, PATIENCE_S) or gateway.client.uplinks()[0].moving
