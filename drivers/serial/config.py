"""The serial driver's configuration, and the framer that it asks for."""

from __future__ import annotations

import re
from typing import Literal

from drivers.contract import DriverConfigError, config
from drivers.serial.framing import (
    Checksum,
    ChecksumName,
    Framer,
    LineFramer,
    NmeaFramer,
    Order,
    RawFramer,
    SizedFramer,
    cobs_framer,
    fixed_size,
    prefixed_size,
    slip_framer,
)
from drivers.serial.names import check_port
from storage.units import Duration

MAX_LINE_BYTES = 1 << 20
MAX_FRAME_BYTES = 1 << 16
MAX_SYNC_BYTES = 16
MAX_FRAME_TIMEOUT_S = 3600.0

Parity = Literal["none", "even", "odd", "mark", "space"]
Framing = Literal["lines", "nmea", "fixed", "length", "slip", "cobs", "raw"]


@config
class SerialConfig:
    """An instrument on a serial line."""

    port: str = "/dev/ttyUSB0"
    """The device: a path, best one under /dev/serial/by-id, which stays the same in another socket; a pattern such as
    /dev/serial/by-id/usb-FTDI*, which one device may match; or "usb:VID:PID", "usb:VID:PID:SERIAL" or "usb:VID:PID@SOCKET".
    It is looked up at every opening."""
    baud: int = 9600
    """Bits a second."""
    bytesize: Literal[5, 6, 7, 8] = 8
    """Data bits."""
    parity: Parity = "none"
    """Parity bit."""
    stopbits: Literal[1, 2] = 1
    """Stop bits."""
    framing: Framing = "lines"
    """`lines`: one reading a line. `nmea`: NMEA 0183 sentences; one with a wrong or no checksum is counted as bad. `fixed`:
    frames of `frame_bytes`. `length`: frames with a length field. `slip`, `cobs`: packets, decoded. `raw`: what came, as it
    came, with the time of its first byte."""
    payload: Literal["json", "raw"] = "json"
    """`json`: NMEA sentences that are known become a JSON object with units; every other framing and sentence is not
    touched. `raw`: nothing is."""
    frame_timeout: Duration = Duration(0)
    """Silence of this length ends a frame: what is not complete then is bad, and with `raw` it is one reading. An adapter
    delivers every 16 ms or so: below 20 ms it tells little. 0: a frame may pause as long as it likes."""
    terminator: str = "\n"
    """With `lines` and `nmea`: what ends a line. Before a bare newline one carriage return is taken off too."""
    max_line_bytes: int = 4096
    """With `lines` and `nmea`: a longer line is counted as bad and left out, up to the next terminator."""
    pattern: str = ""
    """With `lines`: a regular expression for the whole line. What does not match is counted as bad and left out."""
    skip_first_line: bool = False
    """With `lines` and `nmea`: leave out what comes before the first terminator: an instrument that talks all the time is
    joined mid-line."""
    frame_bytes: int = 0
    """With `fixed`: the length of a frame, sync and checksum included."""
    max_frame_bytes: int = 4096
    """With `length`, `slip`, `cobs` and `raw`: a longer frame is counted as bad (`raw`: it is cut)."""
    sync: str = ""
    """With `fixed` and `length`: the bytes that every frame begins with, in hexadecimal, such as "AA 55"."""
    length_offset: int = 0
    """With `length`: how many bytes of the frame, the sync included, come before its length field."""
    length_bytes: Literal[1, 2, 3, 4] = 1
    """With `length`: width of the length field."""
    length_order: Order = "big"
    """With `length`: byte order of the length field."""
    length_adds: int = 0
    """With `length`: size of the whole frame less the value of its length field."""
    checksum: ChecksumName = "none"
    """With `fixed`, `length`, `slip` and `cobs`: what the last bytes of a frame are."""
    checksum_order: Order = "big"
    """Byte order of the checksum. Modbus has "little"."""
    checksum_from: int = 0
    """The first byte of a frame that the checksum covers."""


def check(config: SerialConfig, source: str) -> None:
    """Raises DriverConfigError for what can't work, and says what to write instead."""
    try:
        check_port(config.port)
    except ValueError as error:
        raise DriverConfigError(f"source {source}: port = {config.port!r}: {error}") from error
    if not config.terminator:
        raise DriverConfigError(f'source {source}: terminator is empty: name what ends a line, such as "\\n"')
    bounds = {
        "baud": (config.baud, 50, 10_000_000),
        "max_line_bytes": (config.max_line_bytes, 1, MAX_LINE_BYTES),
        "max_frame_bytes": (config.max_frame_bytes, 1, MAX_FRAME_BYTES),
        "length_offset": (config.length_offset, 0, 255),
        "length_adds": (config.length_adds, -255, MAX_FRAME_BYTES),
        "checksum_from": (config.checksum_from, 0, 255),
        "frame_timeout": (config.frame_timeout, 0, MAX_FRAME_TIMEOUT_S),
    }
    if config.framing == "fixed":
        bounds["frame_bytes"] = (config.frame_bytes, 1, MAX_FRAME_BYTES)
    for name, (value, least, most) in bounds.items():
        if not least <= value <= most:
            raise DriverConfigError(f"source {source}: {name} = {value}: use {least:g} to {most:g}")


def framer(config: SerialConfig, source: str) -> Framer:
    """A new framer. Raises DriverConfigError."""
    terminator = config.terminator.encode()
    match config.framing:
        case "lines":
            try:
                return LineFramer(terminator, config.max_line_bytes, config.pattern)
            except re.error as error:
                raise DriverConfigError(
                    f"source {source}: pattern {config.pattern!r} is no regular expression: {error}"
                ) from error
        case "nmea":
            return NmeaFramer(terminator, config.max_line_bytes, decoded=config.payload == "json")
        case "slip":
            return slip_framer(_checksum(config), config.max_frame_bytes)
        case "cobs":
            return cobs_framer(_checksum(config), config.max_frame_bytes)
        case "raw":
            return RawFramer(config.max_frame_bytes, until_gap=config.frame_timeout > 0)
        case "fixed" | "length":
            return _sized(config, source)


def _checksum(config: SerialConfig) -> Checksum:
    return Checksum(config.checksum, config.checksum_order, config.checksum_from)


def _sized(config: SerialConfig, source: str) -> Framer:
    try:
        sync = bytes.fromhex(config.sync)
    except ValueError as error:
        raise DriverConfigError(
            f'source {source}: sync = {config.sync!r}: write bytes in hexadecimal, such as "AA 55"'
        ) from error
    if len(sync) > MAX_SYNC_BYTES:
        raise DriverConfigError(f"source {source}: sync has {len(sync)} bytes: at most {MAX_SYNC_BYTES}")
    if not sync and not config.frame_timeout:
        raise DriverConfigError(
            f'source {source}: framing = "{config.framing}" needs `sync` or `frame_timeout`: after a lost byte there is '
            "nothing else by which the next frame could be found"
        )
    checksum = _checksum(config)
    if config.framing == "fixed":
        least = max(1, len(sync) + checksum.width, checksum.least_bytes)
        if config.frame_bytes < least:
            raise DriverConfigError(
                f"source {source}: frame_bytes = {config.frame_bytes}: sync and checksum alone take {least}"
            )
        return SizedFramer(sync, fixed_size(config.frame_bytes), checksum, config.frame_bytes)
    least = max(config.length_offset + config.length_bytes + checksum.width, checksum.least_bytes)
    if config.max_frame_bytes < least:
        raise DriverConfigError(
            f"source {source}: max_frame_bytes = {config.max_frame_bytes}: sync, length field and checksum take {least}"
        )
    if config.length_offset < len(sync):
        raise DriverConfigError(
            f"source {source}: length_offset = {config.length_offset}: the sync alone takes {len(sync)} bytes"
        )
    size_of = prefixed_size(
        config.length_offset,
        config.length_bytes,
        config.length_order,
        config.length_adds,
        least,
        config.max_frame_bytes,
    )
    return SizedFramer(sync, size_of, checksum)
