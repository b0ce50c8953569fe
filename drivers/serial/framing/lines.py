"""Lines of text."""

from __future__ import annotations

import re

from drivers.serial.framing.contract import Reading
from drivers.serial.framing.cutting import Cutter


def line_cutter(terminator: bytes, max_line_bytes: int) -> Cutter:
    """Before a bare newline one carriage return is taken off."""
    return Cutter(terminator, max_line_bytes, b"\r" if terminator == b"\n" else b"")


class LineFramer:
    """Lines as they are. With a `pattern`, lines that it does not match as a whole are counted as bad."""

    def __init__(self, terminator: bytes = b"\n", max_line_bytes: int = 4096, pattern: str = "") -> None:
        self._cutter = line_cutter(terminator, max_line_bytes)
        self._pattern = re.compile(pattern.encode()) if pattern else None
        self._mismatched = 0

    @property
    def bad(self) -> int:
        return self._cutter.bad + self._mismatched

    @property
    def pending(self) -> bool:
        return self._cutter.pending

    def feed(self, data: bytes, time_ns: int = 0) -> list[Reading]:
        lines = self._cutter.feed(data)
        if self._pattern is None:
            return [Reading(line) for line in lines]
        matching = [Reading(line) for line in lines if self._pattern.fullmatch(line)]
        self._mismatched += len(lines) - len(matching)
        return matching

    def spoil(self, data: bytes, time_ns: int = 0) -> list[Reading]:
        self._cutter.spoil(data)
        return []

    def gap(self) -> list[Reading]:
        self._cutter.gap()
        return []
