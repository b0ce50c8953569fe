"""A serial instrument that is not there: a pseudo-terminal on which a numbered sentence is said again and again."""

from __future__ import annotations

import math
import os
import pty
import time
import tty
from pathlib import Path

from edge.demo.feed import Feed
from edge.demo.numbering import sentence


class SerialInstrument(Feed):
    """Speaks at `path`, a link to its terminal, whether or not anybody listens: what is not read is gone."""

    def __init__(self, who: str, path: Path, rate_per_s: float) -> None:
        super().__init__(who)
        self._rate_per_s = rate_per_s
        # The terminal is kept open on this side too: so it keeps its settings while nobody else has it open.
        self._master, self._terminal = pty.openpty()
        tty.setraw(self._terminal)
        os.set_blocking(self._master, False)
        self.path = path
        path.unlink(missing_ok=True)
        path.symlink_to(os.ttyname(self._terminal))

    def run(self) -> None:
        began_s = time.monotonic()
        while not self.stopping.is_set():
            due = int((time.monotonic() - began_s) * self._rate_per_s) + 1
            while self.sent < due:
                self._say()
            self.stopping.wait(1 / self._rate_per_s)

    def close(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._master)
        os.close(self._terminal)

    def _say(self) -> None:
        value = 12.0 + 3.0 * math.sin(self.sent / 40)
        line = sentence(self.name, self.sent, value) + b"\r\n"
        self.sent += 1
        try:
            os.write(self._master, line)
        except BlockingIOError:
            # Nobody reads: an instrument does not wait.
            return
