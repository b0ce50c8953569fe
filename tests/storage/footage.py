"""What a camera would append: events of noise, which no compression makes smaller, each known by its number."""

from __future__ import annotations

import random

from storage import Append, Event, Frame, SegmentStore, StreamConfig
from storage.kv.memory import MemoryTwin

BULK = StreamConfig(kind="bulk")


def picture(number: int, size_bytes: int = 20_000) -> bytes:
    return random.Random(number).randbytes(size_bytes)


def append(store: SegmentStore, number: int, size_bytes: int = 20_000, stream: str = "v", key: bool = False) -> None:
    frame = Frame([picture(number, size_bytes)], writer="cam", number=number, key_frame=key)
    store.submit([Append(stream, [frame])]).result()


def payloads(store: SegmentStore, stream: str = "v") -> list[bytes]:
    return [event.payload for event in store.read(stream)]


def filled(twin: MemoryTwin) -> list[Event]:
    with SegmentStore.in_memory(twin) as store:
        store.create_stream("v", BULK)
        for number in range(12):
            append(store, number)
        return list(store.read("v"))
