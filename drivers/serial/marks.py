"""Breaks and damaged bytes, as the kernel marks them in what is read from a terminal (termios(3), PARMRK).

With INPCK and PARMRK set and IGNPAR, IGNBRK, BRKINT not, a byte X with a parity or framing error is read as FF 00 X, a break as
FF 00 00, and a good FF as FF FF. A damaged zero can't be told from a break, and is taken for one.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

_MARK = b"\xff"


class Kind(Enum):
    DATA = "data"
    DAMAGED = "damaged"
    """One byte, as the receiver made it out."""
    BREAK = "break"


class Piece(NamedTuple):
    kind: Kind
    data: bytes


class Unmarking:
    """Takes the marks out. Keeps at most two bytes."""

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces that `data` completes, in order."""
        data = self._kept + data
        self._kept = b""
        if _MARK not in data:
            return [Piece(Kind.DATA, data)] if data else []
        pieces: list[Piece] = []
        good = bytearray()
        at = 0
        while at < len(data):
            mark = data.find(_MARK, at)
            if mark < 0:
                good += data[at:]
                break
            good += data[at:mark]
            found = data[mark + 1 : mark + 3]
            if not found or found == b"\x00":
                self._kept = data[mark:]
                break
            if found[0] == 0:
                pieces += [Piece(Kind.DATA, bytes(good))] if good else []
                good.clear()
                pieces.append(Piece(Kind.DAMAGED, found[1:]) if found[1] else Piece(Kind.BREAK, b""))
                at = mark + 3
            else:
                good += _MARK
                # Anything but a second mark is not what the kernel writes: then the mark stands for itself.
                at = mark + (2 if found[:1] == _MARK else 1)
        if good:
            pieces.append(Piece(Kind.DATA, bytes(good)))
        return pieces
