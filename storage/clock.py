"""The seam to time. Order is by offset; clocks only label. A boot is named, its clock only runs forward."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol
from uuid import UUID, uuid4


class Clock(Protocol):
    """Three readings of time. All in nanoseconds."""

    @property
    def boot_id(self) -> UUID:
        """Names this boot of the machine: boot clocks compare only within one boot."""

    def boot_ns(self) -> int:
        """Since the machine booted, suspended time included (CLOCK_BOOTTIME). Never steps."""

    def wall_ns(self) -> int:
        """Since 1970 as the machine believes it now. May be wrong, may step."""


class SystemClock:
    """The machine's clocks (Linux: CLOCK_BOOTTIME and /proc/sys/kernel/random/boot_id)."""

    def __init__(self) -> None:
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


class FakeClock:
    """A clock that a test moves: `advance` moves time, `step_wall` the belief about it, `reboot` starts a new boot."""

    def __init__(self, wall_ns: int = 1_700_000_000_000_000_000, boot: int = 1) -> None:
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

    def advance(self, duration_s: float) -> None:
        self._boot_ns += int(duration_s * 1e9)
        self._wall_ns += int(duration_s * 1e9)

    def step_wall(self, duration_s: float) -> None:
        self._wall_ns += int(duration_s * 1e9)

    def reboot(self) -> None:
        self._boot += 1
        self._boot_ns = 1_000_000_000
