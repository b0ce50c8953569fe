"""Many tuples of a kind at once, from their columns."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import TypeVar, cast

Row = TypeVar("Row", bound=tuple[object, ...])


def rows(kind: type[Row], *columns: Iterable[object]) -> list[Row]:
    """A `kind` of the first of every column, of the second, and so on to the end of the shortest.

    Calling `kind` runs Python for each, which takes longer than all else that reading an event does.
    """
    return cast("list[Row]", list(map(tuple.__new__, repeat(kind), zip(*columns))))  # noqa: B905
