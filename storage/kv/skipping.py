"""Reads on behind a place that the engine can't read.

An engine's cursor stops at a block of which one bit was hit. Our values carry checksums of their own, so the block is
read without the engine's: then only what was hit does not check. Where the block does not even parse, any key inside of it
fails again, any behind it works, and the first one that works is looked for: in doubling steps, then by halves. Keys are
taken as numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from storage.kv.contract import Item

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
    def next(self) -> None: ...
    def key(self) -> bytes: ...
    def value(self) -> bytes: ...
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


def _error_of(cursor: Cursor) -> str | None:
    """Why a cursor stopped, None at the end. Words only: an exception would keep the cursor, and it the lock."""
    try:
        cursor.status()
    except Exception as error:  # noqa: BLE001 - the engine raises nothing narrower
        return str(error)
    return None


def read_on(
    new: Callable[[bool], C], start: bytes, stop: bytes | None, limit: int, max_bytes: int
) -> tuple[list[Item], list[tuple[bytes, str]]]:
    """Items from `start` on, over what can't be read; and the errors met, with the key behind which each was.

    `new` makes a cursor that checks the engine's checksums, or one that does not.
    """
    items: list[Item] = []
    errors: list[tuple[bytes, str]] = []
    size, last, verified = 0, start, True
    cursor = new(True)
    cursor.seek(start)
    while len(items) < limit and (not items or size < max_bytes):
        if not cursor.valid():
            error = _error_of(cursor)
            if error is None:
                break
            errors.append((last, error))
            if verified:
                verified = False
                cursor = new(False)
                cursor.seek(last)
                continue
            found = seek_behind(lambda: new(False), last, stop)
            if found is None:
                break
            cursor = found
        key, value = cursor.key(), cursor.value()
        cursor.next()
        if key > last or (key == last and not items):  # Otherwise a key is what was hit.
            items.append((key, value))
            last = key
            size += len(value)
    return items, errors


def read_last(new: Callable[[bool], C], start: bytes, stop: bytes) -> Item | None:
    """The last item in [start, stop) that can be read. `new` as for `read_on`."""
    cursor = new(True)
    cursor.seek_to_last()
    if not cursor.valid() and _error_of(cursor) is not None:
        cursor = new(False)
        cursor.seek_to_last()
        if not cursor.valid() and _error_of(cursor) is not None:
            cursor = seek_before(lambda: new(False), start, stop) or cursor
    if not cursor.valid() or not start <= cursor.key() < stop:
        return None
    return cursor.key(), cursor.value()


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
