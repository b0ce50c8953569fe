"""Cuts a byte stream at a delimiter: what lines, sentences, SLIP and COBS have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

from drivers.serial.framing.contract import Reading


class Cutter:
    """Cuts at a delimiter. A piece above `max_bytes` is left out up to the next delimiter and counted as bad.

    Keeps at most `max_bytes`, the delimiter and `optional`, which is taken off the end of a piece and is not counted.
    Empty pieces are none.
    """

    def __init__(self, delimiter: bytes, max_bytes: int, optional: bytes = b"") -> None:
        assert delimiter
        self._delimiter = delimiter
        self._optional = optional
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._skipping = False
        self.bad = 0

    @property
    def pending(self) -> bool:
        return bool(self._buffer) or self._skipping

    def feed(self, data: bytes) -> list[bytes]:
        self._buffer += data
        pieces: list[bytes] = []
        # A long piece that comes in small chunks must not be searched from its beginning each time.
        if self._buffer.find(self._delimiter, self._searched) >= 0:
            *whole, rest = bytes(self._buffer).split(self._delimiter)
            pieces = [piece for found in whole if (piece := self._piece(found))]
            self._buffer = bytearray(rest)
        if len(self._buffer) >= self._max_bytes + len(self._optional + self._delimiter):
            self._skip()
        keep = len(self._delimiter) - 1
        if self._skipping:
            del self._buffer[: max(0, len(self._buffer) - keep)]
        self._searched = max(0, len(self._buffer) - keep)
        return pieces

    def spoil(self, data: bytes) -> None:
        """See `Framer.spoil`: nothing is spoiled by a break between two pieces."""
        if data or self.pending:
            self._skip()

    def gap(self) -> None:
        """Give up what is not complete. The next piece begins with the next byte."""
        if self._buffer and not self._skipping:
            self.bad += 1
        self._buffer.clear()
        self._searched = 0
        self._skipping = False

    def _piece(self, found: bytes) -> bytes | None:
        if self._skipping:
            self._skipping = False
            return None
        piece = found.removesuffix(self._optional)
        if len(piece) > self._max_bytes:
            self.bad += 1
            return None
        return piece

    def _skip(self) -> None:
        if not self._skipping:
            self._skipping = True
            self.bad += 1


class PieceFramer(ABC):
    """A framer that cuts first, and then looks at each piece by itself."""

    def __init__(self, cutter: Cutter) -> None:
        self._cutter = cutter
        self._refused = 0

    @property
    def bad(self) -> int:
        return self._cutter.bad + self._refused

    @property
    def pending(self) -> bool:
        return self._cutter.pending

    def feed(self, data: bytes, time_ns: int = 0) -> list[Reading]:
        return [reading for piece in self._cutter.feed(data) if (reading := self._reading(piece)) is not None]

    def spoil(self, data: bytes, time_ns: int = 0) -> list[Reading]:
        self._cutter.spoil(data)
        return []

    def gap(self) -> list[Reading]:
        self._cutter.gap()
        return []

    @abstractmethod
    def _reading(self, piece: bytes) -> Reading | None:
        """What a piece is. None: it is no reading, and in `_refused` where it is a bad one."""
