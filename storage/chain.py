"""The commit chain: what each commit wrote, each record naming the checksum of the one before; and gap records.

Commit record, big endian: magic `ECMT`, format u8, flags u8 (1: a stand-in written by recovery), number u64, previous
checksum u32, opening u64, boot 16, boot clock i64, wall clock i64, chain checksum u32, entries u32; each entry: stream
u32, segment u32, epoch u32, kind u8 (1 block, 2 gap, 3 pointer, 4 a gap put in the place of an older entry,
5 no entry: the stream was scaled or sealed),
generation u32, start u64, length u64, events u64, checksum u32 · CRC-32C u32. The chain checksum is the CRC-32C of the
record up to it and of the entries; a stand-in carries the one that its successor names, so that the chain stays closed.

Gap record: magic `EGAP`, format u8, reason u8, length u64, events u64 (all ones: unknown), commit u64, checksum of the
segment's block that the gap replaces u32 (0: unknown), detail (u16 length) · CRC-32C u32.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from uuid import UUID

from storage.codec import crc32c
from storage.errors import DamagedBlockError
from storage.model import GapReason

COMMIT_MAGIC = b"ECMT"
GAP_MAGIC = b"EGAP"
FORMAT = 1
STAND_IN = 1
BLOCK = 1
GAP = 2
POINTER = 3
REPLACED = 4
LAYOUT = 5
UNKNOWN_EVENTS = (1 << 64) - 1

_HEAD = struct.Struct(">4sBBQIQ16sqqII")
_ENTRY = struct.Struct(">IIIBIQQQI")
_GAP = struct.Struct(">4sBBQQQIH")
_U32 = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """One block or gap that a commit wrote. `stream` is the store's own number of it; offsets and lengths in bytes."""

    stream: int
    segment: int
    epoch: int
    kind: int
    generation: int
    start: int
    length: int
    events: int
    checksum: int


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """One commit: its number, its place in the chain, when it was, and what it wrote."""

    number: int
    previous: int
    opening: int
    boot: UUID
    boot_ns: int
    wall_ns: int
    entries: tuple[ChainEntry, ...]
    flags: int = 0
    stand_in_checksum: int = 0

    @property
    def stored(self) -> tuple[ChainEntry, ...]:
        """The entries that lie in segments: all but notes of scales."""
        return tuple(entry for entry in self.entries if entry.kind != LAYOUT)

    @property
    def stands_in(self) -> bool:
        return bool(self.flags & STAND_IN)

    @property
    def checksum(self) -> int:
        """What the next record names as `previous`."""
        if self.stands_in:
            return self.stand_in_checksum
        return crc32c(self._entries(), crc32c(self._head(0)))

    def _head(self, checksum: int) -> bytes:
        return _HEAD.pack(
            COMMIT_MAGIC, FORMAT, self.flags, self.number, self.previous, self.opening, self.boot.bytes, self.boot_ns,
            self.wall_ns, checksum, len(self.entries),
        )  # fmt: skip

    def _entries(self) -> bytes:
        return b"".join(
            _ENTRY.pack(e.stream, e.segment, e.epoch, e.kind, e.generation, e.start, e.length, e.events, e.checksum)
            for e in self.entries
        )

    def encode(self) -> bytes:
        raw = self._head(self.checksum) + self._entries()
        return raw + _U32.pack(crc32c(raw))

    @staticmethod
    def decode(raw: bytes) -> CommitRecord:
        """Raises DamagedBlockError."""
        try:
            magic, form, flags, number, previous, opening, boot, boot_ns, wall_ns, checksum, count = _HEAD.unpack_from(
                raw
            )
            end = _HEAD.size + count * _ENTRY.size
            if magic != COMMIT_MAGIC or crc32c(raw[:end]) != _U32.unpack_from(raw, end)[0]:
                raise DamagedBlockError("a commit record does not match its checksum")
            if form != FORMAT:
                raise DamagedBlockError(f"a commit record has format {form}, this version knows {FORMAT}")
            entries = tuple(ChainEntry(*fields) for fields in _ENTRY.iter_unpack(raw[_HEAD.size : end]))
        except struct.error as error:
            raise DamagedBlockError(f"a commit record does not parse: {error}") from error
        return CommitRecord(
            number, previous, opening, UUID(bytes=boot), boot_ns, wall_ns, entries, flags,
            checksum if flags & STAND_IN else 0,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class GapRecord:
    """Stands where a block stood: `length` bytes of offsets that hold no events any more, and why."""

    reason: GapReason
    length: int
    events: int | None
    commit: int
    replaces: int = 0
    detail: str = ""

    def encode(self) -> bytes:
        detail = self.detail.encode()[:1000]
        events = UNKNOWN_EVENTS if self.events is None else self.events
        raw = (
            _GAP.pack(
                GAP_MAGIC, FORMAT, self.reason.value, self.length, events, self.commit, self.replaces, len(detail)
            )
            + detail
        )
        return raw + _U32.pack(crc32c(raw))

    @staticmethod
    def decode(raw: bytes) -> GapRecord:
        """Raises DamagedBlockError."""
        try:
            magic, form, reason, length, events, commit, replaces, detail_bytes = _GAP.unpack_from(raw)
            end = _GAP.size + detail_bytes
            if magic != GAP_MAGIC or form != FORMAT or crc32c(raw[:end]) != _U32.unpack_from(raw, end)[0]:
                raise DamagedBlockError("a gap record does not match its checksum")
            detail = raw[_GAP.size : end].decode(errors="replace")
            return GapRecord(
                GapReason(reason), length, None if events == UNKNOWN_EVENTS else events, commit, replaces, detail
            )
        except (struct.error, ValueError) as error:
            raise DamagedBlockError(f"a gap record does not parse: {error}") from error
