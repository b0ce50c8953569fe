"""A serial adapter that can be pulled out."""

from __future__ import annotations

import array
import fcntl
import os
import select
import termios
import tty
from contextlib import suppress
from pathlib import Path


class Adapter:
    """A serial adapter that can be pulled out: a pseudo-terminal under a stable name, another one each time."""

    def __init__(self, name: Path) -> None:
        self.name = name
        self._instrument: int | None = None

    def plug_in(self) -> None:
        self._instrument, ours = os.openpty()
        tty.setraw(ours)
        self.name.symlink_to(os.ttyname(ours))
        os.close(ours)

    def unplug(self) -> None:
        if self._instrument is not None:
            os.close(self._instrument)
            self._instrument = None
            self.name.unlink()

    @property
    def plugged_in(self) -> bool:
        return self._instrument is not None

    def speed(self) -> int:
        """The rate that was set at the terminal, as termios has it."""
        assert self._instrument is not None
        return int(termios.tcgetattr(self._instrument)[5])

    def unread(self) -> int:
        """Bytes that were said and not read."""
        waiting = array.array("i", [0])
        with suppress(OSError):
            terminal = os.open(self.name, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
            fcntl.ioctl(terminal, termios.FIONREAD, waiting)
            os.close(terminal)
        return waiting[0]

    def heard(self) -> bytes:
        """What was said to the instrument."""
        assert self._instrument is not None
        ready, _, _ = select.select([self._instrument], [], [], 0)
        try:
            return os.read(self._instrument, 4096) if ready else b""
        except OSError:
            # Nobody has the terminal open.
            return b""

    def say(self, data: bytes) -> None:
        assert self._instrument is not None
        written = 0
        while written < len(data):
            written += os.write(self._instrument, data[written : written + 1024])
