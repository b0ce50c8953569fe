"""The named steps, and a file in which a process counts its visits: what it has written survives its SIGKILL."""

from __future__ import annotations

import mmap
import struct
import threading
from pathlib import Path

STORE_STEPS = (
    "commit.building",
    "commit.writing",
    "commit.written",
    "commit.synced",
)
OPENING_STEPS = ("store.loaded", "store.opened", "generation.created")
"""Steps that a running node does not come to, or seldom: a kill there is aimed at the next start."""
SOURCE_STEPS = (
    "source.polled",
    "source.submitted",
    "source.durable",
    "source.acked",
)
LISTENER_STEPS = (
    "listener.received",
    "listener.acknowledging",
    "listener.acknowledged",
)
FILE_STEPS = (
    "file.read",
    "file.stored",
    "file.copied",
    "file.removed",
    "file.moved",
    "file.forgotten",
    "follow.read",
    "follow.switched",
)
GATEWAY_STEPS = (
    *SOURCE_STEPS,
    *LISTENER_STEPS,
    "uplink.sending",
    "uplink.sent",
    "uplink.confirmed",
    "uplink.failed",
)
HUB_STEPS = ("hub.received", "hub.applied", "hub.replied")
GIVING_UP_STEPS = ("generation.dropping", "generation.drop_failed")
BULK_STEPS = ("chunk.written", "chunk.synced", "chunk.unlinked", "chunk.unlink_failed")
CAMPAIGN_STEPS = (*STORE_STEPS, *OPENING_STEPS, *GIVING_UP_STEPS, *BULK_STEPS)
"""Steps of a store alone: `tests.campaign` aims at each."""
NOT_AIMED_AT = ("uplink.hint_skipped",)
"""Steps that only a closed store comes to."""
ALL_STEPS = (*STORE_STEPS, *OPENING_STEPS, *GATEWAY_STEPS, *HUB_STEPS, *GIVING_UP_STEPS, *BULK_STEPS, *FILE_STEPS)

STEPS_OF = {
    "gateway": (*STORE_STEPS, *GATEWAY_STEPS, *OPENING_STEPS),
    "hub": (*STORE_STEPS, *HUB_STEPS, *OPENING_STEPS),
    "subscriber": (*STORE_STEPS, *SOURCE_STEPS, *OPENING_STEPS),
    "listener": (*STORE_STEPS, *SOURCE_STEPS, *LISTENER_STEPS, *OPENING_STEPS),
    "files": (*STORE_STEPS, *SOURCE_STEPS, *FILE_STEPS, *OPENING_STEPS),
}
MOST_VISITS = {
    "gateway": {
        "commit": 40,
        "source": 30,
        "listener": 30,
        "uplink": 8,
        "uplink.failed": 2,
        "store": 1,
        "generation": 1,
    },
    "hub": {"commit": 8, "hub": 8, "store": 1, "generation": 1},
    "subscriber": {"commit": 40, "source": 30, "store": 1, "generation": 1},
    "listener": {"commit": 40, "source": 30, "listener": 30, "store": 1, "generation": 1},
    "files": {
        "commit": 40,
        "source": 30,
        "file": 15,
        "file.copied": 4,
        "file.removed": 4,
        "follow": 20,
        "follow.switched": 1,
        "store": 1,
        "generation": 1,
    },
}
"""The n-th visit that a kill may wait for, by the step or its first word."""


def most_visits(node: str, step: str) -> int:
    """The n-th visit that a kill at `step` may wait for."""
    return MOST_VISITS[node].get(step) or MOST_VISITS[node][step.partition(".")[0]]


_COUNT = struct.Struct("<Q")


class Hits:
    """Visits of each step, and kills at it, in the file at `path`; one process writes, any may read."""

    def __init__(self, path: Path) -> None:
        size = 2 * len(ALL_STEPS) * _COUNT.size
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)
        self._lock = threading.Lock()

    def visited(self, step: str) -> None:
        self._add(ALL_STEPS.index(step))

    def killed(self, step: str) -> None:
        self._add(len(ALL_STEPS) + ALL_STEPS.index(step))

    def visits(self, step: str) -> int:
        return self._get(ALL_STEPS.index(step))

    def kills(self, step: str) -> int:
        return self._get(len(ALL_STEPS) + ALL_STEPS.index(step))

    def _get(self, place: int) -> int:
        count: int = _COUNT.unpack_from(self._map, place * _COUNT.size)[0]
        return count

    def _add(self, place: int) -> None:
        with self._lock:
            _COUNT.pack_into(self._map, place * _COUNT.size, self._get(place) + 1)
