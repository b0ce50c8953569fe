"""Which upstreams get a stream: those of one transaction must be the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edge.errors import TransactionRefusedError
from sync.uplink import Uplink


def check_same_upstreams(streams: Sequence[str], uplinks: Iterable[Uplink]) -> None:
    """Raises TransactionRefusedError where an upstream gets some of the streams and not the others."""
    for uplink in uplinks:
        wanted = [name for name in streams if uplink.wants(name)]
        if wanted and len(wanted) < len(streams):
            left_out = next(name for name in streams if name not in wanted)
            raise TransactionRefusedError(
                f"{wanted[0]!r} and {left_out!r} can't be in one transaction: upstream {uplink.name!r} gets the one and "
                "not the other, and would show half of it. Give it both ([[upstream]] streams), or use two transactions"
            )
