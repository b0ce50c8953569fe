"""One device of each kind that the registration table names, for the conformance suite.

Whoever adds a driver adds its device here: `test_conformance.py` fails for a name that has none.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from drivers.camera.card import card
from drivers.camera.config import CameraConfig
from drivers.camera.driver import CameraDriver
from drivers.contract import Driver, SourceSettings
from drivers.file import FileDriver, FollowDriver
from drivers.file.config import FileConfig
from drivers.file.following import FollowConfig
from drivers.listener import ListenerConfig, ListenerDriver
from drivers.mqtt import MqttConfig, MqttDriver
from drivers.replay import ReplayConfig, ReplayDriver
from drivers.serial import SerialConfig, SerialDriver
from drivers.synthetic import SyntheticConfig, SyntheticDriver
from edge.demo.nodes import free_port
from storage.clock import Clock, FakeClock
from storage.units import Duration
from tests.drivers.serial.adapter import Adapter
from tests.drivers.serial.modbus.meter import Meter
from tests.drivers.subscribing import publish
from tests.readme import driver_module
from tests.servers.mosquitto import Mosquitto
from tests.servers.pictures import PictureServer

README_DRIVER = "README"
"""Stands for the driver that the README shows how to write, which the table does not name."""
READINGS = 40
"""As many as a device says in all, where that has to be known before."""


class Device(Protocol):
    """What a driver reads. It outlives its drivers.

    `settings` are the source's. `comes_and_goes`: it can be unplugged. `expected` is the payload of each reading so far.
    """

    settings: SourceSettings
    comes_and_goes: bool
    expected: list[bytes]

    def driver(self, settings: SourceSettings, clock: Clock) -> Driver:
        """A driver for it, not open yet."""

    def plug_in(self) -> None: ...

    def unplug(self) -> None: ...

    def say(self, count: int) -> None:
        """Say the next readings, while it is plugged in. Doesn't wait for anybody to hear them."""

    def close(self) -> None: ...


class Instrument:
    """A serial instrument on a pseudo-terminal, under another path each time."""

    settings = SourceSettings(name="flow", driver="serial", stream="plant/flow")
    comes_and_goes = True

    def __init__(self, folder: Path) -> None:
        self.expected: list[bytes] = []
        self._adapter = Adapter(folder / "usb-instrument")

    def driver(self, settings: SourceSettings, clock: Clock) -> Driver:
        return SerialDriver(SerialConfig(port=str(self._adapter.name)), settings, clock)

    def plug_in(self) -> None:
        self._adapter.plug_in()

    def unplug(self) -> None:
        self._adapter.unplug()

    def say(self, count: int) -> None:
        new = numbered("flow", len(self.expected), count)
        self.expected += new
        self._adapter.say(b"".join(line + b"\n" for line in new))

    def close(self) -> None:
        self._adapter.unplug()


class Broker:
    """A mosquitto, and a device that publishes to it at QoS 1."""

    settings = SourceSettings(name="field", driver="mqtt", stream="site/{1}", key="{topic}", node="pump-7")
    comes_and_goes = True

    def __init__(self, folder: Path) -> None:
        self.expected: list[bytes] = []
        self._broker = Mosquitto(folder, persistence=True)
        self._broker.start()
        self._running = True
        self._config = MqttConfig(broker=self._broker.url, topics=("site/+/telemetry",))

    def driver(self, settings: SourceSettings, clock: Clock) -> Driver:
        return MqttDriver(self._config, settings, clock)

    def plug_in(self) -> None:
        if not self._running:
            self._broker.start()
            self._running = True

    def unplug(self) -> None:
        self._broker.stop()
        self._running = False

    def say(self, count: int) -> None:
        new = numbered("field", len(self.expected), count)
        self.expected += new
        publish(self._broker, "site/a/telemetry", new)

    def close(self) -> None:
        self._broker.stop()


class Publisher:
    """A device that connects to the gateway itself, and keeps its session."""

    settings = SourceSettings(name="local", driver="mqtt-listener", stream="devices/a", key="{topic}")
    comes_and_goes = True

    def __init__(self, folder: Path) -> None:
        self.expected: list[bytes] = []
        self._port = free_port()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="device-1", clean_session=False)
        self._client.reconnect_delay_set(1, 1)

    def driver(self, settings: SourceSettings, clock: Clock) -> Driver:
        return ListenerDriver(ListenerConfig(listen=f"127.0.0.1:{self._port}"), settings, clock)

    def plug_in(self) -> None:
        self._client.connect_async("127.0.0.1", self._port)
        self._client.loop_start()

    def unplug(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def say(self, count: int) -> None:
        new = numbered("local", len(self.expected), count)
        self.expected += new
        for payload in new:
            self._client.publish("devices/a", payload, qos=1)

    def close(self) -> None:
        self.unplug()


class Signal:
    """A made up signal: it says all of its readings by itself."""

    settings = SourceSettings(name="sine", driver="synthetic", stream="demo/sine")
    comes_and_goes = False

    def __init__(self, folder: Path) -> None:
        self._config = SyntheticConfig(signal="walk", rate_per_s=500, count=READINGS, seed=3)
        self.expected: list[bytes] = []

    def driver(self, settings: SourceSettings, clock: Clock) -> Driver:
        return SyntheticDriver(self._config, settings, clock)

    def plug_in(self) -> None: ...

    def unplug(self) -> None: ...

    def say(self, count: int) -> None:
        whole = SyntheticDriver(replace(self._config, rate_per_s=0), self.settings, FakeClock())
        whole.open(None)
        delivery = whole.poll(0)
        assert delivery is not None
        self.expected = [
            payload for append in delivery.appends for frame in append.frames for payload in frame.payloads
        ]

    def close(self) -> None: ...


class Recording:
    """What was recorded: all of its readings are played as fast as they are taken."""

    settings = SourceSettings(name="recording", driver="replay", stream="demo/recording")
    comes_and_goes = False

    def __init__(self, folder: Path) -> None:
        self.expected: list[bytes] = []
        self._path = folder / "recorded.jsonl"

    def driver(self, settings: SourceSettings, clock: Clock) -> Driver:
        return ReplayDriver(ReplayConfig(path=self._path, speed=0), settings, clock)

    def plug_in(self) -> None:
        readings = numbered("recording", 0, READINGS)
        lines = [json.dumps({"time_ns": n, "payload": reading.decode()}) for n, reading in enumerate(readings)]
        self._path.write_text("\n".join(lines))

    def unplug(self) -> None: ...

    def say(self, count: int) -> None:
        self.expected = numbered("recording", 0, READINGS)

    def close(self) -> None: ...


class Logger:
    """A data logger that puts files into a folder: a disk that is mounted, and not."""

    settings = SourceSettings(name="logger", driver="file", stream="plant/logger")
    comes_and_goes = True

    def __init__(self, folder: Path) -> None:
        self.expected: list[bytes] = []
        self._disk, self._mount = folder / "disk", folder / "in"
        self._disk.mkdir()
        self._files = 0

    def driver(self, settings: SourceSettings, clock: Clock) -> Driver:
        config = FileConfig(directory=self._mount, order="name", min_age=Duration(0), interval=Duration(0.05))
        return FileDriver(config, settings, clock)

    def plug_in(self) -> None:
        self._disk.rename(self._mount)

    def unplug(self) -> None:
        self._mount.rename(self._disk)

    def say(self, count: int) -> None:
        new = numbered("logger", len(self.expected), count)
        self.expected += new
        self._files += 1
        written = self._mount / f"{self._files:04}.part"
        written.write_bytes(b"\n".join(new))
        written.rename(written.with_suffix(".log"))

    def close(self) -> None: ...


class Program:
    """A program that writes a log and rotates it, on a disk that is mounted, and not."""

    settings = SourceSettings(name="program", driver="follow", stream="plant/program")
    comes_and_goes = True

    def __init__(self, folder: Path) -> None:
        self.expected: list[bytes] = []
        self._disk, self._mount = folder / "disk", folder / "log"
        self._disk.mkdir()
        (self._disk / "x.log").touch()
        self._rotated = 0

    def driver(self, settings: SourceSettings, clock: Clock) -> Driver:
        return FollowDriver(FollowConfig(path=self._mount / "x.log", settle=Duration(0.05)), settings, clock)

    def plug_in(self) -> None:
        self._disk.rename(self._mount)

    def unplug(self) -> None:
        self._mount.rename(self._disk)

    def say(self, count: int) -> None:
        new = numbered("program", len(self.expected), count)
        self.expected += new
        log = self._mount / "x.log"
        with log.open("ab") as file:
            file.write(b"\n".join([*new, b""]))
        self._rotated += 1
        log.rename(f"{log}-{self._rotated:04}")
        log.touch()

    def close(self) -> None: ...


class Cam:
    """A camera that sends pictures over HTTP to whoever connected last."""

    settings = SourceSettings(name="gate", driver="camera", stream="video/gate")
    comes_and_goes = True

    def __init__(self, folder: Path) -> None:
        self.expected: list[bytes] = []
        self._port = free_port()
        self._camera: PictureServer | None = None

    def driver(self, settings: SourceSettings, clock: Clock) -> Driver:
        return CameraDriver(CameraConfig(url=f"http://127.0.0.1:{self._port}/"), settings, clock)

    def plug_in(self) -> None:
        self._camera = PictureServer(self._port)

    def unplug(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def say(self, count: int) -> None:
        assert self._camera is not None
        for number in range(len(self.expected), len(self.expected) + count):
            picture = card(number, b"gate %d" % number, 10.0)
            self.expected.append(picture)
            self._camera.send(picture)

    def close(self) -> None:
        self.unplug()


class Datagrams:
    """What sends to the driver that the README shows how to write."""

    settings = SourceSettings(name="udp", driver="udp", stream="plant/udp")
    comes_and_goes = False

    def __init__(self, folder: Path) -> None:
        self.expected: list[bytes] = []
        self._port = free_port()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def driver(self, settings: SourceSettings, clock: Clock) -> Driver:
        written = driver_module()
        return cast(Driver, written.UdpDriver(written.UdpConfig(port=self._port), settings, clock))

    def plug_in(self) -> None: ...

    def unplug(self) -> None: ...

    def say(self, count: int) -> None:
        new = numbered("udp", len(self.expected), count)
        self.expected += new
        for datagram in new:
            self._socket.sendto(datagram, ("127.0.0.1", self._port))

    def close(self) -> None:
        self._socket.close()


DEVICES: dict[str, Callable[[Path], Device]] = {
    "camera": Cam,
    "file": Logger,
    "follow": Program,
    "modbus": Meter,
    "mqtt": Broker,
    "mqtt-listener": Publisher,
    "replay": Recording,
    "serial": Instrument,
    "synthetic": Signal,
    README_DRIVER: Datagrams,
}


def numbered(name: str, start: int, count: int) -> list[bytes]:
    return [b"%s %d" % (name.encode(), number) for number in range(start, start + count)]
