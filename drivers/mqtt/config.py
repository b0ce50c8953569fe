"""The MQTT source's configuration, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from drivers.contract import DeviceLostError, DriverConfigError, config
from drivers.topics import is_filter
from storage.model import MAX_EVENT_BYTES
from storage.units import Duration, Size

MAX_PACKET_IDS = 65_535


@config
class MqttConfig:
    """Subscribes at an MQTT broker."""

    broker: str = "mqtt://localhost"
    """`mqtt[s]://[user:password@]host[:port]`. Ports unless given: 1883, with TLS (mqtts) 8883."""
    topics: tuple[str, ...] = ("#",)
    """Topic filters to subscribe. `$share/GROUP/FILTER` shares a subscription with other clients."""
    qos: Literal[0, 1, 2] = 1
    """Quality of service asked for. 2 is refused: see the message."""
    protocol: Literal["3.1.1", "5"] = "3.1.1"
    """MQTT version."""
    client_id: str = ""
    """Names the session at the broker, one client only. Unless given: edge-NODE-SOURCE."""
    keepalive: Duration = Duration(60)
    """A silent connection is tested after so long, and given up after as long again."""
    max_unacked: int = 1000
    """Messages that may wait for our acknowledgement at a time. Most brokers have a limit of their own."""
    max_message_bytes: Size = Size(1 << 20)
    """A larger message is acknowledged, counted as refused and not stored."""
    password_file: str = ""
    """A file that holds the password alone. The user's name stays in `broker`."""
    ca: str = ""
    """File of the authorities that may have signed the broker's certificate. Unless given: the system's."""
    certificate: str = ""
    """Our certificate, where the broker asks for one."""
    certificate_key: str = ""
    """The private key of `certificate`."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and who we are to it."""

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None

    def __str__(self) -> str:
        """Without the password: it is for messages."""
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


def parse_broker(url: str, source: str) -> Broker:
    """Raises DriverConfigError with an example."""
    hint = f'source {source}: broker is no address: write it as in "mqtt://user@broker.local:1883"'
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise DriverConfigError(f"{hint} ({error})") from error
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise DriverConfigError(hint)
    tls = parts.scheme == "mqtts"
    return Broker(
        parts.hostname,
        port or (8883 if tls else 1883),
        tls,
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
    )


def read_password(path: str, source: str) -> str:
    """The file's content without the newline at its end. Raises DeviceLostError: the file may appear yet."""
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceLostError(
            f"source {source}: password_file {path} can't be read ({error}): create it, readable by this user"
        ) from error


def check(config: MqttConfig, source: str) -> None:
    """Raises DriverConfigError for what can't work, and says what to write instead."""
    if config.qos == 2:
        raise DriverConfigError(
            f"source {source}: qos = 2 would lose messages: the client library answers PUBREC before we have the message "
            "on disk, and the broker may forget it then. Use qos = 1: messages that the broker sends again are "
            "recognised and not stored twice"
        )
    if not config.topics or not all(config.topics):
        raise DriverConfigError(
            f'source {source}: topics is empty: name what to subscribe, such as ["site/+/telemetry"]'
        )
    wrong = next((topic for topic in config.topics if not is_filter(topic)), None)
    if wrong is not None:
        raise DriverConfigError(
            f"source {source}: {wrong!r} is no topic filter: + stands for one whole word, # for the rest, at the end"
        )
    if not 1 <= config.max_unacked <= MAX_PACKET_IDS:
        raise DriverConfigError(f"source {source}: max_unacked = {config.max_unacked}: use 1 to {MAX_PACKET_IDS}")
    if not 1 <= config.max_message_bytes <= MAX_EVENT_BYTES:
        raise DriverConfigError(f"source {source}: max_message_bytes = {config.max_message_bytes}: use at most 8MiB")
    if not 5 <= config.keepalive <= 65_535:
        raise DriverConfigError(f"source {source}: keepalive = {config.keepalive}: use 5s to 18h")
    if bool(config.certificate) != bool(config.certificate_key):
        raise DriverConfigError(f"source {source}: certificate and certificate_key belong together: give both or none")
