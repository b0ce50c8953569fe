"""What is measured, and how it is printed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol


def payloads(count: int, size_bytes: int) -> list[bytes]:
    """Different ones, of digits and letters: what compression makes of them is about what it makes of readings."""
    random = Random(1)
    return [random.randbytes(size_bytes // 2).hex().encode() for _ in range(count)]


class Printed(Protocol):
    """What a bench tells, line by line."""

    def text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `beside` names what it is a ratio of."""

    what: str
    value: float
    unit: str
    beside: str = ""
    ratio: float | None = None
    note: str = ""

    def text(self) -> str:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f} of {self.beside}"
        return f"{self.what:52}{self.value:12,.0f} {self.unit:10} {ratio:34} {self.note}".rstrip()


@dataclass(frozen=True, slots=True)
class Rate:
    """A count that grew, watched from its first tenth to its end."""

    per_s: float
    count: int
    duration_s: float


def watch(count: Callable[[], int], goal: int, timeout_s: float = 60.0, every_s: float = 0.02) -> Rate:
    """Watch `count` grow to `goal`; the start-up before its first tenth does not count."""
    deadline_s = time.monotonic() + timeout_s
    first: tuple[float, int] | None = None
    while True:
        now_s, seen = time.monotonic(), count()
        if first is None and seen >= goal / 10:
            first = (now_s, seen)
        if first is not None and seen >= goal:
            duration_s = max(now_s - first[0], 1e-6)
            return Rate((seen - first[1]) / duration_s, seen - first[1], duration_s)
        if now_s > deadline_s:
            raise TimeoutError(f"{seen} of {goal} after {timeout_s:.0f} s")
        time.sleep(every_s)


def memory_bytes(pid: int, field: str) -> int:
    """A field of /proc/PID/status (proc(5)): VmRSS is resident now, VmHWM was at most."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no {field} of process {pid}")
