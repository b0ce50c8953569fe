"""What tests of a stream `s` that scales share."""

from __future__ import annotations

from collections.abc import Iterable

from storage import Append, Event, Frame, SegmentInfo, SegmentStore
from storage.model import KeyRange, Position, key_point

KEYS = [f"pump-{number}" for number in range(8)]
LOW, HIGH = min(KEYS, key=key_point), max(KEYS, key=key_point)
"""Keys of two halves of the key space."""


def open_segments(store: SegmentStore) -> list[SegmentInfo]:
    """By key."""
    return sorted((s for s in store.stream("s").segments if s.until is None), key=lambda segment: segment.keys.low)


def halves(store: SegmentStore) -> SegmentStore:
    """The stream in a segment for `LOW` and one for `HIGH`."""
    store.create_stream("s")
    split(store)
    return store


def split(store: SegmentStore, index: int = 0, parts: int = 2) -> None:
    segment = open_segments(store)[index]
    store.scale("s", [segment.id], segment.keys.split(parts))


def merge(store: SegmentStore, index: int = 0) -> None:
    one, other = open_segments(store)[index : index + 2]
    store.scale("s", [one.id, other.id], [KeyRange(one.keys.low, other.keys.high)])


def append(store: SegmentStore, key: str, payload: bytes) -> Position:
    position = store.submit([Append("s", [Frame([payload], key)])]).result().positions[0]
    assert position is not None
    return position


def scaled(store: SegmentStore, rounds: int = 40) -> list[tuple[str, bytes]]:
    """Appends with splits and merges in between. Key and payload of all of them."""
    store.create_stream("s")
    written = []
    for number in range(rounds):
        key = KEYS[number % len(KEYS)]
        append(store, key, b"%d" % number)
        written.append((key, b"%d" % number))
        if number % 10 == 4:
            split(store)
        elif number % 10 == 9 and len(open_segments(store)) > 1:
            merge(store)
    return written


def told(items: Iterable[object]) -> list[tuple[str, bytes]]:
    """Key and payload of the events among what was read."""
    return [(item.routing_key, item.payload) for item in items if isinstance(item, Event)]


def by_key(events: Iterable[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for key, payload in events:
        found.setdefault(key, []).append(payload)
    return found
