"""A serial line that is not there: a pseudo-terminal that speaks at the pace of its rate, and is pulled out once."""

from __future__ import annotations

import array
import fcntl
import os
import termios
import tty
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.drivers.serial_campaign.frames import Kind, damaged, noise

BITS_PER_BYTE = 10
QUIET_LOOKS = 3
MOST_AT_ONCE_S = 0.25
"""Of the pace, made up for at once: the generator may have been late itself."""


@dataclass
class Said:
    """What a line has said. `damaged` holds the numbers that nobody could have understood."""

    frames: int = 0
    damaged: set[int] = field(default_factory=set)
    bursts: int = 0
    halves: int = 0
    replugs: int = 0
    waits: int = 0
    size_bytes: int = 0

    @property
    def bad(self) -> int:
        """Pieces that a reader has to count."""
        return len(self.damaged) + self.bursts + self.halves


class TalkingLine:
    """`step` says what is due. Its port appears as `PREFIX-1`, after the replug as `PREFIX-2`."""

    def __init__(
        self, prefix: Path, kind: Kind, baud: int, bad_share: float, replug_at_s: float, random: Random
    ) -> None:
        self.said = Said()
        self.kind = kind
        self.prefix = prefix
        self._per_s = baud / BITS_PER_BYTE
        self._bad_share = bad_share
        self._replug_at_s = replug_at_s
        self._random = random
        self._pending = b""
        self._was_bad = True
        self._owed = 0.0
        self._master = self._terminal = -1
        self._listening = False
        self._pulling = False
        self._quiet = 0
        self._plug_in()

    @property
    def pattern(self) -> str:
        """What a source has to name as its port."""
        return f"{self.prefix}-*"

    def step(self, now_s: float, elapsed_s: float, *, ending: bool = False) -> bool:
        """`elapsed_s` have gone by since the last step. `ending`: begin no more frames. True: all was said and read."""
        if not self._listening:
            self._listening = self._is_open()
            return False
        if self._pulling:
            self._pull_out()
            return False
        self._owed = min(self._owed + elapsed_s * self._per_s, MOST_AT_ONCE_S * self._per_s)
        due = now_s >= self._replug_at_s and not self.said.replugs
        while len(self._pending) < self._owed and not ending and not due:
            self._pending += self._next()
        if (due or ending) and self._was_bad and not self._pending:
            # Only what follows a bad frame can show that it was one; half a frame can't.
            self._pending = self._next()
        self._say(self._pending[: int(self._owed)])
        if due and not self._pending and not self._was_bad:
            self._begin_to_pull()
        return ending and not self._pending and not self._was_bad and self._unread() == 0

    def wants_replug(self) -> bool:
        """It has not been pulled out yet, or is not back."""
        return not self.said.replugs or not self._listening

    def close(self) -> None:
        for descriptor in (self._master, self._terminal):
            if descriptor >= 0:
                os.close(descriptor)
        self._master = self._terminal = -1

    def _next(self) -> bytes:
        """The next frame, damaged or not."""
        number = self.said.frames
        frame = self.kind.make(number)
        self.said.frames += 1
        if self._was_bad or self._random.random() >= self._bad_share:
            self._was_bad = False
            return frame
        self._was_bad = True
        if self._random.random() < 0.2:
            self.said.bursts += 1
            # The frame behind the noise is a good one.
            return noise(self.kind, self._random) + frame
        self.said.damaged.add(number)
        return damaged(self.kind, frame, self._random)

    def _say(self, data: bytes) -> None:
        if not data:
            return
        try:
            written = os.write(self._master, data)
        except BlockingIOError:
            written = 0
        if written < len(data):
            self.said.waits += 1
        self.said.size_bytes += written
        self._pending = self._pending[written:]
        self._owed -= written

    def _begin_to_pull(self) -> None:
        """Half a frame, which nobody will complete. The number is said again behind the replug."""
        frame = self.kind.make(self.said.frames)
        self._pending = frame[: max(4, len(frame) // 2)]
        self._owed = float(len(self._pending))
        self._say(self._pending)
        self.said.halves += 1
        self._pulling = True
        self._quiet = 0

    def _pull_out(self) -> None:
        """Once what was said has been read."""
        self._quiet = self._quiet + 1 if self._unread() == 0 else 0
        if self._quiet < QUIET_LOOKS:
            return
        Path(f"{self.prefix}-{self.said.replugs + 1}").unlink()
        self.close()
        self.said.replugs += 1
        self._pulling = self._listening = False
        self._pending, self._owed, self._was_bad = b"", 0.0, True
        self._plug_in()

    def _plug_in(self) -> None:
        self._master, self._terminal = os.openpty()
        tty.setraw(self._terminal)
        os.set_blocking(self._master, False)
        Path(f"{self.prefix}-{self.said.replugs + 1}").symlink_to(os.ttyname(self._terminal))

    def _is_open(self) -> bool:
        """The gateway has set the port up: asking for marks is the last thing that it does."""
        return bool(termios.tcgetattr(self._terminal)[0] & termios.PARMRK)

    def _unread(self) -> int:
        waiting = array.array("i", [0])
        fcntl.ioctl(self._terminal, termios.FIONREAD, waiting)
        return waiting[0]
