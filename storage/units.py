"""Durations and sizes as people write them: `"500ms"`, `"15m"`, `"8GiB"`.

Both are plain numbers to the code that uses them (seconds, bytes). Each can describe itself to pydantic as a core
schema, which is a plain dictionary, so that nothing here imports it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Self

_NUMBER_AND_UNIT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-zµ]*)\s*\Z")

_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}

_BYTES = (
    {"": 1, "B": 1}
    | {prefix + "iB": 1 << (10 * power) for power, prefix in enumerate(("K", "M", "G", "T"), start=1)}
    | {prefix + "B": 1000**power for power, prefix in enumerate(("k", "M", "G", "T"), start=1)}
)
_BYTES |= {"KB": 1000, "kiB": 1024}

CoreSchema = dict[str, object]


def _core_schema(parse: Callable[[object], object], kind: str, example: str) -> CoreSchema:
    """Validated by `parse`; in JSON a number or a text; written back as the text that `parse` reads again."""
    described = {"anyOf": [{"type": "string"}, {"type": "number", "minimum": 0}], "format": kind, "examples": [example]}

    def describe(schema: object, handler: object) -> dict[str, object]:
        return dict(described)

    return {
        "type": "function-plain",
        "function": {"type": "no-info", "function": parse},
        "serialization": {"type": "function-plain", "function": str, "when_used": "json"},
        "metadata": {"pydantic_js_functions": [describe]},
    }


class Duration(float):
    """A length of time in seconds. `str()` is text that `parse` reads."""

    @classmethod
    def parse(cls, value: object) -> Self:
        """From `"1s"`, `"500ms"`, `"15m"`, `"30d"` (us, ms, s, m, h, d, w), or a number of seconds.

        Raises ValueError, with an example, for anything else, a negative one included.
        """
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf:
            return cls(value)
        match = _NUMBER_AND_UNIT.match(value) if isinstance(value, str) else None
        if match is None or match[2] not in _SECONDS:
            raise ValueError(f'{value!r} is no duration: write a number and a unit, such as "500ms", "15m" or "30d"')
        return cls(float(match[1]) * _SECONDS[match[2]])

    def __str__(self) -> str:
        for unit, factor in (("d", 86_400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 1e-3)):
            count = round(float(self) / factor, 9)
            if count >= 1 and count.is_integer():
                return f"{int(count)}{unit}"
        return f"{float(self):.9f}".rstrip("0").rstrip(".") + "s"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> CoreSchema:
        return _core_schema(cls.parse, "duration", "15m")


class Size(int):
    """A number of bytes. `str()` is text that `parse` reads."""

    @classmethod
    def parse(cls, value: object) -> Self:
        """From `"8GiB"`, `"4kB"`, `"1MiB"` (B, kB MB GB TB by 1,000, KiB MiB GiB TiB by 1,024), or a number of bytes.

        Raises ValueError, with an example, for anything else, a negative one included.
        """
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return cls(value)
        match = _NUMBER_AND_UNIT.match(value) if isinstance(value, str) else None
        if match is None or match[2] not in _BYTES:
            raise ValueError(f'{value!r} is no size: write a number and a unit, such as "8GiB", "512MiB" or "4kB"')
        return cls(round(float(match[1]) * _BYTES[match[2]]))

    def __str__(self) -> str:
        for unit in ("TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB", "kB"):
            count, rest = divmod(int(self), _BYTES[unit])
            if count and not rest:
                return f"{count}{unit}"
        return f"{int(self)}B"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> CoreSchema:
        return _core_schema(cls.parse, "bytes", "8GiB")
