"""`edge write` while the gateway is killed: its exit code is its word, and repeating it stores nothing twice."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from edge.demo.nodes import GatewayPlan, NodeProcess, gateway_toml
from edge.demo.numbering import read_number, stamp
from edge.demo.verdict import judge

LINES = 2000
AT_ONCE = 20


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[NodeProcess]:
    """Without devices and upstream."""
    node = NodeProcess(tmp_path / "gateway", gateway_toml(GatewayPlan(), tmp_path / "gateway"))
    node.start()
    node.ready()
    yield node
    node.kill()


def write(gateway: NodeProcess, kill_behind: int | None) -> int:
    """All lines through `edge write`, the gateway killed once so many were handed over. The exit code."""
    command = [sys.executable, "-m", "edge", "--config", str(gateway.config)]
    options = ["write", "plant/doses", "--writer", "doser", "--number", "0", "--key", "doser"]
    with subprocess.Popen([*command, *options], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
        assert writer.stdin is not None
        try:
            for number in range(0, LINES, AT_ONCE):
                if kill_behind is not None and number >= kill_behind:
                    gateway.kill()
                    kill_behind = None
                writer.stdin.write(b"".join(stamp("doser", n) + b"\n" for n in range(number, number + AT_ONCE)))
                writer.stdin.flush()
                time.sleep(0.002)
            writer.stdin.close()
        except BrokenPipeError:
            # It has given up already, and says so with its exit code.
            pass
        return writer.wait(30)


@pytest.mark.long
def test_exit_code_0_means_all_of_it_once(gateway: NodeProcess) -> None:
    random = Random(1)
    for _ in range(3):
        assert write(gateway, random.randrange(LINES)) == 3
        gateway.start()
        gateway.ready()
    assert write(gateway, None) == 0
    gateway.kill()
    gateway.start()
    gateway.ready()
    held = [read_number(event.payload) for event in gateway.client.read("plant/doses")]
    assert judge({"doser": set(range(LINES))}, {"doser": LINES}, held).clean
