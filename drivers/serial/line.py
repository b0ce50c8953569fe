"""An open serial port: the place where pyserial and the terminal are talked to, and their errors translated."""

from __future__ import annotations

import errno
import os
import select
import termios
from pathlib import Path

import serial

from drivers.contract import DeviceLostError
from drivers.serial.marks import Piece, Unmarking
from drivers.serial.names import by_id, find_port, plugged_in

READ_BYTES = 1 << 16
PARITIES = {"none": "N", "even": "E", "odd": "O", "mark": "M", "space": "S"}


class Line:
    """A port, opened for us alone. Used from one thread."""

    def __init__(self, port: str, baud: int, bytesize: int = 8, parity: str = "none", stopbits: int = 1) -> None:
        """Look `port` up and open it. Raises DeviceLostError, or ValueError where the adapter can't do what is asked."""
        self.path = find_port(port)
        self._name = port
        self._unmarking = Unmarking()
        try:
            self._serial = serial.Serial(
                self.path,
                baudrate=baud,
                bytesize=bytesize,
                parity=PARITIES[parity],
                stopbits=stopbits,
                timeout=0,
                write_timeout=0,
                exclusive=True,
            )
        except (OSError, termios.error, serial.SerialException) as error:
            raise DeviceLostError(_why_not_open(self.path, error)) from error
        try:
            self._ask_for_marks()
        except (OSError, termios.error) as error:
            self.close()
            raise DeviceLostError(_why_not_open(self.path, error)) from error

    def fileno(self) -> int:
        """To wait for."""
        return int(self._serial.fileno())

    def read(self, timeout_s: float) -> list[Piece]:
        """What has come in, waiting at most `timeout_s` for it. Raises DeviceLostError."""
        try:
            ready, _, _ = select.select([self._serial.fileno()], [], [], timeout_s)
            if not ready:
                return []
            data = os.read(self._serial.fileno(), READ_BYTES)
        except BlockingIOError:
            return []
        except (OSError, ValueError, serial.SerialException) as error:
            raise self._gone("reading", error) from error
        if not data:
            # Ready and empty is a hang-up.
            raise self._gone("reading", OSError(errno.EIO, "it was unplugged"))
        return self._unmarking.feed(data)

    def write(self, data: bytes) -> None:
        """Put `data`, which is short, on the line. Raises DeviceLostError."""
        try:
            self._serial.write(data)
        except (OSError, serial.SerialException) as error:
            raise self._gone("writing", error) from error

    def set_up(self, baud: int, bytesize: int, parity: str) -> None:
        """Change rate and character while open; what was not read yet is dropped. Raises as opening does."""
        try:
            self._serial.apply_settings({"baudrate": baud, "bytesize": bytesize, "parity": PARITIES[parity]})
            self._ask_for_marks()
            self._serial.reset_input_buffer()
        except (OSError, termios.error, serial.SerialException) as error:
            raise self._gone("being set up", error) from error
        self._unmarking = Unmarking()

    def close(self) -> None:
        try:
            self._serial.close()
        except (OSError, serial.SerialException):
            # An unplugged adapter can't be told goodbye; its descriptor is gone either way.
            return

    def _ask_for_marks(self) -> None:
        """Have breaks and damaged bytes marked: pyserial lets the kernel pass them off as good."""
        settings = termios.tcgetattr(self._serial.fileno())
        settings[0] |= termios.INPCK | termios.PARMRK
        settings[0] &= ~(termios.IGNPAR | termios.IGNBRK | termios.BRKINT)
        termios.tcsetattr(self._serial.fileno(), termios.TCSANOW, settings)

    def _gone(self, doing: str, error: Exception) -> DeviceLostError:
        return DeviceLostError(
            f"{self._name} went away while {doing} ({error}): plug it in again; it is opened as soon as it is back"
        )


def _why_not_open(path: str, error: Exception) -> str:
    """What a person should do about a port that does not open."""
    number = error.args[0] if isinstance(error, termios.error) else getattr(error, "errno", None)
    if number == errno.ENOENT or not Path(path).exists():
        return f"{path} is not there ({plugged_in(by_id())}): plug it in or correct `port`; it is tried again by itself"
    if number == errno.EACCES:
        return f"{path} may not be opened by this user: add it to the group that owns the device (dialout on Debian)"
    if number in (errno.EBUSY, errno.EAGAIN):
        return f"{path} is in use by another program: stop that one; it is tried again by itself"
    if number == errno.ENOTTY or not Path(path).is_char_device():
        return f"{path} is no serial port: correct `port`; it is tried again by itself"
    return f"{path} can't be opened ({error}): check the adapter; it is tried again by itself"
