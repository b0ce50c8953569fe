"""Lines of text."""

from __future__ import annotations

import re

from drivers.serial.framing.contract import Reading
from drivers.serial.framing.cutting import Cutter, PieceFramer


def line_cutter(terminator: bytes, max_line_bytes: int) -> Cutter:
    """Before a bare newline one carriage return is taken off."""
    return Cutter(terminator, max_line_bytes, b"\r" if terminator == b"\n" else b"")


class LineFramer(PieceFramer):
    """Lines as they are. With a `pattern`, lines that it does not match as a whole are counted as bad."""

    def __init__(self, terminator: bytes = b"\n", max_line_bytes: int = 4096, pattern: str = "") -> None:
        super().__init__(line_cutter(terminator, max_line_bytes))
        self._pattern = re.compile(pattern.encode()) if pattern else None

    def _reading(self, piece: bytes) -> Reading | None:
        if self._pattern is not None and not self._pattern.fullmatch(piece):
            self._refused += 1
            return None
        return Reading(piece)
