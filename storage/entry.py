"""Entries: what lies under a segment's offsets. A block, a gap record, or a pointer to a block that lies elsewhere.

`head` says what a segment asks of any of them without touching the events.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from storage import block, pointer
from storage.chain import BLOCK, GAP, GAP_MAGIC, POINTER, GapRecord
from storage.pointer import Pointer

_NO_BOOT = UUID(int=0)


class EntryHead(NamedTuple):
    """An entry without its events. What a gap record can't know is None, its times are 0.

    `kind` is the chain's (BLOCK, GAP, POINTER). `length` in bytes of offsets; `commit` is the one that made it visible;
    `checksum` is what the next entry names as `previous`; `flags` are a pointer's. `store` wrote it, where it says which.
    """

    kind: int
    length: int
    events: int | None
    commit: int
    checksum: int
    previous: int | None
    first_event: int | None
    boot: UUID
    appended_ns: int
    first_captured_ns: int
    last_captured_ns: int
    flags: int = 0
    store: UUID | None = None


def head(raw: bytes) -> EntryHead:
    """What `raw` says of itself, checked by the checksum of its head. Raises DamagedBlockError."""
    magic = raw[:4]
    if magic == GAP_MAGIC:
        gap = GapRecord.decode(raw)
        return EntryHead(GAP, gap.length, gap.events, gap.commit, gap.replaces, None, None, _NO_BOOT, 0, 0, 0)
    if magic == pointer.MAGIC:
        at = Pointer.decode(raw)
        return EntryHead(
            POINTER, at.length, at.events, at.commit, at.checksum, at.previous, at.first_event, at.boot, at.appended_ns,
            at.first_captured_ns, at.last_captured_ns, at.flags,
        )  # fmt: skip
    header = block.parse_header(raw)
    return EntryHead(
        BLOCK, header.raw_bytes, header.events, header.commit, block.checksum(raw), header.previous, header.first_event,
        header.boot, header.appended_ns, header.first_captured_ns, header.last_captured_ns, store=header.store,
    )  # fmt: skip


def length(raw: bytes) -> int:
    """How many bytes of offsets an entry covers. Raises DamagedBlockError."""
    return head(raw).length
