"""The disk budget: one limit over everything that a store has on disk, kept at its peak.

What can be on disk until the next measurement is bounded: what is there now, plus everything that is in the log and not
yet in a table (a flush writes it a second time before the log goes), plus twice what is committed meanwhile, plus a
slack for what the engine writes on its own account (its list of files, options, its own log), plus what a compaction is
about to write. A commit goes ahead only where that bound stays within the limit. The directory is measured only where
the bound since the last measurement does not say so already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from storage.errors import StorageError

MIN_LIMIT_BYTES = 16 << 20
"""Below this the engine's own files leave no room worth the name."""
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the parts of a store may grow, in bytes. Under a small limit all of them are small.

    `generation` is the most that one is given up with at once, and compacted. `settled` behind a commit, the engine has
    long moved it out of its log.
    """

    generation: int = 1024 * _MIB
    log: int = 32 * _MIB
    group: int = 8 * _MIB
    settled: int = 128 * _MIB
    slack: int = 0

    @staticmethod
    def under(limit_bytes: int | None) -> Sizes:
        """The sizes for a store with that limit on all of it."""
        if limit_bytes is None:
            return Sizes()
        part = limit_bytes // 32
        log = min(32 * _MIB, part)
        slack = min(max(limit_bytes // 64, _MIB), limit_bytes // 16, 16 * _MIB)
        return Sizes(min(1024 * _MIB, part), log, min(8 * _MIB, part // 2), 4 * log, slack)


def check_limit(limit_bytes: int | None) -> None:
    """Raises StorageError where a store could not work within that limit."""
    if limit_bytes is not None and limit_bytes < MIN_LIMIT_BYTES:
        raise StorageError(
            f"disk_limit of {limit_bytes} bytes is too small to work in: at least {MIN_LIMIT_BYTES >> 20} MiB"
        )


class DiskBudget:
    """Says how much room is missing before something is written. Without a limit, none ever is."""

    def __init__(
        self,
        limit_bytes: int | None,
        sizes: Sizes,
        used: Callable[[], int],
        unflushed: Callable[[], int],
        reserve: Callable[[], int] = lambda: 0,
    ) -> None:
        self.limit_bytes = limit_bytes
        self.sizes = sizes
        self._used = used
        self._unflushed = unflushed
        self._reserve = reserve
        self._bound = 0
        self._measured = False
        self._held = 0

    def missing(self, batch_bytes: int, bulk_bytes: int = 0) -> int:
        """By how much a commit of that size could exceed the limit; 0 where it can't. Bulk is written only once."""
        if self.limit_bytes is None:
            return 0
        for fresh in (False, True):
            if fresh or not self._measured:
                self._bound = self._used() + self._unflushed() + self._reserve()
                self._measured = True
            over = self._bound + 2 * batch_bytes + bulk_bytes + self.sizes.slack + self._held - self.limit_bytes
            if over <= 0:
                return 0
        return over

    def written(self, batch_bytes: int, bulk_bytes: int = 0) -> None:
        """Take note of what a commit wrote."""
        self._bound += 2 * batch_bytes + bulk_bytes

    @contextmanager
    def held(self, size_bytes: int) -> Iterator[None]:
        """Room for a compaction that writes so much."""
        self._held += size_bytes
        try:
            yield
        finally:
            self._held -= size_bytes
            self._measured = False
