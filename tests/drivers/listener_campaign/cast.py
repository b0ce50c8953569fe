"""Gateway and devices as processes, and how each of them dies."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from edge.demo.nodes import NodeProcess, free_port
from storage import SegmentStore
from tests.drivers.listener_campaign.habits import HABITS
from tests.drivers.listener_campaign.journal import Journal
from tests.drivers.lives import CAME_WITHIN_S
from tests.oracle.aim import ROOT, Target, node_command

NAME, SOURCE, STREAM = "pump-7", "local", "devices"
RATE_PER_S = 60.0
MAX_INFLIGHT = 40
REACHED_WITHIN_S = 8.0


def gateway_toml(folder: Path, port: int) -> str:
    lines = ["[node]", f'name = "{NAME}"']
    lines += [f"data_dir = {json.dumps(str(folder))}", f"socket = {json.dumps(str(folder / 'edge.sock'))}"]
    lines += ["[[source]]", f'name = "{SOURCE}"', 'driver = "mqtt-listener"', f'listen = "127.0.0.1:{port}"']
    lines += [f'stream = "{STREAM}"', 'key = "{topic}"', f"max_inflight = {MAX_INFLIGHT}", ""]
    return "\n".join(lines)


class DeviceProcess:
    """A device of its own process, killed and started again."""

    def __init__(self, name: str, folder: Path, port: int, random: Random) -> None:
        self.name = name
        self._folder = folder
        self._port = port
        self._random = random
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    def start(self) -> None:
        arguments = [str(self._port), str(self._folder), self.name, str(RATE_PER_S), str(self._random.random())]
        module = "tests.drivers.listener_campaign.device"
        self._process = subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=ROOT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self.kills += 1

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def aim(self, answer: str, nth: int, pid: int, *, also: bool) -> None:
        """Kill the process `pid` at the n-th `answer`, and the device too where `also`."""
        made = self._folder / f"{self.name}.new"
        made.write_text(f"{answer} {nth} {pid} {int(also)}", encoding="ascii")
        made.rename(self._folder / f"{self.name}.aim")

    def take_hit(self) -> bool:
        """Whether it came to that. No aim is left."""
        (self._folder / f"{self.name}.aim").unlink(missing_ok=True)
        hit = self._folder / f"{self.name}.hit"
        found = hit.exists()
        hit.unlink(missing_ok=True)
        return found

    def finish(self) -> bool:
        """No more from it. True where all of it has been answered for."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(CAME_WITHIN_S) == 0
        except subprocess.TimeoutExpired:
            self.kill()
            return False

    def journal(self) -> Journal:
        return Journal(self._folder / f"{self.name}.journal")


class Cast:
    """Everybody, in `folder`."""

    def __init__(self, folder: Path, random: Random, command: Callable[[Path], Sequence[str]] | None = None) -> None:
        gateway, port = folder / "gateway", free_port()
        self._random = random
        self.node = NodeProcess(gateway, gateway_toml(gateway, port), (command or node_command)(gateway))
        self.target = Target("listener", self.node, Random(random.random()))
        self.devices = [DeviceProcess(name, folder, port, Random(random.random())) for name in HABITS]

    def start(self) -> None:
        self.node.start()
        self.node.ready(CAME_WITHIN_S)
        for device in self.devices:
            device.start()

    def close(self) -> None:
        for device in self.devices:
            device.kill()
        self.node.kill()

    def kill_at_answer(self, answer: str, nth: int, *, also: bool) -> bool:
        """SIGKILL to the gateway when the n-th `answer` has come to one device, and to that one too where `also`.

        False where it did not come in time; the gateway is dead anyway.
        """
        qos = 1 if answer == "puback" else 2
        device = self._random.choice([each for each in self.devices if HABITS[each.name].qos == qos])
        assert self.node.pid is not None
        device.aim(answer, nth, self.node.pid, also=also)
        if not self.node.wait(REACHED_WITHIN_S):
            self.node.kill()
        hit = device.take_hit()
        if not hit or also:
            # An aim that is left in it must not hit the next gateway.
            device.kill()
            device.start()
        return hit

    def drain(self) -> list[str]:
        """Stop the devices, all at once, when they have their answers. What did not end well."""
        return [f"{device.name} was not answered in full" for device in self.devices if not device.finish()]

    def stored(self) -> dict[str, list[bytes]]:
        """Payloads by topic, in the order of the store. The gateway is down."""
        held: dict[str, list[bytes]] = {}
        with SegmentStore.open(self.node.store) as store:
            for event in store.read(STREAM, follow=False):
                held.setdefault(event.routing_key, []).append(event.payload)
        return held

    def wait_for_traffic(self, answered: int) -> None:
        """Until every device has had so many answers: a short run must not end before it began."""
        deadline_s = time.monotonic() + CAME_WITHIN_S
        while any(len(device.journal().answered) < answered for device in self.devices):
            assert time.monotonic() < deadline_s, f"no answers: {self.node.log_end()}"
            time.sleep(0.05)
