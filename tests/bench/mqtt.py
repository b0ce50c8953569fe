"""QoS 1 messages through mosquitto: how fast paho alone takes them, and how fast a gateway makes them durable."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.demo.nodes import GatewayPlan, NodeProcess, gateway_toml
from tests.bench.figures import Figure, Rate, memory_bytes, watch
from tests.oracle.aim import ROOT
from tests.servers.mosquitto import Mosquitto

MESSAGES = 100_000
PAIRS = 3
TIMEOUT_S = 60.0


def figures(folder: Path) -> list[Figure]:
    """Pairs, one after the other, each with a broker and a publisher of its own: the ratio is the middle one of them."""
    pairs: list[tuple[Rate, Rate, int]] = []
    for number in range(PAIRS):
        of_pair = folder / str(number)
        with Mosquitto(of_pair / "broker", max_inflight=1_000, settings=("log_type none",)) as broker:
            alone = _paho(broker.port)
            ours, peak = _gateway(of_pair / "gateway", broker.port)
        pairs.append((alone, ours, peak))
    alone, ours, peak = sorted(pairs, key=lambda pair: pair[1].per_s / pair[0].per_s)[PAIRS // 2]
    ratios = sorted(ours.per_s / alone.per_s for alone, ours, _ in pairs)
    note = f"(pairs: {', '.join(f'{ratio:.2f}' for ratio in ratios)})"
    return [
        Figure("MQTT QoS 1: paho alone, manual acknowledgement", alone.per_s, "messages/s"),
        Figure("MQTT QoS 1: gateway, durable", ours.per_s, "messages/s", "paho alone", ours.per_s / alone.per_s, note),
        Figure("gateway under MQTT load, peak resident memory", peak / 2**20, "MiB"),
    ]


def _published(port: int, count: Callable[[], int]) -> Rate:
    """The rate at which what is published now is counted."""
    command = [sys.executable, "-m", "tests.bench.publish", str(port), str(MESSAGES)]
    with subprocess.Popen(command, cwd=ROOT):
        return watch(count, MESSAGES, TIMEOUT_S)


def _paho(port: int) -> Rate:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bench-paho", manual_ack=True)
    subscribed = threading.Event()
    count = 0

    def received(_: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        nonlocal count
        count += 1
        client.ack(message.mid, 1)

    client.on_message = received
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe("site/+/telemetry", 1)
    assert subscribed.wait(TIMEOUT_S)
    rate = _published(port, lambda: count)
    client.disconnect()
    client.loop_stop()
    return rate


def _gateway(folder: Path, port: int) -> tuple[Rate, int]:
    """The rate, and the most memory that it had in bytes."""
    gateway = NodeProcess(folder, gateway_toml(GatewayPlan(broker_port=port), folder))
    gateway.start()
    try:
        gateway.ready()
        deadline_s = time.monotonic() + TIMEOUT_S
        while not any(source.state == "RUNNING" for source in gateway.client.sources()):
            assert time.monotonic() < deadline_s, gateway.log_end()
            time.sleep(0.1)
        time.sleep(1.0)
        rate = _published(port, lambda: sum(stream.events for stream in gateway.client.streams()))
        assert gateway.pid is not None
        return rate, memory_bytes(gateway.pid, "VmHWM")
    finally:
        gateway.kill()
