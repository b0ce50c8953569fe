"""Which streams an uplink brings upstream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

from storage.model import INTERNAL

OURS = ("uplink/", "refused/", INTERNAL)
"""Streams that replication and the store itself write. Only a pattern that begins so selects them."""


def selector(patterns: Sequence[str] = ("*",)) -> Callable[[str], bool]:
    """Whether a stream of that name is selected by one of `patterns`.

    Patterns are those of a shell, over the whole name: `plant/*` selects `plant/flow` and `plant/hall/flow`, case
    counts, and `*` selects everything but the streams in `OURS`.
    """
    wanted = tuple(patterns)

    @lru_cache(maxsize=4096)
    def selects(name: str) -> bool:
        if name.startswith(OURS):
            return any(fnmatchcase(name, pattern) for pattern in wanted if pattern.startswith(OURS))
        return any(fnmatchcase(name, pattern) for pattern in wanted)

    return selects
