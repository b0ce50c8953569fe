"""Transactions as they stand in the tables."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from storage.keys import SegmentKey
from storage.model import TransactionState
from storage.records import SegmentLayout, StreamRecord

FIRST_SHADOW = 1 << 31
"""Numbers of streams from here on belong to shadows."""

_PLACED = struct.Struct(">IIIQQ")


@dataclass(frozen=True, slots=True)
class Shadow:
    """One stream's share of a transaction: `number` is the stream number of its shadow segments, `epoch` the stream's
    when it began."""

    stream: int
    number: int
    epoch: int


@dataclass(frozen=True, slots=True)
class TransactionRecord:
    """A transaction. `ended` is the commit that committed or aborted it."""

    id: UUID
    state: TransactionState
    lease_s: float
    shadows: tuple[Shadow, ...]
    ended: int = 0

    def encode(self) -> bytes:
        shadows = [[shadow.stream, shadow.number, shadow.epoch] for shadow in self.shadows]
        return json.dumps(
            {"state": self.state.name, "lease_s": self.lease_s, "shadows": shadows, "ended": self.ended}
        ).encode()

    @staticmethod
    def decode(transaction: UUID, raw: bytes) -> TransactionRecord:
        loaded = json.loads(raw)
        shadows = tuple(Shadow(*fields) for fields in loaded["shadows"])
        return TransactionRecord(
            transaction, TransactionState[loaded["state"]], loaded["lease_s"], shadows, loaded["ended"]
        )


@dataclass(frozen=True, slots=True)
class Placed:
    """A shadow that a segment's pointers lead to: they end at `end`, and became readable with `commit`."""

    segment: SegmentKey
    end: int
    commit: int

    def encode(self) -> bytes:
        return _PLACED.pack(*self.segment, self.end, self.commit)

    @staticmethod
    def decode(raw: bytes) -> Placed:
        stream, segment, epoch, end, commit = _PLACED.unpack(raw)
        return Placed(SegmentKey(stream, segment, epoch), end, commit)


def is_shadow(stream_number: int) -> bool:
    """Whether a stream's number is one of a transaction's shadows."""
    return stream_number >= FIRST_SHADOW


def shadow_stream(stream: StreamRecord, shadow: Shadow) -> StreamRecord:
    """The stream as a transaction sees it: its shadow segments in place of those that were open when it began."""
    layout = tuple(
        SegmentLayout(each.segment, each.epoch, each.keys) for each in segments_of_epoch(stream, shadow.epoch)
    )
    return StreamRecord(shadow.number, stream.name, stream.incarnation, stream.config, None, layout)


def segments_of_epoch(stream: StreamRecord, epoch: int) -> Iterator[SegmentLayout]:
    """The segments that were open in an epoch."""
    for layout in stream.layout:
        if layout.epoch <= epoch and (layout.until is None or layout.until > epoch):
            yield layout
