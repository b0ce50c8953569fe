"""A serial adapter that can be pulled out."""

from __future__ import annotations

import os
import tty
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

    def say(self, data: bytes) -> None:
        assert self._instrument is not None
        written = 0
        while written < len(data):
            written += os.write(self._instrument, data[written : written + 1024])
