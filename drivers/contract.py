"""What a driver is: the words that drivers and the source around them share. Specified in the package docstring."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import ClassVar, Literal, Protocol, TypeVar, dataclass_transform, runtime_checkable

from storage.clock import Clock
from storage.model import Append, StreamConfig
from storage.trace import Trace

MAX_DELIVERY_BYTES = 16 << 20
"""Payload in one delivery."""
MAX_DELIVERY_EVENTS = 100_000
MAX_CURSOR_BYTES = 1 << 20
MAX_PARTS = 10_000
"""Parts of one source's cursor."""
MAX_PART_BYTES = 64 << 10
MAX_PART_NAME_BYTES = 255


class DriverError(Exception):
    """Base of everything that drivers raise on purpose. `str()` says what failed, where, and what to do."""


class DeviceLostError(DriverError):
    """The device, or the link to it, is gone or not there yet. It is tried again by itself."""


class DriverConfigError(DriverError):
    """It can't work as configured: a person has to change the configuration."""


class UnknownDriverError(DriverError):
    """There is no driver of that name."""


Startup = Literal["retry", "error", "probe"]
"""`retry`: again and again. `error`: FAILED until somebody restarts it. `probe`: ABSENT, and looked for once a minute."""


class Shape(Enum):
    """What becomes of data that was read and not stored."""

    MEMORYLESS = "memoryless"
    ACKNOWLEDGED = "acknowledged"
    CURSORED = "cursored"


@dataclass(frozen=True)
class Delivery:
    """What one poll yields: frames for one or more streams, and the cursor that is committed in the same write.

    `token` means something to the driver alone, which gets the delivery back in `ack`. `parts` are those of the cursor
    that change, by name: b"" removes one.
    """

    appends: Sequence[Append]
    cursor: bytes | None = None
    token: object = None
    parts: Mapping[str, bytes] = field(default_factory=dict)

    @cached_property
    def events(self) -> int:
        return sum([len(frame.payloads) for append in self.appends for frame in append.frames])

    @cached_property
    def size_bytes(self) -> int:
        return sum([sum(map(len, frame.payloads)) for append in self.appends for frame in append.frames])


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceSettings:
    """What every source has, whatever its driver.

    `stream` and `key` may be templates where the driver says so (MQTT: `{1}` is a word of the topic counted from 0,
    `{topic}` all of it). Without a `key` the routing key is the source's name. With a `commit_interval_s` above 0
    frames are gathered and made durable once in it, which spares the flash. `node` is this gateway's name. `startup`
    says what becomes of a device that can't be had when the source starts.
    """

    name: str
    driver: str
    stream: str
    key: str = ""
    commit_interval_s: float = 0.0
    content_type: str = ""
    node: str = "edge"
    startup: Startup = "retry"

    @property
    def routing_key(self) -> str:
        return self.key or self.name

    @property
    def cursor_name(self) -> str:
        """The name under which the store keeps this source's cursor."""
        return f"source/{self.name}"


class Driver(Protocol):
    """One opening of a device. Used from one thread; see the package docstring for who calls what, when."""

    shape: ClassVar[Shape]
    pushback: ClassVar[str]
    """What happens to the data when the store takes no more, in words for a person."""
    waits_in_poll: ClassVar[bool]
    """True where `poll` itself waits for data, False where it returns at once and its caller has to wait."""

    @property
    def counters(self) -> Mapping[str, int]:
        """`good`, `bad`, `lost`, `duplicates`, `refused` in events and `bytes`, since this object was made."""

    def open(self, state: bytes | None) -> None:
        """Open the device and go on from `state`. Raises DeviceLostError or DriverConfigError."""

    def poll(self, timeout_s: float) -> Delivery | None:
        """What has come in, waiting at most `timeout_s` for it. Raises DeviceLostError."""

    def ack(self, delivery: Delivery) -> None:
        """`delivery` is on disk, and so is every one before it. Raises DeviceLostError."""

    def close(self) -> None:
        """Let go of the device. Raises nothing."""


@runtime_checkable
class KeepsParts(Protocol):
    """A driver whose cursor has parts."""

    def take_parts(self, parts: Mapping[str, bytes]) -> None:
        """All parts that were committed for this source and not removed. Called once, before `open`."""


@runtime_checkable
class Interruptible(Protocol):
    """A driver whose waiting `poll` can be ended."""

    def interrupt(self) -> None:
        """End the poll that waits, or else the next one as soon as it would. From any thread, at any time; never blocks."""


@runtime_checkable
class Tends(Protocol):
    """A driver that somebody waits for even while the store takes no more."""

    def tend(self, timeout_s: float) -> None:
        """In place of a poll: do what can't wait, for at most `timeout_s`, and hand nothing over. Raises DeviceLostError."""


@runtime_checkable
class GoesOnElsewhere(Protocol):
    """A memoryless driver whose events build on one another: after a loss it goes on at one that stands alone."""

    def dropped(self, delivery: Delivery) -> None:
        """`delivery` found no room and is counted as lost. What is handed over next has to make sense without it."""


@runtime_checkable
class MakesStreams(Protocol):
    """A driver class that knows how a stream of its events should be kept, where the configuration does not say it."""

    stream_config: ClassVar[StreamConfig]


@runtime_checkable
class AsksTheStore(Protocol):
    """A driver that must not acknowledge what the store will refuse for good."""

    def ask_with(self, takes: Callable[[str], bool]) -> None:
        """`takes` says whether events may be appended to a stream of that name. Called once, before `open`."""


@runtime_checkable
class HearsRefusals(Protocol):
    """A driver whose acknowledgement is a promise to somebody."""

    def refused(self, delivery: Delivery, streams: Collection[str]) -> None:
        """Called before `ack(delivery)`: some of what it holds for `streams`, or all, was refused for good and is not on
        disk. Everything else of it is."""


@runtime_checkable
class AsksForLimits(Protocol):
    """A driver that has to know how large an event may be, because it lets go of what it has handed over."""

    def limit_with(self, most_bytes: Callable[[str], int]) -> None:
        """`most_bytes` is the size of the largest event that a stream of that name takes. Called once, before `open`."""


@runtime_checkable
class HasTrouble(Protocol):
    """A driver that works, but not with everything: it need not be opened again, and a person should know."""

    @property
    def trouble(self) -> str | None:
        """What does not work now and what to do, in a sentence; None: nothing. From any thread."""


@runtime_checkable
class Traced(Protocol):
    """A driver with named steps of its own."""

    def trace_with(self, trace: Trace) -> None:
        """Where to name them. Called once, before `open`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A device that a probe found, as a person knows it, and the settings of a source that reads it.

    `settings` are keys of the driver's `Config`. `score` is between 0 and 1: how sure the probe is of them, None where
    there was nothing to judge by. `sample` is what the device said, printable, empty where it said nothing.
    """

    device: str
    settings: Mapping[str, str | int | float | bool]
    score: float | None = None
    sample: str = ""


class Probe(Protocol):
    """What the table of probes names: a function that looks for devices."""

    def __call__(self, clock: Clock, *, at: str | None = None, timeout_s: float = 10.0) -> Iterator[Found]:
        """The devices that are there, or only the one `at` a path or URL; candidates for one device best first.

        Takes at most some `timeout_s` for each device. Raises DeviceLostError where `at` names what can't be opened.
        """


class DriverClass(Protocol):
    """What the registration table names: a class that makes drivers, with its `Config` beside it."""

    Config: type
    shape: ClassVar[Shape]
    pushback: ClassVar[str]
    waits_in_poll: ClassVar[bool]

    def __call__(self, config: object, settings: SourceSettings, clock: Clock) -> Driver:
        """A driver that is not open yet. Raises DriverConfigError where the configuration can't work."""


def new_counters() -> dict[str, int]:
    """A driver's counters, all 0."""
    return dict.fromkeys(("good", "bad", "lost", "duplicates", "refused", "bytes"), 0)


ConfigT = TypeVar("ConfigT")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config(cls: type[ConfigT]) -> type[ConfigT]:
    """Make `cls` a driver's configuration: a frozen dataclass that refuses unknown keys, described by its docstrings.

    The settings for pydantic are a plain dictionary, so that a driver needs no more than the standard library.
    """
    made = dataclass(frozen=True, kw_only=True)(cls)
    vars_for_pydantic = {"extra": "forbid", "use_attribute_docstrings": True}
    type.__setattr__(made, "__pydantic_config__", vars_for_pydantic)
    return made
