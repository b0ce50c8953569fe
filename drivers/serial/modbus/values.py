"""What registers hold, as numbers."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from drivers.serial.modbus.config import WORDS, Register

_FORMATS = {
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "float32": ">f",
    "float64": ">d",
}
SIGNIFICANT_DIGITS = 12
"""Of a scaled value: 127 times 0.1 is 12.7."""


def words_of(register: Register) -> int:
    """How many registers, or bits, it takes."""
    return WORDS[register.type] if register.table in ("holding", "input") else 1


def value_of(register: Register, words: Sequence[int]) -> int | float:
    """The value of `words`, scaled. Raises ValueError where it is no number (NaN or infinite)."""
    ordered = words if register.word_order == "big" else words[::-1]
    raw = b"".join(word.to_bytes(2, register.byte_order) for word in ordered)
    (value,) = struct.unpack(_FORMATS[register.type], raw)
    if not math.isfinite(value):
        raise ValueError(f"it holds {value}, which is no number")
    if register.type == "float32":
        value = _shortest(value)
    if register.scale == 1 and register.offset == 0:
        return int(value) if isinstance(value, int) else float(value)
    return float(f"{value * register.scale + register.offset:.{SIGNIFICANT_DIGITS}g}")


def _shortest(value: float) -> float:
    """The number with the fewest digits that is this float32: 12.7, not 12.699999809265137."""
    for digits in range(6, 9):
        shorter = float(f"{value:.{digits}g}")
        try:
            if struct.unpack(">f", struct.pack(">f", shorter))[0] == value:
                return shorter
        except OverflowError:
            continue
    return value
