"""What tests of a store and its hub share."""

from __future__ import annotations

from storage import SegmentStore
from storage.mirror.unit import Unit


def next_unit(store: SegmentStore, hub: SegmentStore, node: str = "g", max_bytes: int = 1) -> Unit | None:
    return store.next_unit(node, hub.holdings(node).streams, lambda _: True, max_bytes)


def replicate(store: SegmentStore, hub: SegmentStore, node: str = "g", max_bytes: int = 1000) -> int:
    """Bring everything up. How many units that took."""
    units = 0
    while (unit := next_unit(store, hub, node, max_bytes)) is not None:
        hub.submit_unit(unit).result()
        units += 1
    return units
