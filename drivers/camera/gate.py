"""Gates: which of a camera's frames are kept. They see each packet once, in order, and know no clock but the packets' own.

    gate        lets through                                             decodes
    none        everything                                               nothing
    interval    one key frame every `every`                              nothing
    time-lapse  one JPEG every `every`                                   key frames, and of a GOP what leads up to a moment
    motion      whole GOPs: while something moves, and around it         key frames, two a second at most

What a gate holds back is meant to be missing. The first frame behind it is marked as a discontinuity, `gated`, unless
it bears another mark already, and counted in `gated`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Protocol

from drivers.camera.packet import Packet
from drivers.contract import DriverConfigError

GATED = "gated"
"""The discontinuity that a gate leaves."""
NS = 1_000_000_000

GateName = Literal["none", "interval", "time-lapse", "motion"]


class GateConfig(Protocol):
    """What a camera's configuration says of its gate."""

    @property
    def gate(self) -> GateName:
        """Which."""

    @property
    def every(self) -> float:
        """Seconds between two frames of `interval` and `time-lapse`."""

    @property
    def motion_threshold(self) -> float:
        """By how many levels of brightness (of 256) a spot must change to have moved."""

    @property
    def motion_area(self) -> float:
        """The share of the picture, 0 to 1, that must have moved in one piece."""

    @property
    def pre_roll(self) -> float:
        """Seconds kept from before motion; what is kept begins at a key frame."""

    @property
    def post_roll(self) -> float:
        """Seconds kept after the last motion."""


class Gate(Protocol):
    """Fed with every packet of a camera in the order of its stream."""

    gated: int
    """Packets held back for good."""

    def feed(self, packet: Packet) -> list[Packet]:
        """What may pass now: often nothing, after motion several."""


class OpenGate:
    """Everything passes."""

    gated = 0

    def feed(self, packet: Packet) -> list[Packet]:
        return [packet]


class IntervalGate:
    """One key frame every `every_s` of the camera's time, nothing decoded."""

    def __init__(self, every_s: float) -> None:
        self.gated = 0
        self._pace = Pace(every_s)

    def feed(self, packet: Packet) -> list[Packet]:
        if not packet.key_frame or not self._pace.is_due(packet.captured_ns):
            self.gated += 1
            return []
        self._pace.step(packet.captured_ns)
        return [marked(packet)]


class Pace:
    """When the next one is due, on a grid of `every_s` that a late one does not shift."""

    def __init__(self, every_s: float) -> None:
        self.every_ns = int(every_s * NS)
        self.due_ns: int | None = None

    def is_due(self, now_ns: int) -> bool:
        """Also when the clock went back further than one step: nothing must stop for that."""
        return self.due_ns is None or now_ns >= self.due_ns or now_ns < self.due_ns - 2 * self.every_ns

    def step(self, now_ns: int) -> None:
        """One was taken at `now_ns`."""
        on_grid = now_ns if self.due_ns is None else self.due_ns
        late = not 0 <= now_ns - on_grid < self.every_ns
        self.due_ns = (now_ns if late else on_grid) + self.every_ns


def marked(packet: Packet) -> Packet:
    """`packet` as the first behind what was held back."""
    return packet if packet.discontinuity else replace(packet, discontinuity=GATED)


def make_gate(config: GateConfig) -> Gate:
    """The gate that `config` asks for. Loads OpenCV and PyAV only for one that looks. Raises DriverConfigError."""
    _check(config)
    if config.gate == "interval":
        return IntervalGate(config.every)
    return OpenGate()


def _check(config: GateConfig) -> None:
    if config.gate in ("interval", "time-lapse") and config.every <= 0:
        raise DriverConfigError(f'every = {config.every:g}: gate = "{config.gate}" needs a time above 0, such as "10s"')
    if config.gate != "motion":
        return
    if not 0 < config.motion_area <= 1:
        raise DriverConfigError(f"motion_area = {config.motion_area:g}: a share of the picture, above 0 and at most 1")
    if not 0 < config.motion_threshold < 256:
        raise DriverConfigError(f"motion_threshold = {config.motion_threshold:g}: levels of brightness, 1 to 255")
