"""Seeded signals: for the demo, for tests and for load. Sample n is the same however often it is made."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from drivers.contract import Delivery, DriverConfigError, Shape, SourceSettings, config, new_counters
from storage.clock import Clock
from storage.model import Append, Frame
from storage.units import Duration

MAX_SAMPLES_PER_POLL = 10_000
SAMPLES_AT_FULL_SPEED = 1_000
_MASK = (1 << 64) - 1


@config
class SyntheticConfig:
    """A signal made up from a seed."""

    signal: Literal["sine", "ramp", "walk"] = "sine"
    """`sine`, `ramp` (a sawtooth), or `walk` (a random walk)."""
    rate_per_s: float = 1.0
    """Samples a second. 0: as many as the store takes."""
    count: int = 0
    """Stop after so many samples, over all restarts. 0: never."""
    seed: int = 0
    """Two sources with the same seed yield the same samples."""
    amplitude: float = 1.0
    """Half the height of sine and ramp; the largest step of a walk."""
    period: Duration = Duration(60)
    """Length of one wave of sine and ramp."""
    noise: float = 0.0
    """Largest deviation added to sine and ramp."""
    payload: Literal["json", "text"] = "json"
    """`json`: an object with `n` and `value`. `text`: the value alone."""


@dataclass(frozen=True, slots=True)
class _Cursor:
    """The next sample's number, and where the walk stands before it."""

    number: int = 0
    level: float = 0.0

    def to_bytes(self) -> bytes:
        return json.dumps([self.number, self.level]).encode()

    @staticmethod
    def from_bytes(raw: bytes | None) -> _Cursor:
        if raw is None:
            return _Cursor()
        number, level = json.loads(raw)
        return _Cursor(int(number), float(level))


def uniform(seed: int, number: int) -> float:
    """A number in [-1, 1) that depends on seed and sample number alone (SplitMix64, Steele et al. 2014)."""
    mixed = (seed * 0xD1342543DE82EF95 + (number + 1) * 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((mixed ^ (mixed >> 31)) >> 11) / (1 << 52) - 1.0


class SyntheticDriver:
    """Cursored: the cursor is the next sample's number, so that each sample is stored exactly once."""

    Config = SyntheticConfig
    shape: ClassVar[Shape] = Shape.CURSORED
    pushback: ClassVar[str] = "waits, and makes up for it afterwards"
    waits_in_poll: ClassVar[bool] = False

    def __init__(self, config: SyntheticConfig, settings: SourceSettings, clock: Clock) -> None:
        if not 0 <= config.rate_per_s <= 1e6:
            raise DriverConfigError(f"source {settings.name}: rate_per_s = {config.rate_per_s}: use 0 to 1000000")
        if config.period <= 0:
            raise DriverConfigError(f"source {settings.name}: period = {config.period}: use more than 0")
        self._config = config
        self._settings = settings
        self._clock = clock
        self._cursor = _Cursor()
        self._first = 0
        self._started_ns = 0
        self._counters = new_counters()

    @property
    def counters(self) -> Mapping[str, int]:
        return self._counters

    def open(self, state: bytes | None) -> None:
        self._cursor = _Cursor.from_bytes(state)
        self._first = self._cursor.number
        self._started_ns = self._clock.boot_ns()

    def poll(self, timeout_s: float) -> Delivery | None:
        """The samples that are due. Returns at once: there is nothing to wait on."""
        numbers = self._due()
        if not numbers:
            return None
        level = self._cursor.level
        payloads: list[bytes] = []
        for number in numbers:
            value, level = self._value(number, level)
            payloads.append(self._payload(number, value))
        times_ns = [self._time_ns(number) for number in numbers]
        self._cursor = _Cursor(numbers.stop, level)
        self._counters["good"] += len(payloads)
        self._counters["bytes"] += sum(map(len, payloads))
        content_type = self._settings.content_type or (
            "application/json" if self._config.payload == "json" else "text/plain"
        )
        frame = Frame(
            payloads,
            routing_key=self._settings.routing_key,
            content_type=content_type,
            captured_ns=times_ns[0],
            times_ns=times_ns,
        )
        return Delivery((Append(self._settings.stream, (frame,)),), cursor=self._cursor.to_bytes())

    def ack(self, delivery: Delivery) -> None:
        """Nothing to do: the cursor was committed with the samples."""

    def close(self) -> None:
        """Nothing to let go of."""

    def _due(self) -> range:
        number = self._cursor.number
        if self._config.rate_per_s == 0:
            stop = number + SAMPLES_AT_FULL_SPEED
        else:
            elapsed_s = (self._clock.boot_ns() - self._started_ns) / 1e9
            stop = min(self._first + 1 + int(elapsed_s * self._config.rate_per_s), number + MAX_SAMPLES_PER_POLL)
        if self._config.count:
            stop = min(stop, self._config.count)
        return range(number, max(number, stop))

    def _time_ns(self, number: int) -> int:
        if self._config.rate_per_s == 0:
            return self._clock.boot_ns()
        return self._started_ns + int((number - self._first) / self._config.rate_per_s * 1e9)

    def _value(self, number: int, level: float) -> tuple[float, float]:
        """Sample `number`, and the level of the walk behind it."""
        made_up = uniform(self._config.seed, number)
        if self._config.signal == "walk":
            level += made_up * self._config.amplitude
            return level, level
        phase = number / ((self._config.rate_per_s or 1.0) * self._config.period)
        shape = math.sin(2 * math.pi * phase) if self._config.signal == "sine" else 2 * (phase % 1.0) - 1
        return shape * self._config.amplitude + made_up * self._config.noise, level

    def _payload(self, number: int, value: float) -> bytes:
        if self._config.payload == "text":
            return b"%.6f" % value
        return b'{"n":%d,"value":%.6f}' % (number, value)
