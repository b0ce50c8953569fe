"""Reads on behind a place that the engine can't read.

An engine's cursor stops at a bad block and does not say where the block ends. Any key inside of it fails again, any
behind it works, so the first one that works is looked for: in doubling steps, then by halves. Keys are taken as numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

_WIDTH = 40
"""Longer keys that agree in so many bytes are skipped together."""
_HIGHEST = (1 << 8 * _WIDTH) - 1


class Cursor(Protocol):
    """An engine's cursor, as far as this needs it."""

    def seek(self, key: bytes) -> None: ...
    def seek_for_prev(self, key: bytes) -> None: ...
    def seek_to_first(self) -> None: ...
    def seek_to_last(self) -> None: ...
    def valid(self) -> bool: ...
    def status(self) -> None:
        """Raises where the cursor stopped because of damage."""


C = TypeVar("C", bound=Cursor)


def _number(key: bytes) -> int:
    return int.from_bytes(key[:_WIDTH].ljust(_WIDTH, b"\0"), "big")


def _key(number: int) -> bytes:
    return number.to_bytes(_WIDTH, "big")


def _at(new: Callable[[], C], number: int, *, forward: bool) -> C | None:
    """A cursor at a key, None where it can't be read there. A fresh one each time: one that has failed may go on failing."""
    cursor = new()
    if forward:
        cursor.seek(_key(number))
    else:
        cursor.seek_for_prev(_key(number))
    if not cursor.valid():
        try:
            cursor.status()
        except Exception:  # noqa: BLE001 - the engine raises nothing narrower
            return None
    return cursor


def unreadable(new: Callable[[], C]) -> str | None:
    """Why nothing of a family can be read, as where the index of a table file was hit; None where anything can.

    The engine looks at no more than a few of its files before it is asked for what they hold.
    """
    for forward in (True, False):
        cursor = new()
        if forward:
            cursor.seek_to_first()
        else:
            cursor.seek_to_last()
        if not cursor.valid():
            try:
                cursor.status()
            except Exception as error:  # noqa: BLE001 - the engine raises nothing narrower
                found = seek_behind(new, b"", None) if forward else seek_before(new, b"", _key(_HIGHEST))
                if found is None:
                    return str(error)
    return None


def seek_behind(new: Callable[[], C], last: bytes, stop: bytes | None) -> C | None:
    """A cursor at the first readable key behind the damage that follows `last`; None: there is none before `stop`."""
    low = _number(last)
    return _search(new, low, (_HIGHEST if stop is None else _number(stop)) - low, forward=True)


def seek_before(new: Callable[[], C], start: bytes, stop: bytes) -> C | None:
    """A cursor at the last readable key before the damage that ends at or behind `stop`; None: there is none from `start`."""
    high = _number(stop)
    return _search(new, high, high - _number(start), forward=False)


def _search(new: Callable[[], C], origin: int, furthest: int, *, forward: bool) -> C | None:
    sign = 1 if forward else -1
    step = 1
    while (found := _at(new, origin + sign * min(step, furthest), forward=forward)) is None:
        if step >= furthest:
            return None
        step *= 2
    bad, good = step // 2, min(step, furthest)
    while good - bad > 1:
        middle = (bad + good) // 2
        nearer = _at(new, origin + sign * middle, forward=forward)
        if nearer is None:
            bad = middle
        else:
            good, found = middle, nearer
    return found if found.valid() else None
