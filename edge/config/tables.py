"""The tables of the configuration as the file has them: every key with its type, default and meaning.

The text below a field is its documentation: the sample, the JSON Schema and the error messages are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar, dataclass_transform

from drivers.contract import Startup
from edge.places import DEFAULT_SOCKET
from storage.model import BULK, RetentionPolicy, ScalingPolicy, StreamConfig
from storage.units import Duration, Size

Table = TypeVar("Table")

BULK_DURABLE_EVERY = Duration(1)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def table(cls: type[Table]) -> type[Table]:
    """Make `cls` a table: a frozen dataclass that refuses unknown keys and is described by its field docstrings."""
    made = dataclass(frozen=True, kw_only=True)(cls)
    made.__pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}  # type: ignore[attr-defined]
    return made


@table
class NodeTable:
    """This machine. A gateway is a node with sources, a hub a node with [hub]; one can be both."""

    name: str
    """The identity upstream: at the hub this node's stream plant/flow is called NAME/plant/flow."""
    data_dir: Path = Path("/var/lib/edge")
    """Where everything is kept."""
    disk_limit: Size | None = None
    """Bytes on disk at most: everything below data_dir's store, log included, at its peak. At least 16MiB."""
    socket: Path = DEFAULT_SOCKET
    """The Unix socket of the local API, for the group of the process."""


@table
class SourceTable:
    """A device. Keys below `stream` depend on the driver."""

    name: str
    """Its name on screens and in the log, and the routing key of its events unless `key` says otherwise."""
    driver: str
    """What reads it."""
    stream: str
    """Where its events go. Made on first use, with its [[stream]] settings or the defaults."""
    key: str = ""
    """Routing key of its events: order is kept per key."""
    commit_interval: Duration = Duration(0)
    """Make durable once in that time, which spares the flash; 0s: at once."""
    content_type: str = ""
    """MIME type that its events are marked with."""
    startup: Startup = "retry"
    """When the device can't be had at the start: "retry" for ever; "error": FAILED until somebody restarts the source;
    "probe": it may not be there at all, which is no fault, and it is looked for once a minute."""


@table
class RetentionTable:
    """How long a stream is kept. What an upstream has not confirmed is never given up for its age."""

    max_age: Duration | None = None
    """By clocks that never step: a jump of the wall clock expires nothing."""
    max_bytes: Size | None = None
    """Uncompressed; at it, when_full says what happens."""
    consumed: bool = False
    """Give up what every reader group has read and every upstream has confirmed."""


@table
class ScalingTable:
    """When a stream's segments are split and merged. Order is kept per key, whatever happens."""

    by: Literal["fixed", "events", "bytes"]
    """What is counted; "fixed": nothing, and there are min_segments."""
    target_per_s: float = 0.0
    """Events or bytes (uncompressed) a second that one segment is meant for. It is split above 5 times that over the
    short window, 2 times over the middle one, or that over the long one; two neighbours below half are merged."""
    min_segments: int = 1
    """There are never fewer."""
    max_segments: int = 16
    """There are never more."""
    windows: tuple[Duration, Duration, Duration] = (Duration(10), Duration(60), Duration(300))
    """Over which rates are averaged: short, middle, long."""
    cooldown: Duration = Duration(60)
    """At least this between two scales of a stream."""

    def policy(self) -> ScalingPolicy:
        """The same as the store keeps it. Raises StorageError where it makes no sense."""
        short, middle, long = map(float, self.windows)
        return ScalingPolicy(
            self.by, self.target_per_s, self.min_segments, self.max_segments, (short, middle, long),
            float(self.cooldown),
        )  # fmt: skip


@table
class StreamTable:
    """How a stream is kept. A stream that is not listed here has the defaults."""

    name: str
    """The stream, such as "plant/flow"."""
    kind: Literal["telemetry", "bulk"] = "telemetry"
    """"telemetry": small events, through the log and compressed. "bulk": large ones, such as video, written once, to
    files of their own."""
    durable_every: Duration | None = None
    """Of a bulk stream: what sources bring is durable after that time at the latest; 1s unless set. A power cut costs that
    much of what nobody was told is safe."""
    priority: int = 10
    """Which goes first where streams compete; a larger number first, and for room the smallest gives up first."""
    when_full: Literal["block", "drop-oldest", "thin"] = "block"
    """At max_bytes or disk_limit: "block" takes in no more and loses nothing that was taken, "drop-oldest" gives up the
    oldest, "thin" first every second block of it. What is given up is counted and leaves a gap."""
    retention: RetentionTable = field(default_factory=RetentionTable)
    """How long it is kept: max_age, max_bytes (uncompressed). Without it: until disk_limit."""
    scaling: ScalingTable | None = None
    """When its segments are split and merged: by, target_per_s, min_segments, max_segments, windows, cooldown. Without
    it there is one segment."""
    attributes: dict[str, str] = field(default_factory=dict)
    """Whatever upstream should know of it, such as a unit or a place."""

    def store_config(self) -> StreamConfig:
        """The same as the store keeps it. Raises StorageError where it makes no sense."""
        kept = self.retention
        max_age_s = None if kept.max_age is None else float(kept.max_age)
        policy = RetentionPolicy(max_age_s, kept.max_bytes, kept.consumed)
        scaling = ScalingPolicy() if self.scaling is None else self.scaling.policy()
        every_s = float(self.durable_every or BULK_DURABLE_EVERY) if self.kind == BULK else 0.0
        return StreamConfig(self.kind, self.priority, self.when_full, scaling, dict(self.attributes), policy, every_s)


@table
class UpstreamTable:
    """Where streams are brought to."""

    name: str
    """Its name on screens and in the log."""
    kind: Literal["hub"] = "hub"
    """What it is. "hub": this same program, elsewhere; exactly once."""
    url: str
    """Where it is: https://HOST:PORT. Plain http only to a loopback address."""
    streams: tuple[str, ...] = ("*",)
    """Which streams, as shell patterns over whole names: "plant/*" takes in plant/hall/flow."""
    token_file: Path | None = None
    """A file with the token that the hub knows this node by."""
    ca_file: Path | None = None
    """Certificates to trust (PEM), where the hub's is not signed by an authority that the system trusts."""


@table
class HubTable:
    """Take in what gateways bring."""

    listen: str
    """ADDRESS:PORT to listen at. Other than a loopback address needs certificate, key and tokens_file."""
    tokens_file: Path | None = None
    """TOML: one line for each gateway that may connect, "node name" = "its token"."""
    certificate: Path | None = None
    """Certificate chain (PEM) that gateways see."""
    key: Path | None = None
    """The certificate's private key (PEM)."""


LATER: dict[str, dict[str, str]] = {
    "source": {},
    "stream": {},
    "upstream": {
        "bandwidth": "the link is used as it is for now",
        "dead_letter": "what the upstream refuses stops the uplink and is shown for now",
        "certificate": "use token_file",
        "key": "use token_file",
        "schedule": "the link is used at all times for now",
    },
}
"""Keys that are known, and that this version does not do: an error each, with what happens instead."""

LATER_VALUES: dict[str, dict[str, tuple[str, ...]]] = {
    "source": {},
    "stream": {},
    "upstream": {"kind": ("directory", "kafka", "mqtt", "pravega")},
}
"""Values that are known, and that this version does not do."""
