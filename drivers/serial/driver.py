"""The serial driver: a line, a framer, and the time of each reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import ClassVar

from drivers.contract import (
    Delivery,
    DeviceLostError,
    DriverConfigError,
    Shape,
    SourceSettings,
    new_counters,
)
from drivers.serial.config import SerialConfig, check, framer
from drivers.serial.framing import Reading
from drivers.serial.line import Line
from drivers.serial.marks import Kind, Piece
from storage.clock import Clock
from storage.model import Append, Frame, Headers

CONTENT_TYPES = {"lines": "text/plain", "nmea": "application/vnd.nmea0183"}
"""Of a framing's readings; the others are application/octet-stream."""


class SerialDriver:
    """Reads frames from a serial port. See the package docstring."""

    Config = SerialConfig
    shape: ClassVar[Shape] = Shape.MEMORYLESS
    pushback: ClassVar[str] = "reads on; what does not fit is lost and counted"
    waits_in_poll: ClassVar[bool] = True

    def __init__(self, config: SerialConfig, settings: SourceSettings, clock: Clock) -> None:
        check(config, settings.name)
        self._config = config
        self._settings = settings
        self._clock = clock
        self._framer = framer(config, settings.name)
        self._line: Line | None = None
        self._skip = b""
        self._last_ns = 0
        self._counters = new_counters() | {"breaks": 0, "damaged_bytes": 0}

    @property
    def counters(self) -> Mapping[str, int]:
        return self._counters | {"bad": self._framer.bad}

    def open(self, state: bytes | None) -> None:
        config = self._config
        try:
            self._line = Line(config.port, config.baud, config.bytesize, config.parity, config.stopbits)
        except ValueError as error:
            raise DriverConfigError(
                f"source {self._settings.name}: {config.port} can't be set up as configured ({error}): "
                "correct baud, bytesize, parity or stopbits"
            ) from error
        except DeviceLostError as error:
            raise DeviceLostError(f"source {self._settings.name}: {error}") from error
        if config.skip_first_line and config.framing in ("lines", "nmea"):
            self._skip = config.terminator.encode()

    def poll(self, timeout_s: float) -> Delivery | None:
        assert self._line is not None, "poll before open"
        try:
            pieces = self._line.read(self._wait_s(timeout_s))
        except DeviceLostError as error:
            # Nothing will complete what had begun.
            readings = self._framer.gap()
            if readings:
                return self._delivery(readings, self._clock.boot_ns())
            raise DeviceLostError(f"source {self._settings.name}: {error}") from error
        now_ns = self._clock.boot_ns()
        readings = self._taken(pieces, now_ns) if pieces else self._after_silence(now_ns)
        return self._delivery(readings, now_ns) if readings else None

    def ack(self, delivery: Delivery) -> None:
        """Nobody on the line waits for it."""

    def interrupt(self) -> None:
        """Nobody waits for an acknowledgement, so a poll goes on: without this one it would be cut into short ones."""

    def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def _wait_s(self, timeout_s: float) -> float:
        """Not past the end of a frame that is cut by silence."""
        if not self._config.frame_timeout or not self._framer.pending:
            return timeout_s
        silent_s = (self._clock.boot_ns() - self._last_ns) / 1e9
        return min(timeout_s, max(0.0, self._config.frame_timeout - silent_s))

    def _taken(self, pieces: Sequence[Piece], now_ns: int) -> list[Reading]:
        self._last_ns = now_ns
        kinds = [piece.kind for piece in pieces]
        self._counters["breaks"] += kinds.count(Kind.BREAK)
        self._counters["damaged_bytes"] += kinds.count(Kind.DAMAGED)
        if self._config.framing == "raw":
            return self._framer.feed(b"".join([piece.data for piece in pieces]), now_ns)
        readings: list[Reading] = []
        for kind, data in pieces:
            if kind is Kind.DATA:
                readings += self._framer.feed(self._after_first_line(data), now_ns)
            else:
                readings += self._framer.spoil(data, now_ns)
        return readings

    def _after_silence(self, now_ns: int) -> list[Reading]:
        """Nothing was there to be read: only so is a pause the line's, and not ours."""
        if not self._config.frame_timeout or not self._framer.pending:
            return []
        return self._framer.gap() if now_ns - self._last_ns >= self._config.frame_timeout * 1e9 else []

    def _after_first_line(self, data: bytes) -> bytes:
        if not self._skip or not data:
            return data
        _, found, rest = data.partition(self._skip[-1:])
        if found:
            self._skip = b""
        return rest

    def _delivery(self, readings: Sequence[Reading], captured_ns: int) -> Delivery:
        """One frame for each run of readings that differ in payload alone."""
        self._counters["good"] += len(readings)
        self._counters["bytes"] += sum([len(reading.payload) for reading in readings])
        usual = CONTENT_TYPES.get(self._config.framing, "application/octet-stream")
        frames = [
            Frame(
                [reading.payload for reading in run],
                routing_key=self._settings.routing_key,
                content_type=self._settings.content_type or content_type or usual,
                headers=headers,
                captured_ns=captured_ns if time_ns is None else time_ns,
            )
            for (headers, content_type, time_ns), run in groupby(readings, key=_alike)
        ]
        return Delivery((Append(self._settings.stream, frames),))


def _alike(reading: Reading) -> tuple[Headers, str, int | None]:
    return reading.headers, reading.content_type, reading.time_ns
