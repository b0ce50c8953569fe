"""Seeded signals: for the demo, for tests and for load. Sample n is the same however often it is made, its faults too.

Faults are those of instruments in the field, so that what reads a stream can be tried before the field does it. Each is a share,
0 to 1: of samples, or of windows of `fault_samples` samples. What a window or a sample does follows from the seed and its
number alone, so a restart changes nothing. A sample that drops out has its number, is not handed over, and is counted as lost.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from drivers.contract import Delivery, DriverConfigError, Shape, SourceSettings, config, new_counters
from storage.clock import Clock
from storage.model import Append, Frame
from storage.units import Duration

MAX_SAMPLES_PER_POLL = 10_000
SAMPLES_AT_FULL_SPEED = 1_000
MAX_FAULT_SAMPLES = 1_000
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
    drift_per_s: float = 0.0
    """What the value goes away from the signal in a second, counted in samples at their rate."""
    spikes: float = 0.0
    """Share of the samples that are too high or too low by `spike_height`."""
    spike_height: float = 10.0
    """Height of a spike."""
    duplicates: float = 0.0
    """Share of the samples that are said twice."""
    drop_outs: float = 0.0
    """Share of the windows whose samples are missing."""
    stuck: float = 0.0
    """Share of the windows whose samples all have the value of the first."""
    bursts: float = 0.0
    """Share of the windows whose samples are held back and come all at once, at its end. Not at full speed."""
    fault_samples: int = 10
    """Samples in a window."""


@dataclass(frozen=True, slots=True)
class _Cursor:
    """The next sample's number, where the walk stands before it, and the value that it is stuck at if it is."""

    number: int = 0
    level: float = 0.0
    held: float = 0.0

    def to_bytes(self) -> bytes:
        return json.dumps([self.number, self.level, self.held]).encode()

    @staticmethod
    def from_bytes(raw: bytes | None) -> _Cursor:
        if raw is None:
            return _Cursor()
        number, level, *held = json.loads(raw)
        return _Cursor(int(number), float(level), float(held[0]) if held else 0.0)


class _Made(NamedTuple):
    """Payloads with the numbers of their samples, and how many samples dropped out."""

    payloads: list[bytes]
    numbers: list[int]
    lost: int


def uniform(seed: int, number: int) -> float:
    """A number in [-1, 1) that depends on seed and sample number alone (SplitMix64, Steele et al. 2014)."""
    mixed = (seed * 0xD1342543DE82EF95 + (number + 1) * 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((mixed ^ (mixed >> 31)) >> 11) / (1 << 52) - 1.0


def happens(share: float, seed: int, fault: int, number: int) -> bool:
    """Whether `fault` befalls a sample or a window of that number."""
    return share > 0 and uniform((seed << 4) + fault + 1, number) < 2 * share - 1


SPIKE, DUPLICATE, DROP_OUT, STUCK, BURST = range(5)


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
        for name in ("spikes", "duplicates", "drop_outs", "stuck", "bursts"):
            share = getattr(config, name)
            if not 0 <= share <= 1:
                raise DriverConfigError(f"source {settings.name}: {name} = {share}: use a share from 0 to 1")
        if not 1 <= config.fault_samples <= MAX_FAULT_SAMPLES:
            raise DriverConfigError(
                f"source {settings.name}: fault_samples = {config.fault_samples}: use 1 to {MAX_FAULT_SAMPLES}"
            )
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
        payloads, of, lost = self._made(numbers)
        self._counters["lost"] += lost
        if not payloads:
            return Delivery((), cursor=self._cursor.to_bytes())
        times_ns = [self._time_ns(number) for number in of]
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
        if stop > number and self._burst_end(stop - 1) >= stop:
            # The rest of a burst is still to come, and all of it comes then.
            stop -= stop % self._config.fault_samples
        return range(number, max(number, stop))

    def _burst_end(self, number: int) -> int:
        """The sample with which `number` comes: itself, but in a burst its last."""
        config = self._config
        window = number // config.fault_samples
        if config.rate_per_s == 0 or not happens(config.bursts, config.seed, BURST, window):
            return number
        last = (window + 1) * config.fault_samples - 1
        return min(last, config.count - 1) if config.count else last

    def _time_ns(self, number: int) -> int:
        if self._config.rate_per_s == 0:
            return self._clock.boot_ns()
        number = self._burst_end(number)
        return self._started_ns + int((number - self._first) / self._config.rate_per_s * 1e9)

    def _made(self, numbers: range) -> _Made:
        """The samples of `numbers`, faults and all. The cursor moves behind them."""
        config, level, held = self._config, self._cursor.level, self._cursor.held
        made = _Made([], [], 0)
        lost = 0
        for number in numbers:
            value, level = self._value(number, level)
            value += config.drift_per_s * number / (config.rate_per_s or 1.0)
            window, place = divmod(number, config.fault_samples)
            if happens(config.stuck, config.seed, STUCK, window):
                held = value if place == 0 else held
                value = held
            if happens(config.drop_outs, config.seed, DROP_OUT, window):
                lost += 1
                continue
            if happens(config.spikes, config.seed, SPIKE, number):
                value += config.spike_height * (1 if uniform(config.seed, -number) < 0 else -1)
            times = 2 if happens(config.duplicates, config.seed, DUPLICATE, number) else 1
            made.payloads.extend([self._payload(number, value)] * times)
            made.numbers.extend([number] * times)
        self._cursor = _Cursor(numbers.stop, level, held)
        return made._replace(lost=lost)

    def _value(self, number: int, level: float) -> tuple[float, float]:
        """Sample `number` as the signal has it, and the level of the walk behind it."""
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
