"""Which device a `port` means: a path, a pattern, or a USB adapter by what it says of itself.

    /dev/ttyUSB0                      this path
    /dev/serial/by-id/usb-FTDI_*      the one path that matches
    usb:0403:6001                     the one adapter with this vendor and product number (hexadecimal)
    usb:0403:6001:A6008isP            and this serial number
    usb:0403:6001@1-1.2               and in this socket, for adapters without one (as `lsusb -t` and /sys/bus/usb name it)

It is looked up at every opening, so a device that comes back under another path is found. More than one that matches is an
error that names them all: which instrument is read must not depend on which was plugged in first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from serial.tools import list_ports

from drivers.contract import DeviceLostError

_USB = re.compile(r"usb:([0-9a-fA-F]{4}):([0-9a-fA-F]{4})(?::([^@]+))?(?:@(.+))?")
_WILD = re.compile(r"[*?\[]")
BY_ID = Path("/dev/serial/by-id")


@dataclass(frozen=True, slots=True)
class Attached:
    """A USB serial adapter that is plugged in, as it describes itself. `socket` is where it is plugged in."""

    path: str
    vendor: int
    product: int
    serial_number: str
    socket: str

    def name(self) -> str:
        """As a `port` would name it."""
        serial = f":{self.serial_number}" if self.serial_number else f"@{self.socket}"
        return f"usb:{self.vendor:04x}:{self.product:04x}{serial}"


def attached() -> list[Attached]:
    """The USB serial adapters that are there now."""
    return [
        Attached(port.device, port.vid, port.pid, port.serial_number or "", (port.location or "").partition(":")[0])
        for port in list_ports.comports()
        if port.vid is not None and port.pid is not None
    ]


def check_port(port: str) -> None:
    """Raises ValueError where it could never name a device."""
    if port.startswith("usb:"):
        if _USB.fullmatch(port) is None:
            raise ValueError(
                'write "usb:VID:PID", "usb:VID:PID:SERIAL" or "usb:VID:PID@SOCKET", such as "usb:0403:6001"'
            )
    elif not port.startswith("/"):
        raise ValueError('write a path such as "/dev/serial/by-id/usb-…", or "usb:VID:PID"')


def find_port(port: str, look: Callable[[], Sequence[Attached]] | None = None) -> str:
    """The path to open. Raises DeviceLostError where nothing matches, or more than one device."""
    match = _USB.fullmatch(port)
    if match is not None:
        vendor, product, serial_number, socket = int(match[1], 16), int(match[2], 16), match[3], match[4]
        there = (look or attached)()
        found = [
            adapter.path
            for adapter in there
            if (adapter.vendor, adapter.product) == (vendor, product)
            and serial_number in (None, adapter.serial_number)
            and socket in (None, adapter.socket)
        ]
        besides = [adapter.name() for adapter in there]
    elif _WILD.search(port):
        found = sorted(str(path) for path in Path("/").glob(port.lstrip("/")))
        besides = by_id()
    else:
        return port
    if not found:
        raise DeviceLostError(
            f"no device matches {port} ({plugged_in(besides)}): plug it in or correct `port`; it is tried again by itself"
        )
    # Two names of one device are one device.
    if len({str(Path(path).resolve()) for path in found}) > 1:
        raise DeviceLostError(
            f"{port} matches {len(found)} devices ({', '.join(found)}): name the one that is meant, by its serial number or "
            "its socket"
        )
    return found[0]


def by_id() -> list[str]:
    """The stable names that udev has made."""
    return sorted(str(path) for path in BY_ID.glob("*"))


def plugged_in(names: Sequence[str]) -> str:
    """What there is instead, in words."""
    return f"there is {', '.join(names)}" if names else "no serial adapter is plugged in"
