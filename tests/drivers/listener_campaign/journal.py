"""What a device has sent and what was answered for: a line each, on disk before it counts."""

from __future__ import annotations

import os
from pathlib import Path

SENT, ANSWERED, OVER, PRESENT, NEW = "sent", "answered", "over", "present", "new"
"""Sent under a packet id; it has its PUBACK or PUBREC; the packet id is free; a connection found its session; or made it."""


class Journal:
    """In the file at `path`. One that goes on has read what is there; a line torn by a kill does not count."""

    def __init__(self, path: Path) -> None:
        self.sent: dict[int, int] = {}
        """Number -> packet id, in the order of sending."""
        self.answered: set[int] = set()
        self.over: set[int] = set()
        self.connections = {PRESENT: 0, NEW: 0}
        if path.exists():
            for line in path.read_text(encoding="ascii").split("\n")[:-1]:
                what, *numbers = line.split()
                self._take(what, [int(number) for number in numbers])
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, what: str, *numbers: int) -> None:
        self._take(what, list(numbers))
        os.write(self._file, f"{' '.join([what, *map(str, numbers)])}\n".encode())

    def _take(self, what: str, numbers: list[int]) -> None:
        if what == SENT:
            self.sent[numbers[0]] = numbers[1]
        elif what == ANSWERED:
            self.answered.add(numbers[0])
        elif what == OVER:
            self.over.add(numbers[0])
        else:
            self.connections[what] += 1
