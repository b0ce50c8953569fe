"""Resident memory of a gateway that has nothing to do."""

from __future__ import annotations

import time
from pathlib import Path

from edge.demo.nodes import GatewayPlan, NodeProcess, free_port, gateway_toml
from tests.bench.figures import Figure, memory_bytes

SETTLED_AFTER_S = 3.0


def figures(folder: Path) -> list[Figure]:
    """Configured with a serial port, a broker and a hub, none of which is there."""
    plan = GatewayPlan("bench", free_port(), folder / "ttyNONE", free_port())
    gateway = NodeProcess(folder / "gateway", gateway_toml(plan, folder / "gateway"))
    gateway.start()
    try:
        gateway.ready()
        time.sleep(SETTLED_AFTER_S)
        assert gateway.pid is not None
        return [Figure("gateway at rest, resident memory", memory_bytes(gateway.pid, "VmRSS") / 2**20, "MiB")]
    finally:
        gateway.kill()
