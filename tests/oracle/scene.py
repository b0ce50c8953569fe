"""The demo's cast, and a broker at which the gateway subscribes, with publishers of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.demo.link import Link
from edge.demo.scene import DEVICES, Rates, Scene, Track
from edge.errors import EdgeError
from tests.oracle.tap import MqttPublisher, Tap


class SceneWithBroker(Scene):
    """What was told to be safe is what the gateway acknowledged to the broker, seen on the wire between the two."""

    def __init__(
        self, folder: Path, broker_port: int, *, rates: Rates, command: Sequence[str], hub_command: Sequence[str]
    ) -> None:
        self.tap = Tap()
        self.broker_link = Link(broker_port, self.tap.observe)
        super().__init__(
            folder, broker_port=self.broker_link.port, rates=rates, command=command, hub_command=hub_command
        )
        self._publishers = [
            MqttPublisher(f"{site}-field", f"site/{site}/telemetry", broker_port, rates.mqtt_per_s / len(DEVICES))
            for site in DEVICES
        ]
        streams = tuple(f"site/{site}" for site in DEVICES)
        self.tracks.append(Track("field", "MQTT broker", streams, self._publishers, self.tap.told))

    def start_feeds(self, timeout_s: float = 20.0) -> None:
        """The publishers wait for the gateway's subscription, which the broker keeps."""
        if not self.tap.subscribed.wait(timeout_s):
            raise EdgeError(f"the gateway did not subscribe within {timeout_s:.0f} s. {self.gateway.log_end()}")
        super().start_feeds()

    def missing(self) -> str | None:
        taken = sum(publisher.taken for publisher in self._publishers)
        told = sum(len(numbers) for numbers in self.tap.told().values())
        if told < taken:
            return f"the gateway has acknowledged {told} of the {taken} messages that the broker took"
        return super().missing()

    def close(self) -> None:
        super().close()
        self.broker_link.close()
