"""What upstream confirmed last, kept in the local store: for screens and retention before the link is up again.

A hint, never the truth: that is what upstream answers to a handshake. It is written seldom (an fsynced commit writes
whole flash pages), so it may lag behind what upstream holds; it never runs ahead of it.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass, field
from uuid import UUID

from storage.mirror.unit import Held, HeldSegment


@dataclass(frozen=True, slots=True)
class Hint:
    """What one upstream held of this store at `confirmed_ns` (since 1970)."""

    store: UUID
    confirmed_ns: int
    streams: dict[str, Held] = field(default_factory=dict)

    def to_json(self) -> bytes:
        streams = {
            name: [str(held.incarnation), held.through, [astuple(each) for each in held.segments]]
            for name, held in sorted(self.streams.items())
        }
        document = {"store": str(self.store), "confirmed_ns": self.confirmed_ns, "streams": streams}
        return json.dumps(document, separators=(",", ":")).encode()


def cursor_name(uplink: str) -> str:
    """The name of the cursor that holds the hint of the uplink called `uplink`."""
    return f"uplink/{uplink}"


def parse_hint(raw: bytes | None) -> Hint | None:
    """The hint that `to_json` wrote; None where there is none, or one that this program does not understand."""
    if raw is None:
        return None
    try:
        loaded = json.loads(raw)
        streams = {
            name: Held(UUID(incarnation), int(through), tuple(HeldSegment(*each) for each in segments))
            for name, (incarnation, through, segments) in loaded["streams"].items()
        }
        return Hint(UUID(loaded["store"]), int(loaded["confirmed_ns"]), streams)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
