"""What a node is doing, as data: what the local API answers, `--json` prints and the screens draw.

Times are nanoseconds since 1970 as the node believes them, ages and lengths are in the unit that ends their name.
A newer daemon may send fields that an older command line does not know: they are left alone, and a field that an older
daemon does not send takes its default.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import TypeVar, Union, cast, get_args, get_origin, get_type_hints


@dataclass(frozen=True, slots=True)
class StoreSnapshot:
    """The store. `blocked` says why nothing can be made durable now; `recovery` what opening found and mended.

    `full_in_s` is at the rate of the last while, to the limit or the end of the disk and with all that upstream holds
    given up before; None where nothing comes in. `full_stream` is the first to feel it: it loses its oldest
    (`full_loses`), or takes in no more.
    """

    path: str = ""
    store_id: str = ""
    opening: int = 0
    last_commit: int = 0
    disk_bytes: int = 0
    disk_limit_bytes: int | None = None
    free_bytes: int = 0
    full_in_s: float | None = None
    full_stream: str | None = None
    full_loses: bool = False
    blocked: str | None = None
    recovery: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceSnapshot:
    """A configured device. `state` is one word, `detail` what a person should know of it."""

    name: str
    driver: str = ""
    target: str = ""
    state: str = ""
    detail: str = ""
    events: int = 0
    bytes: int = 0
    bad: int = 0
    lost: int = 0
    refused: int = 0
    duplicates: int = 0
    restarts: int = 0
    counters: Mapping[str, int] = field(default_factory=dict)
    """What its driver counts beside these."""
    pending: int = 0
    last_event_ns: int | None = None
    retry_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class UplinkSnapshot:
    """The link to one upstream: its state, its ledger (what it confirmed), and what it still has to get.

    `behind_events` is None where only the bytes are known. `detail` says what stands in the way now.
    """

    name: str
    kind: str = ""
    url: str = ""
    guarantee: str = ""
    state: str = ""
    detail: str = ""
    streams: tuple[str, ...] = ()
    confirmed_commit: int = 0
    confirmed_ns: int | None = None
    sent_events: int = 0
    sent_bytes: int = 0
    behind_events: int | None = 0
    behind_bytes: int = 0
    next_try_in_s: float | None = None

    @property
    def moving(self) -> bool:
        """Whether data moves, or would if there were any."""
        return self.state in ("LIVE", "DRAINING")

    @property
    def behind(self) -> bool:
        """Whether upstream lacks anything."""
        return self.behind_bytes > 0 or bool(self.behind_events)


@dataclass(frozen=True, slots=True)
class GapSnapshot:
    """A range of a segment that holds no events any more. `events` is None where nobody knows how many there were."""

    position: str
    next: str
    reason: str
    events: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SegmentSnapshot:
    """A segment on disk now: offsets in bytes, `events` ever appended, its share of the key space from 0 to 1.

    `rates_per_s` is what comes in over the windows of the stream's policy, short to long, in what that counts; empty
    where it counts nothing.
    """

    id: str
    state: str
    epoch: int
    key_low: float
    key_high: float
    start: int
    length: int
    events: int
    gaps: int
    rates_per_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class DropSnapshot:
    """What a stream gave up for one reason. `unsent` of the events no upstream had confirmed. Bytes uncompressed."""

    reason: str
    events: int = 0
    bytes: int = 0
    unsent: int = 0


@dataclass(frozen=True, slots=True)
class LagSnapshot:
    """How much of one stream an upstream does not hold yet."""

    upstream: str
    bytes: int
    events: int | None = None
    state: str = ""


@dataclass(frozen=True, slots=True)
class ScalingSnapshot:
    """When a stream's segments are split and merged: `by` is `fixed`, `events` or `bytes`, the target of one segment."""

    by: str = "fixed"
    target_per_s: float = 0.0
    min_segments: int = 1
    max_segments: int = 1
    windows_s: tuple[float, ...] = ()
    cooldown_s: float = 0.0


@dataclass(frozen=True, slots=True)
class StreamSnapshot:
    """A stream on disk now. `origin` is the node that it is mirrored from, None for our own.

    `epoch` counts its scales. `durable_every_s` is 0 but for bulk streams.
    """

    name: str
    origin: str | None = None
    kind: str = ""
    priority: int = 0
    when_full: str = ""
    events: int = 0
    bytes: int = 0
    epoch: int = 0
    durable_every_s: float = 0.0
    scaling: ScalingSnapshot = ScalingSnapshot()
    segments: tuple[SegmentSnapshot, ...] = ()
    gaps: tuple[GapSnapshot, ...] = ()
    lag: tuple[LagSnapshot, ...] = ()
    dropped: tuple[DropSnapshot, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """Everything on one screen. `hub` is the address that a hub listens at."""

    node: str
    version: str = ""
    pid: int = 0
    now_ns: int = 0
    started_ns: int = 0
    hub: str | None = None
    config: str = ""
    notices: tuple[str, ...] = ()
    store: StoreSnapshot = StoreSnapshot()
    sources: tuple[SourceSnapshot, ...] = ()
    streams: tuple[StreamSnapshot, ...] = ()
    uplinks: tuple[UplinkSnapshot, ...] = ()


Snapshot = TypeVar("Snapshot")


def to_json(snapshot: object) -> dict[str, object]:
    """A snapshot as plain values, ready for `json.dumps`."""
    assert is_dataclass(snapshot) and not isinstance(snapshot, type)
    return asdict(snapshot)


def from_json(kind: type[Snapshot], raw: object) -> Snapshot:
    """The snapshot that `to_json` wrote. Raises ValueError where `raw` is no such thing."""
    if not isinstance(raw, Mapping):
        raise ValueError(f"{kind.__name__}: an object was expected, not {raw!r}")
    hints = get_type_hints(kind)
    known = {f.name for f in fields(cast("type", kind))}
    values = {name: _value(hints[name], value) for name, value in raw.items() if name in known}
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{kind.__name__}: {error}") from error


def _value(hint: object, raw: object) -> object:
    if is_dataclass(hint) and isinstance(hint, type):
        return from_json(hint, raw)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple and isinstance(raw, list | tuple):
        return tuple(_value(arguments[0], item) for item in raw)
    if origin in (Union, types.UnionType):
        return None if raw is None else _value(next(a for a in arguments if a is not type(None)), raw)
    return raw
