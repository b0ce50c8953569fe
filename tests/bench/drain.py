"""A backlog to a hub over loopback, both real processes."""

from __future__ import annotations

from pathlib import Path
from random import Random

from edge.demo.nodes import GatewayPlan, NodeProcess, free_port, gateway_toml, hub_toml
from storage import SegmentStore, StreamConfig
from tests.bench.figures import Figure, memory_bytes, payloads, watch

BATCHES = 1000
BATCH = 1000
SIZE_BYTES = 100
STREAMS = ("plant/flow", "plant/level")


def figures(folder: Path) -> list[Figure]:
    """From the first tenth at the hub to all of it."""
    port = free_port()
    hub = NodeProcess(folder / "hub", hub_toml(folder / "hub", port))
    gateway = NodeProcess(folder / "gateway", gateway_toml(GatewayPlan(hub_port=port), folder / "gateway"))
    _backlog(gateway.store)
    try:
        gateway.start()
        gateway.ready()
        hub.start()
        hub.ready()
        rate = watch(lambda: sum(stream.events for stream in hub.client.streams()), BATCHES * BATCH)
        assert gateway.pid is not None
        assert hub.pid is not None
        peak, hub_peak = memory_bytes(gateway.pid, "VmHWM"), memory_bytes(hub.pid, "VmHWM")
    finally:
        gateway.kill()
        hub.kill()
    note = f"{rate.per_s * SIZE_BYTES / 2**20:.0f} MiB/s of payload, {rate.duration_s:.1f} s"
    return [
        Figure("drain to the hub, durable there", rate.per_s, "events/s", note=note),
        Figure("gateway while draining, peak resident memory", peak / 2**20, "MiB"),
        Figure("hub while taking it, peak resident memory", hub_peak / 2**20, "MiB"),
    ]


def _backlog(store_path: Path) -> None:
    random = Random(1)
    events = payloads(BATCH * 10, SIZE_BYTES)
    with SegmentStore.open(store_path) as store:
        for stream in STREAMS:
            store.create_stream(stream, StreamConfig())
        writers = [store.writer(stream, "bench") for stream in STREAMS]
        for number in range(BATCHES):
            writers[number % len(writers)].append_many(random.sample(events, BATCH), "key").result()
