"""Waiting for what was submitted, beside the loop, and no longer than is useful where nothing can be written."""

from __future__ import annotations

import asyncio
import contextlib
import time

from storage.errors import StoreFullError
from storage.model import Receipt
from storage.store import SegmentStore
from storage.ticket import Ticket

BLOCKED_S = 3.0
"""So long a store that can't write is waited for: a stall passes by itself, a full disk does not."""


async def durable(store: SegmentStore, ticket: Ticket, hint: str) -> Receipt:
    """What the ticket resolves to. Raises what refused it, StoreFullError with a `hint` what to do then."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def resolved(_: Ticket) -> None:
        # A stop may have closed the loop in between: nobody waits any more then.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(done.set)

    ticket.on_done(resolved)
    blocked_since: float | None = None
    while not done.is_set():
        try:
            await asyncio.wait_for(done.wait(), 0.25)
        except TimeoutError:
            now = time.monotonic()
            blocked_since = None if store.blocked is None else blocked_since or now
            if blocked_since is not None and now - blocked_since >= BLOCKED_S:
                raise StoreFullError(f"not stored yet: {store.blocked}. {hint}") from None
    return ticket.result(0)


def receipt_json(receipt: Receipt) -> dict[str, object]:
    """A receipt as plain values."""
    return {
        "commit": receipt.commit,
        "positions": [None if place is None else str(place) for place in receipt.positions],
        "stored": receipt.stored,
        "duplicates": receipt.duplicates,
    }
