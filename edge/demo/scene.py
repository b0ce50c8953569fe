"""The whole cast: gateway, link and hub, and what feeds the gateway; and how they are compared in the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from edge.client import Client
from edge.demo.camera import HttpCamera
from edge.demo.feed import Feed
from edge.demo.instrument import SerialInstrument
from edge.demo.link import Link
from edge.demo.local import DurableReader, NumberedWriter
from edge.demo.mqtt import Device
from edge.demo.nodes import NODE_COMMAND, GatewayPlan, NodeProcess, free_port, gateway_toml, hub_toml
from edge.demo.numbering import read_number
from edge.demo.verdict import Verdict, judge
from edge.errors import EdgeError, RequestRefusedError
from storage.event import Event

GATEWAY = "pump-7"
SERIAL_STREAM = "plant/flow"
WRITER_STREAM = "plant/doses"
CAMERA_STREAM = "video/gate"
DEVICES = ("north", "south", "east")


@dataclass(frozen=True, slots=True)
class Rates:
    """Events a second of each feed. The writer's are written ten at a time; MQTT's are shared by its devices."""

    serial_per_s: float = 20.0
    mqtt_per_s: float = 20.0
    writer_per_s: float = 20.0
    pictures_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Track:
    """One source: who sends, on which streams of the gateway it lands, what was told to be safe, by key."""

    name: str
    kind: str
    streams: tuple[str, ...]
    feeds: Sequence[Feed]
    told: Callable[[], dict[str, set[int]]]

    @property
    def sent(self) -> Mapping[str, int]:
        return {feed.name: feed.sent for feed in self.feeds}


def behind(client: Client) -> str | None:
    """What upstream lacks of a gateway, in words; None where it holds all."""
    try:
        uplinks = client.status().uplinks
    except EdgeError as error:
        return str(error)
    late = [uplink for uplink in uplinks if uplink.behind or uplink.state != "LIVE"]
    return f"the link is {late[0].state}: {late[0].detail or 'still sending'}" if late else None


def drained(client: Client, timeout_s: float) -> bool:
    """Wait until upstream holds all of a gateway. False: it does not after `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    while behind(client) is not None:
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.1)
    return True


class Scene:
    """Made in `folder`. `broker_port`: the gateway subscribes there too. `close` leaves nothing running.

    With a rate of 0 pictures a second there is no camera.
    """

    def __init__(
        self,
        folder: Path,
        *,
        broker_port: int | None = None,
        rates: Rates | None = None,
        command: Sequence[str] = NODE_COMMAND,
        hub_command: Sequence[str] | None = None,
    ) -> None:
        rates = rates if rates is not None else Rates()
        hub_port = free_port()
        self.hub = NodeProcess(folder / "hub", hub_toml(folder / "hub", hub_port), hub_command or command)
        self.link = Link(hub_port)
        port = folder / "ttyFLOW"
        self.instrument = SerialInstrument("flow", port, rates.serial_per_s)
        listener_port = free_port()
        self.camera = HttpCamera("gate", rates.pictures_per_s) if rates.pictures_per_s else None
        url = self.camera.url if self.camera is not None else None
        plan = GatewayPlan(GATEWAY, self.link.port, port, listener_port, broker_port, url)
        toml = gateway_toml(plan, folder / "gateway")
        self.gateway = NodeProcess(folder / "gateway", toml, command)
        self.reader = DurableReader(self.gateway.client, SERIAL_STREAM)
        self.viewer = DurableReader(self.gateway.client, CAMERA_STREAM)
        self.writer = NumberedWriter("doser", self.gateway.client, WRITER_STREAM, rates.writer_per_s / 10)
        self.devices = [
            Device(name, f"site/{name}/telemetry", listener_port, rates.mqtt_per_s / len(DEVICES)) for name in DEVICES
        ]
        self.tracks = [
            Track("flow", "serial instrument", (SERIAL_STREAM,), [self.instrument], self.reader.told),
            Track(
                "local",
                "MQTT devices",
                tuple(f"devices/{name}" for name in DEVICES),
                self.devices,
                lambda: {device.name: device.told() for device in self.devices},
            ),
            Track("doser", "numbered writer", (WRITER_STREAM,), [self.writer], self.writer.told),
        ]
        if self.camera is not None:
            self.tracks.append(Track("gate", "camera", (CAMERA_STREAM,), [self.camera], self.viewer.told))

    def start_feeds(self) -> None:
        """Everything begins to send."""
        for reader in self.readers:
            reader.start()
        for feed in self.feeds:
            feed.start()

    def stop_feeds(self) -> None:
        """Nothing more is sent. The reader of the instrument follows on; that of the camera has seen enough.

        A bulk stream is durable seconds later: what it saw after the backlog was looked at would be called lost.
        """
        for feed in self.feeds:
            feed.stop()
        self.viewer.freeze()

    @property
    def readers(self) -> list[DurableReader]:
        return [self.reader] if self.camera is None else [self.reader, self.viewer]

    @property
    def feeds(self) -> list[Feed]:
        return [feed for track in self.tracks for feed in track.feeds]

    def failures(self) -> list[str]:
        """What ended feeds before their time."""
        return [f"{feed.name}: {feed.failed}" for feed in (*self.feeds, *self.readers) if feed.failed is not None]

    def wait_until_drained(self, timeout_s: float) -> str | None:
        """Wait until all that was captured is upstream. None when it is, else what is missing."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            missing = self.missing()
            if missing is None or time.monotonic() > deadline_s:
                return missing
            time.sleep(0.1)

    def missing(self) -> str | None:
        """What is on its way yet, in words; None where nothing is."""
        return behind(self.gateway.client)

    def verdict(self, track: Track) -> Verdict:
        """What `track` was told is safe against what the hub's own streams hold, read through the hub's socket."""
        held = [read_number(event.payload) for stream in track.streams for event in self._held(stream)]
        return judge(track.told(), track.sent, held)

    def _held(self, stream: str) -> list[Event]:
        try:
            return list(self.hub.client.read(f"{GATEWAY}/{stream}", "head"))
        except RequestRefusedError as error:
            if error.status == 404:
                return []
            raise

    def differences(self) -> list[str]:
        """Where gateway and hub do not hold the same events at the same positions."""
        found = []
        for stream in (stream for track in self.tracks for stream in track.streams):
            here = self.gateway.client.read(stream, "head")
            for ours, theirs in zip_longest(here, self._held(stream)):
                mine = None if ours is None else (ours.position, ours.next, ours.payload, ours.time_ns)
                if theirs is None or mine != (theirs.position, theirs.next, theirs.payload, theirs.time_ns):
                    found.append(f"{stream}: the gateway holds {mine}, the hub {theirs}")
                    break
        return found

    def close(self) -> None:
        for feed in (*self.readers, *self.feeds):
            feed.stop(timeout_s=0.0)
        self.gateway.kill()
        self.hub.kill()
        self.link.close()
        self.instrument.close()
        if self.camera is not None:
            self.camera.close()
