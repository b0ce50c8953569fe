"""What the load writes: of every event its identity says all of it, so whoever reads it knows what it must be."""

from __future__ import annotations

import zlib
from random import Random
from typing import NamedTuple

from storage import Event

TELEMETRY_BYTES = (8, 8, 40, 40, 200, 900, 6_000)
BULK_BYTES = (500, 4_000, 9_000, 30_000)
DUMP_BYTES = (100_000, 200_000, 300_000)
BULK_STREAMS = ("cam", "film")
DUMP = "dump"
KEYS = 5
LOOSE = ""
"""The source of what no writer numbers: its numbers are those of submissions, 1,000 for each."""
PER_SUBMISSION = 1_000
TRANSACTION = "T"
"""What a transaction's name as a source begins with."""


def is_numbered(source: str) -> bool:
    """Whether it is a writer, whose numbers the store keeps."""
    return source != LOOSE and not source.startswith(TRANSACTION)


class Identity(NamedTuple):
    """Which event: of which stream, from which source (a writer id, a transaction, or LOOSE), under which number."""

    stream: str
    source: str
    number: int

    @property
    def routing_key(self) -> str:
        """A writer stays with a key for some numbers; what is loose, for a submission."""
        stretch = self.number // (4 if self.source != LOOSE else PER_SUBMISSION)
        return f"{self.source}-{stretch % KEYS}"

    @property
    def payload(self) -> bytes:
        head = f"{self.stream} {self.source} {self.number} ".encode()
        sizes = BULK_BYTES if self.stream in BULK_STREAMS else DUMP_BYTES if self.stream == DUMP else TELEMETRY_BYTES
        return head + Random(head).randbytes(sizes[zlib.crc32(head) % len(sizes)])

    @property
    def submission(self) -> int:
        """Of what is loose: which submission it came with."""
        return self.number // PER_SUBMISSION


def identify(event: Event) -> Identity:
    """Which event this claims to be. Raises ValueError where it is none of ours."""
    stream, source, number, _ = event.payload.split(b" ", 3)
    return Identity(stream.decode(), source.decode(), int(number))


def wrong_with(event: Event, identity: Identity) -> str | None:
    """How an event that was read differs from what was written under that identity, None where it does not."""
    if identity.stream != event.stream.removeprefix("edge/"):
        return f"is an event of {identity.stream!r}"
    if event.payload != identity.payload:
        return "has other bytes than were written"
    if event.routing_key != identity.routing_key:
        return f"has the key {event.routing_key!r}, not {identity.routing_key!r}"
    numbered = (identity.source, identity.number) if is_numbered(identity.source) else (None, None)
    if (event.writer, event.number) != numbered:
        return f"says number {event.number} of writer {event.writer!r}"
    return None
