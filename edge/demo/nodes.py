"""A gateway and a hub as processes of their own, started, killed and started again."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.client import Client
from edge.errors import EdgeError
from edge.snapshot import NodeSnapshot

NODE_COMMAND = (sys.executable, "-m", "edge")
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 15.0
STATUS_TIMEOUT_S = 5.0


class NodeError(EdgeError):
    """A node did not do what was asked of it. The text ends with the end of its log."""


def free_port() -> int:
    """A port of the loopback address that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """What a gateway is configured with. `serial_port`, `listener_port`, `broker_port` and `camera_url` where
    there is such a source.
    """

    name: str = "pump-7"
    hub_port: int | None = None
    serial_port: Path | None = None
    listener_port: int | None = None
    broker_port: int | None = None
    camera_url: str | None = None


def gateway_toml(plan: GatewayPlan, folder: Path) -> str:
    """The configuration: serial to plant/flow, devices to devices/+, a broker's to site/+, a camera to video/gate.

    Everything goes to the hub.
    """
    tables = [_node(plan.name, folder)]
    if plan.serial_port is not None:
        tables.append(
            _table(
                "[[source]]",
                name="flow",
                driver="serial",
                port=str(plan.serial_port),
                framing="nmea",
                skip_first_line=True,
                stream="plant/flow",
            )
        )
    if plan.listener_port is not None:
        tables.append(
            _table(
                "[[source]]",
                name="local",
                driver="mqtt-listener",
                listen=f"127.0.0.1:{plan.listener_port}",
                stream="devices/{1}",
                key="{topic}",
            )
        )
    if plan.broker_port is not None:
        tables.append(
            _table(
                "[[source]]",
                name="field",
                driver="mqtt",
                broker=f"mqtt://127.0.0.1:{plan.broker_port}",
                topics=["site/+/telemetry"],
                stream="site/{1}",
                key="{topic}",
            )
        )
    if plan.camera_url is not None:
        tables.append(_table("[[source]]", name="gate", driver="camera", url=plan.camera_url, stream="video/gate"))
    if plan.hub_port is not None:
        url = f"http://127.0.0.1:{plan.hub_port}"
        tables.append(_table("[[upstream]]", name="hub", kind="hub", url=url, streams=["*"]))
    return "\n".join(tables)


def hub_toml(folder: Path, port: int) -> str:
    """The configuration of a hub on a loopback port."""
    return _node("hub", folder) + "\n" + _table("[hub]", listen=f"127.0.0.1:{port}")


def _node(name: str, folder: Path) -> str:
    return _table("[node]", name=name, data_dir=str(folder), socket=str(folder / "edge.sock"))


def _table(header: str, **values: object) -> str:
    return "\n".join([header, *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""])


class NodeProcess:
    """`edge run` on what `toml` says, in `folder`; its log is `folder/edge.log`."""

    def __init__(self, folder: Path, toml: str, command: Sequence[str] = NODE_COMMAND) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.command = tuple(command)
        self.config = folder / "edge.toml"
        self.config.write_text(toml, encoding="utf-8")
        self.client = Client(folder / "edge.sock", timeout_s=STATUS_TIMEOUT_S)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def store(self) -> Path:
        """The store's directory."""
        return self.folder / "store"

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, command: Sequence[str] | None = None) -> None:
        """Start it; `command` in place of the usual one, this once. Returns at once."""
        assert not self.alive, "it runs already"
        with (self.folder / "edge.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*(command or self.command), "--config", str(self.config), "run"], stdout=log, stderr=log
            )

    def ready(self, timeout_s: float = START_TIMEOUT_S) -> NodeSnapshot:
        """Wait until it answers. Raises NodeError."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                return self.client.status()
            except EdgeError as error:
                if not self.alive:
                    raise self._error("ended instead of starting") from error
                if time.monotonic() > deadline_s:
                    raise self._error(f"does not answer after {timeout_s:.0f} s ({error})") from error
                time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, and wait for the end. Its exit code; it is killed when it does not end."""
        return self._end(signal.SIGTERM)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end. False: it runs on."""
        assert self._process is not None
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def log_end(self, lines: int = 12) -> str:
        log = self.folder / "edge.log"
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _end(self, how: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(how)
        try:
            return process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _error(self, what: str) -> NodeError:
        return NodeError(f"the node in {self.folder} {what}. Its log ends:\n{self.log_end()}")
