"""The serial driver: a port, a framer, and the time of each line."""

from __future__ import annotations

import errno
import re
import select
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import ClassVar, Literal

import serial

from drivers.contract import (
    Delivery,
    DeviceLostError,
    DriverConfigError,
    Shape,
    SourceSettings,
    config,
    new_counters,
)
from drivers.serial.framing import Framer, LineFramer, NmeaFramer, Reading
from storage.clock import Clock
from storage.model import Append, Frame

READ_BYTES = 1 << 16
MAX_LINE_BYTES = 1 << 20


@config
class SerialConfig:
    """An instrument on a serial line."""

    port: str = "/dev/ttyUSB0"
    """The device. Prefer a name under /dev/serial/by-id, which stays the same in another socket."""
    baud: int = 9600
    """Bits a second."""
    bytesize: Literal[5, 6, 7, 8] = 8
    """Data bits."""
    parity: Literal["none", "even", "odd", "mark", "space"] = "none"
    """Parity bit."""
    stopbits: Literal[1, 2] = 1
    """Stop bits."""
    framing: Literal["lines", "nmea"] = "lines"
    """`lines`: one reading a line. `nmea`: NMEA 0183 sentences; one with a wrong or no checksum is counted as bad."""
    terminator: str = "\n"
    """What ends a line. Before a bare newline one carriage return is taken off too."""
    max_line_bytes: int = 4096
    """A longer line is counted as bad and left out, up to the next terminator."""
    pattern: str = ""
    """With `lines`: a regular expression for the whole line. What does not match is counted as bad and left out."""
    skip_first_line: bool = False
    """Leave out what comes before the first terminator: an instrument that talks all the time is joined mid-line."""


class SerialDriver:
    """Reads lines from a serial port. See the package docstring."""

    Config = SerialConfig
    shape: ClassVar[Shape] = Shape.MEMORYLESS
    pushback: ClassVar[str] = "reads on; what does not fit is lost and counted"
    waits_in_poll: ClassVar[bool] = True

    def __init__(self, config: SerialConfig, settings: SourceSettings, clock: Clock) -> None:
        self._config = config
        self._settings = settings
        self._clock = clock
        self._framer = _framer(config, settings.name)
        self._port: serial.Serial | None = None
        self._skip = b""
        self._counters = new_counters()

    @property
    def counters(self) -> Mapping[str, int]:
        return self._counters | {"bad": self._counters["bad"] + self._framer.bad}

    def open(self, state: bytes | None) -> None:
        path = self._config.port
        try:
            self._port = serial.Serial(
                path,
                baudrate=self._config.baud,
                bytesize=self._config.bytesize,
                parity=self._config.parity[0].upper(),
                stopbits=self._config.stopbits,
                timeout=0,
                exclusive=True,
            )
        except ValueError as error:
            raise DriverConfigError(
                f"source {self._settings.name}: {path} can't be set up as configured ({error}): "
                "correct baud, bytesize, parity or stopbits"
            ) from error
        except (OSError, serial.SerialException) as error:
            raise DeviceLostError(f"source {self._settings.name}: {_why_not_open(path, error)}") from error
        self._skip = self._config.terminator.encode() if self._config.skip_first_line else b""

    def poll(self, timeout_s: float) -> Delivery | None:
        data = self._read(timeout_s)
        captured_ns = self._clock.boot_ns()
        readings = self._framer.feed(self._after_first_line(data))
        if not readings:
            return None
        self._counters["good"] += len(readings)
        self._counters["bytes"] += sum(len(reading.payload) for reading in readings)
        return Delivery((Append(self._settings.stream, self._frames(readings, captured_ns)),))

    def ack(self, delivery: Delivery) -> None:
        """Nobody on the line waits for it."""

    def close(self) -> None:
        port, self._port = self._port, None
        if port is None:
            return
        try:
            port.close()
        except (OSError, serial.SerialException):
            # An unplugged adapter can't be told goodbye; its descriptor is gone either way.
            return

    def _read(self, timeout_s: float) -> bytes:
        assert self._port is not None, "poll before open"
        try:
            ready, _, _ = select.select([self._port.fileno()], [], [], timeout_s)
            return bytes(self._port.read(READ_BYTES)) if ready else b""
        except (OSError, ValueError, TypeError, serial.SerialException) as error:
            # pyserial lets TypeError and ValueError out when the port vanishes between its own calls.
            raise DeviceLostError(
                f"source {self._settings.name}: {self._config.port} went away while reading ({error}): "
                "plug it in again; it is opened as soon as it is back"
            ) from error

    def _after_first_line(self, data: bytes) -> bytes:
        if not self._skip or not data:
            return data
        _, found, rest = data.partition(self._skip[-1:])
        if found:
            self._skip = b""
        return rest

    def _frames(self, readings: Sequence[Reading], captured_ns: int) -> list[Frame]:
        """One frame for each run of readings with the same headers."""
        content_type = self._settings.content_type or (
            "application/vnd.nmea0183" if self._config.framing == "nmea" else "text/plain"
        )
        return [
            Frame(
                [reading.payload for reading in run],
                routing_key=self._settings.routing_key,
                content_type=content_type,
                headers=headers,
                captured_ns=captured_ns,
            )
            for headers, run in groupby(readings, key=attrgetter("headers"))
        ]


def _framer(config: SerialConfig, source: str) -> Framer:
    if not config.terminator:
        raise DriverConfigError(f'source {source}: terminator is empty: name what ends a line, such as "\\n"')
    if not 1 <= config.max_line_bytes <= MAX_LINE_BYTES:
        raise DriverConfigError(f"source {source}: max_line_bytes = {config.max_line_bytes}: use 1 to {MAX_LINE_BYTES}")
    terminator = config.terminator.encode()
    if config.framing == "nmea":
        return NmeaFramer(terminator, config.max_line_bytes)
    try:
        return LineFramer(terminator, config.max_line_bytes, config.pattern)
    except re.error as error:
        raise DriverConfigError(
            f"source {source}: pattern {config.pattern!r} is no regular expression: {error}"
        ) from error


def _why_not_open(path: str, error: Exception) -> str:
    """What a person should do about a port that does not open."""
    number = getattr(error, "errno", None)
    if number == errno.ENOENT or not Path(path).exists():
        beside = sorted(str(p) for p in Path("/dev/serial/by-id").glob("*"))
        found = f"there is {', '.join(beside)}" if beside else "no serial adapter is plugged in"
        return f"{path} is not there ({found}): plug it in or correct `port`; it is tried again by itself"
    if number == errno.EACCES:
        return f"{path} may not be opened by this user: add it to the group that owns the device (dialout on Debian)"
    if number in (errno.EBUSY, errno.EAGAIN):
        return f"{path} is in use by another program: stop that one; it is tried again by itself"
    return f"{path} can't be opened ({error}): check the adapter; it is tried again by itself"
