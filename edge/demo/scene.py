"""The whole cast: gateway, link and hub, and what feeds the gateway; and how they are compared in the end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from edge.client import Client
from edge.demo.feed import Feed
from edge.demo.instrument import SerialInstrument
from edge.demo.link import Link
from edge.demo.local import DurableReader, NumberedWriter
from edge.demo.mqtt import MqttPublisher, Tap
from edge.demo.nodes import NODE_COMMAND, GatewayPlan, NodeProcess, free_port, gateway_toml, hub_toml
from edge.demo.numbering import read_number
from edge.demo.verdict import Verdict, judge
from edge.errors import EdgeError, RequestRefusedError
from storage.event import Event

GATEWAY = "pump-7"
SERIAL_STREAM = "plant/flow"
WRITER_STREAM = "plant/doses"
SITES = ("north", "south", "east")


@dataclass(frozen=True, slots=True)
class Rates:
    """Events a second of each feed. The writer's are written ten at a time."""

    serial_per_s: float = 20.0
    mqtt_per_s: float = 20.0
    writer_per_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Track:
    """One source: who sends, on which streams of the gateway it lands."""

    name: str
    kind: str
    streams: tuple[str, ...]
    feeds: Sequence[Feed]

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
    """Made in `folder`. `broker_port` None: no MQTT. `close` leaves nothing running."""

    def __init__(
        self,
        folder: Path,
        *,
        broker_port: int | None,
        rates: Rates | None = None,
        command: Sequence[str] = NODE_COMMAND,
        hub_command: Sequence[str] | None = None,
    ) -> None:
        rates = rates if rates is not None else Rates()
        hub_port = free_port()
        self.hub = NodeProcess(folder / "hub", hub_toml(folder / "hub", hub_port), hub_command or command)
        self.link = Link(hub_port)
        self.tap = Tap()
        self.broker_link = None if broker_port is None else Link(broker_port, self.tap.observe)
        port = folder / "ttyFLOW"
        self.instrument = SerialInstrument("flow", port, rates.serial_per_s)
        plan = GatewayPlan(GATEWAY, self.link.port, port, None if self.broker_link is None else self.broker_link.port)
        toml = gateway_toml(plan, folder / "gateway")
        self.gateway = NodeProcess(folder / "gateway", toml, command)
        self.reader = DurableReader(self.gateway.client, SERIAL_STREAM)
        self.writer = NumberedWriter("doser", self.gateway.client, WRITER_STREAM, rates.writer_per_s / 10)
        self.publishers = (
            []
            if broker_port is None
            else [
                MqttPublisher(site, f"site/{site}/telemetry", broker_port, rates.mqtt_per_s / len(SITES))
                for site in SITES
            ]
        )
        self.tracks = [Track("flow", "serial instrument", (SERIAL_STREAM,), [self.instrument])]
        if self.publishers:
            streams = tuple(f"site/{site}" for site in SITES)
            self.tracks.append(Track("field", "MQTT publishers", streams, self.publishers))
        self.tracks.append(Track("doser", "numbered writer", (WRITER_STREAM,), [self.writer]))

    def start_feeds(self, timeout_s: float = 20.0) -> None:
        """Everything begins to send. The publishers wait for the gateway's subscription, which the broker keeps."""
        self.reader.start()
        self.instrument.start()
        self.writer.start()
        if self.publishers and not self.tap.subscribed.wait(timeout_s):
            raise EdgeError(f"the gateway did not subscribe within {timeout_s:.0f} s. {self.gateway.log_end()}")
        for publisher in self.publishers:
            publisher.start()

    def stop_feeds(self) -> None:
        """Nothing more is sent. The reader follows on."""
        for feed in self.feeds:
            feed.stop()

    @property
    def feeds(self) -> list[Feed]:
        return [self.instrument, *self.publishers, self.writer]

    def failures(self) -> list[str]:
        """What ended feeds before their time."""
        return [f"{feed.name}: {feed.failed}" for feed in (*self.feeds, self.reader) if feed.failed is not None]

    def told(self, track: Track) -> dict[str, set[int]]:
        """What was told to be safe, as known outside the gateway: by key."""
        told = {"flow": self.reader.told, "field": self.tap.told, "doser": self.writer.told}
        return told[track.name]()

    def wait_until_drained(self, timeout_s: float) -> str | None:
        """Wait until all that was captured is upstream. None when it is, else what is missing."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            missing = self._missing()
            if missing is None or time.monotonic() > deadline_s:
                return missing
            time.sleep(0.1)

    def _missing(self) -> str | None:
        taken = sum(publisher.taken for publisher in self.publishers)
        told = sum(len(numbers) for numbers in self.tap.told().values())
        if told < taken:
            return f"the gateway has acknowledged {told} of the {taken} messages that the broker took"
        return behind(self.gateway.client)

    def verdict(self, track: Track) -> Verdict:
        """What `track` was told is safe against what the hub's own streams hold, read through the hub's socket."""
        held = [read_number(event.payload) for stream in track.streams for event in self._held(stream)]
        return judge(self.told(track), track.sent, held)

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
        for feed in (self.reader, *self.feeds):
            feed.stop(timeout_s=0.0)
        self.gateway.kill()
        self.hub.kill()
        self.link.close()
        if self.broker_link is not None:
            self.broker_link.close()
        self.instrument.close()
