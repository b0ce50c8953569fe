"""A small state for tests, and how to damage what is stored of one."""

from __future__ import annotations

import json

from storage.keys import SegmentKey, block
from storage.kv.contract import Batch
from storage.kv.memory import MemoryTwin

Counts = dict[str, int]
COUNTS = "_system/counts"


class CountsCodec:
    """A state for tests: how often each word was said."""

    def initial(self) -> Counts:
        return {}

    def apply(self, state: Counts, update: str) -> Counts:
        return state | {update: state.get(update, 0) + 1}

    def encode_state(self, state: Counts) -> bytes:
        return json.dumps(state).encode()

    def decode_state(self, raw: bytes) -> Counts:
        loaded: Counts = json.loads(raw)
        return loaded

    def encode_update(self, update: str) -> bytes:
        return update.encode()

    def decode_update(self, raw: bytes) -> str:
        return raw.decode()


def damage(twin: MemoryTwin, stream: int, offset: int) -> None:
    """Flip a bit in the body of the block at `offset`."""
    kv = twin.connect()
    key = block(SegmentKey(stream, 0, 0), offset)
    batch = Batch()
    for family in twin.families:
        raw = kv.get(family, key) if family.startswith("telemetry") else None
        if raw is not None:
            batch.put(family, key, raw[:-1] + bytes([raw[-1] ^ 1]))
    assert batch.puts
    kv.write(batch)
    kv.sync()
    kv.close()
