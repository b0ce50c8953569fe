"""What an opening found damaged and what became of it: in words, and as exact ranges."""

from __future__ import annotations

from dataclasses import dataclass, field

_MOST_LINES = 200
"""Of what is said about one opening; gap records and the check say all."""
_MOST_RANGES = 10_000


@dataclass(frozen=True, slots=True)
class LostRange:
    """Offsets [`start`, `end`) of a segment that are gone, in bytes. `events` is None where nothing says how many."""

    stream: str
    segment: int
    epoch: int
    start: int
    end: int
    events: int | None
    why: str

    @property
    def bytes(self) -> int:
        return self.end - self.start

    def __str__(self) -> str:
        count = "an unknown number of" if self.events is None else str(self.events)
        where = f"{self.stream}/{self.segment}.{self.epoch}"
        return f"{where} lost bytes {self.start} to {self.end} ({count} events): {self.why}"


@dataclass(slots=True)
class SalvageReport:
    """Filled while a store is opened. Nothing in it: nothing was damaged."""

    lines: list[str] = field(default_factory=list)
    lost: list[LostRange] = field(default_factory=list)
    put_back: int = 0
    """Entries that the engine did not hold any more and damaged files still did."""
    put_back_bytes: int = 0
    unsaid: int = 0
    """Lines that were one too many."""

    def say(self, line: str) -> None:
        if len(self.lines) < _MOST_LINES:
            self.lines.append(line)
        else:
            self.unsaid += 1

    def lose(self, lost: LostRange) -> None:
        if len(self.lost) < _MOST_RANGES:
            self.lost.append(lost)
        self.say(f"{lost}; a gap record says so")

    @property
    def told(self) -> tuple[str, ...]:
        """All that there is to say, one line each."""
        more = (f"and {self.unsaid} lines like these",) if self.unsaid else ()
        return (*self.lines, *more)
