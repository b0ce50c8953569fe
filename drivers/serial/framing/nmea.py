"""Sentences of NMEA 0183."""

from __future__ import annotations

import re

from drivers.serial.framing.checksums import xor8
from drivers.serial.framing.contract import Reading
from drivers.serial.framing.cutting import PieceFramer
from drivers.serial.framing.lines import line_cutter
from drivers.serial.framing.sentences import decode

_SENTENCE = re.compile(rb"[$!]((?:([A-Z0-9]+),?)[^$!*]*)\*([0-9A-Fa-f]{2})\Z", re.DOTALL)

ADDRESS_CHARACTERS = 5
"""Of a talker and a sentence formatter."""


def nmea_checksum(body: bytes) -> int:
    """The exclusive or of all characters between the start delimiter and `*` (IEC 61162-1, 7.2.5)."""
    return xor8(body)


class NmeaFramer(PieceFramer):
    """Sentences of NMEA 0183 (IEC 61162-1) with the right checksum, each with its address field as `nmea.type`.

    `$` and `!` are reserved (IEC 61162-1, table 1), so what comes before the last of them in a line is the rest of a
    sentence that was cut off: it is counted as bad, and the one behind it still counts. A sentence without a checksum
    is bad. The standard's 82 characters are no limit here: instruments exceed them.

    With `decoded`, the payload of a sentence that `sentences` knows is a JSON object; every other one stays as it is.
    """

    def __init__(self, terminator: bytes = b"\n", max_line_bytes: int = 4096, *, decoded: bool = False) -> None:
        super().__init__(line_cutter(terminator, max_line_bytes))
        self._decoded = decoded

    def _reading(self, piece: bytes) -> Reading | None:
        start = max(piece.rfind(b"$"), piece.rfind(b"!"), 0)
        if start:
            self._refused += 1
        sentence = piece[start:]
        match = _SENTENCE.match(sentence)
        # A byte that was changed into a `$` leaves a rest that can check by chance: seldom one that has a whole address.
        cut_short = start and match is not None and len(match[2]) < ADDRESS_CHARACTERS
        if match is None or cut_short or nmea_checksum(match[1]) != int(match[3], 16):
            self._refused += 1
            return None
        headers = (("nmea.type", match[2]),)
        values = decode(match[1]) if self._decoded else None
        return Reading(sentence, headers) if values is None else Reading(values, headers, "application/json")
