"""Gates: which of a camera's frames are kept. They see each packet once, in order, and know no clock but the packets' own.

    gate        lets through                                             decodes
    none        everything                                               nothing
    interval    one key frame every `every`                              nothing
    time-lapse  one JPEG every `every`                                   key frames; or what leads up to the moment
    motion      whole groups of pictures: while something moves,         key frames, two a second at most
                and around it

What a gate holds back is meant to be missing: it is counted as `gated`, and the first frame behind it is marked as a
discontinuity of that name, unless it bears another mark already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

from drivers.camera.packet import Packet
from drivers.contract import DriverConfigError

GATED = "gated"
"""The discontinuity that a gate leaves."""
NS = 1_000_000_000

GateName = Literal["none", "interval", "time-lapse", "motion"]


@dataclass(frozen=True, slots=True)
class GateSettings:
    """What a camera's configuration says of its gate: `drivers.camera.config.CameraConfig` says what each means."""

    gate: GateName = "none"
    every: float = 60.0
    motion_threshold: float = 20.0
    motion_area: float = 0.002
    pre_roll: float = 5.0
    post_roll: float = 10.0


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


def make_gate(settings: GateSettings) -> Gate:
    """The gate that is asked for. OpenCV and PyAV are loaded for one that looks, and for no other."""
    if settings.gate == "interval":
        return IntervalGate(settings.every)
    if settings.gate == "time-lapse":
        from drivers.camera.time_lapse import TimeLapseGate  # noqa: PLC0415

        return TimeLapseGate(settings.every)
    if settings.gate == "motion":
        from drivers.camera.motion import MotionDetector, MotionGate  # noqa: PLC0415

        detector = MotionDetector(settings.motion_threshold, settings.motion_area)
        return MotionGate(detector, settings.pre_roll, settings.post_roll)
    return OpenGate()


def check_gate(settings: GateSettings) -> None:
    """Raises DriverConfigError for what can't work."""
    if settings.gate in ("interval", "time-lapse") and settings.every <= 0:
        raise DriverConfigError(
            f'every = {settings.every:g}: gate = "{settings.gate}" needs a time above 0, such as "10s"'
        )
    if settings.gate != "motion":
        return
    if not 0 < settings.motion_area <= 1:
        raise DriverConfigError(
            f"motion_area = {settings.motion_area:g}: a share of the picture, above 0 and at most 1"
        )
    if not 0 < settings.motion_threshold < 256:
        raise DriverConfigError(f"motion_threshold = {settings.motion_threshold:g}: levels of brightness, 1 to 255")
