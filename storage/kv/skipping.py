"""Reads on behind a place that the engine can't read.

An engine's cursor stops at a bad block and does not say where the block ends. Any key inside of it fails again, any
behind it works, so the first one that works is looked for: in doubling steps, then by halves. Keys are taken as numbers.
"""

from __future__ import annotations

from typing import Protocol

_WIDTH = 40
"""Longer keys that agree in so many bytes are skipped together."""
_HIGHEST = (1 << 8 * _WIDTH) - 1


class Cursor(Protocol):
    """An engine's cursor, as far as this needs it."""

    def seek(self, key: bytes) -> None: ...
    def seek_for_prev(self, key: bytes) -> None: ...
    def valid(self) -> bool: ...
    def status(self) -> None:
        """Raises where the cursor stopped because of damage."""


def _number(key: bytes) -> int:
    return int.from_bytes(key[:_WIDTH].ljust(_WIDTH, b"\0"), "big")


def _key(number: int) -> bytes:
    return number.to_bytes(_WIDTH, "big")


def _reads(cursor: Cursor, number: int, *, forward: bool) -> bool:
    if forward:
        cursor.seek(_key(number))
    else:
        cursor.seek_for_prev(_key(number))
    if cursor.valid():
        return True
    try:
        cursor.status()
    except Exception:  # noqa: BLE001 - the engine raises nothing narrower
        return False
    return True


def seek_behind(cursor: Cursor, last: bytes, stop: bytes | None) -> bool:
    """Move to the first readable key behind the damage that follows `last`. False: there is none before `stop`."""
    low = _number(last)
    end = _HIGHEST if stop is None else _number(stop)
    step = 1
    while True:
        tried = min(low + step, end)
        if _reads(cursor, tried, forward=True):
            break
        if tried == end:
            return False
        step *= 2
    bad, good = low + step // 2, tried
    while good - bad > 1:
        middle = (bad + good) // 2
        if _reads(cursor, middle, forward=True):
            good = middle
        else:
            bad = middle
    _reads(cursor, good, forward=True)
    return cursor.valid()


def seek_before(cursor: Cursor, start: bytes, stop: bytes) -> bool:
    """Move to the last readable key before the damage that ends at or behind `stop`. False: there is none from `start`."""
    high, end = _number(stop), _number(start)
    step = 1
    while True:
        tried = max(high - step, end)
        if _reads(cursor, tried, forward=False):
            break
        if tried == end:
            return False
        step *= 2
    bad, good = high - step // 2, tried
    while bad - good > 1:
        middle = (bad + good) // 2
        if _reads(cursor, middle, forward=False):
            good = middle
        else:
            bad = middle
    _reads(cursor, good, forward=False)
    return cursor.valid()
