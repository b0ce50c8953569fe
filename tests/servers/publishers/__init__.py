"""MQTT clients written by others, as programs that publish one message for each line of their standard input.

    publish_paho.py     Eclipse paho's Python client; it is installed
    mosquitto_pub       mosquitto's own, in C; Debian's package
    publish_gmqtt.py    gmqtt, in Python with asyncio; a wheel from PyPI
    publish_mqtt.js     npm's mqtt; where there is a node

Each ends with exit code 0 when everything has been answered as its QoS says.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers.cache import FETCH_TIMEOUT_S, ServerMissingError, cache_dir, debian_package, locked

HERE = Path(__file__).parent
GMQTT = "0.8.0"
MQTT_JS = "5.16.0"


@dataclass(frozen=True, slots=True)
class Publishing:
    """To whom, and how. `version` is "3.1.1" or "5"; `ca` the file of who signed the server's certificate: TLS."""

    port: int
    version: str
    qos: int
    topic: str
    ca: Path | None = None


Command = tuple[Sequence[str | Path], Mapping[str, str]]
"""What to run, and in which environment."""


def paho(what: Publishing) -> Command:
    return [sys.executable, HERE / "publish_paho.py", *_arguments(what)], os.environ


def gmqtt(what: Publishing) -> Command:
    return [sys.executable, HERE / "publish_gmqtt.py", *_arguments(what)], {**os.environ, "PYTHONPATH": str(_wheel())}


def mqtt_js(what: Publishing) -> Command:
    return ["node", HERE / "publish_mqtt.js", *_arguments(what)], {**os.environ, "NODE_PATH": str(_node_modules())}


def mosquitto_pub(what: Publishing) -> Command:
    installed = shutil.which("mosquitto_pub")
    program, environment = (
        (Path(installed), dict(os.environ))
        if installed
        else debian_package("mosquitto-clients", "usr/bin/mosquitto_pub")
    )
    version = "mqttv5" if what.version == "5" else "mqttv311"
    given = ["-h", "127.0.0.1", "-p", str(what.port), "-V", version, "-q", str(what.qos), "-t", what.topic, "-l"]
    return [program, *given, *(["--cafile", str(what.ca)] if what.ca else [])], environment


def available() -> Mapping[str, Callable[[Publishing], Command]]:
    """By name; without npm's where there is no node."""
    always = {"paho": paho, "mosquitto_pub": mosquitto_pub, "gmqtt": gmqtt}
    return {**always, "mqtt.js": mqtt_js} if shutil.which("node") and shutil.which("npm") else always


def _arguments(what: Publishing) -> list[str]:
    return [str(what.port), what.version, str(what.qos), what.topic, str(what.ca or "")]


def _wheel() -> Path:
    """Not installed but imported from its wheel: it has a top-level package `tests` that would stand in our way."""
    folder = cache_dir() / f"gmqtt-{GMQTT}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest"]
    _fetched(folder, [*pip, str(folder), f"gmqtt=={GMQTT}"], folder / f"gmqtt-{GMQTT}-py3-none-any.whl")
    return folder / f"gmqtt-{GMQTT}-py3-none-any.whl"


def _node_modules() -> Path:
    folder = cache_dir() / f"mqtt-js-{MQTT_JS}"
    npm = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), f"mqtt@{MQTT_JS}"]
    _fetched(folder, npm, folder / "node_modules" / "mqtt" / "package.json")
    return folder / "node_modules"


def _fetched(folder: Path, command: Sequence[str], sign: Path) -> None:
    """Run `command` unless `sign` is there. Raises ServerMissingError."""
    with locked(folder):
        if sign.exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or str(error)
            raise ServerMissingError(
                f"{folder.name} can't be fetched into {folder}: give this machine access to its package registry. "
                f"{command[0]} said: {said.strip()[-500:]}"
            ) from error
