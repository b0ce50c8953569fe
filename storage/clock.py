"""The seam to time. Order is by offset; clocks only label. A boot is named, its clock only runs forward.

Whether a wall clock is trusted is asked of the kernel: adjtimex(2) returns TIME_ERROR as long as nothing has set and kept
the clock by a reference, and again when the last correction is so old that the error may exceed 16 seconds. chrony,
ntpd and systemd-timesyncd all tell it. A clock that a person set, or that a battery kept, is a belief. And whatever the
kernel says, a clock that stands before this program was released is wrong.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from uuid import UUID, uuid4

RELEASED_NS = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 1_000_000_000
"""No clock that is right stands before this: moved on with every release."""
ASKED_EVERY_NS = 1_000_000_000
_TIME_ERROR = 5


class Clock(Protocol):
    """Three readings of time, in nanoseconds, and whether the wall clock can be believed."""

    @property
    def boot_id(self) -> UUID:
        """Names this boot of the machine: boot clocks compare only within one boot."""

    def boot_ns(self) -> int:
        """Since the machine booted, suspended time included (CLOCK_BOOTTIME). Never steps."""

    def wall_ns(self) -> int:
        """Since 1970 as the machine believes it now. May be wrong, may step."""

    def trusted(self) -> bool:
        """Whether the wall clock is known to be right now: set by a reference, and not before this program's release."""


def kernel_synchronised() -> bool:
    """What the kernel says of its clock (adjtimex(2), asked and not changed). False where it can't be asked."""
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return False
    # struct timex is 208 bytes on 64-bit Linux. Its first field, modes, is zero: nothing is set.
    state = int(adjtimex(ctypes.create_string_buffer(512)))
    return state not in (-1, _TIME_ERROR)


class SystemClock:
    """The machine's clocks (Linux: CLOCK_BOOTTIME and /proc/sys/kernel/random/boot_id)."""

    def __init__(self, synchronised: Callable[[], bool] = kernel_synchronised) -> None:
        self._synchronised = synchronised
        self._asked_ns: int | None = None
        self._trusted = False
        try:
            text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            self._boot_id = UUID(text)
        except (OSError, ValueError):
            self._boot_id = uuid4()

    @property
    def boot_id(self) -> UUID:
        return self._boot_id

    def boot_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def wall_ns(self) -> int:
        return time.time_ns()

    def trusted(self) -> bool:
        """Asked of the kernel once a second at most: every commit wants to know."""
        now_ns = self.boot_ns()
        if self._asked_ns is None or now_ns - self._asked_ns >= ASKED_EVERY_NS:
            self._asked_ns = now_ns
            self._trusted = self._synchronised()
        return self._trusted and self.wall_ns() >= RELEASED_NS


class FakeClock:
    """A clock that a test moves: `advance` moves time, `step_wall` the belief about it, `reboot` starts a new boot.

    `reference` says whether the belief is trusted.
    """

    def __init__(self, wall_ns: int = 1_700_000_000_000_000_000, boot: int = 1, reference: bool = True) -> None:
        self.reference = reference
        self._boot = boot
        self._boot_ns = 1_000_000_000
        self._wall_ns = wall_ns

    @property
    def boot_id(self) -> UUID:
        return UUID(int=self._boot)

    def boot_ns(self) -> int:
        return self._boot_ns

    def wall_ns(self) -> int:
        return self._wall_ns

    def trusted(self) -> bool:
        return self.reference

    def advance(self, duration_s: float) -> None:
        self._boot_ns += int(duration_s * 1e9)
        self._wall_ns += int(duration_s * 1e9)

    def step_wall(self, duration_s: float) -> None:
        self._wall_ns += int(duration_s * 1e9)

    def reboot(self) -> None:
        self._boot += 1
        self._boot_ns = 1_000_000_000
