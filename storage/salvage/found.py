"""What damaged files still hold, sorted: every value there carries its own checksum, so each is judged alone."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from storage import block, pointer
from storage.block import BlockHeader
from storage.chain import COMMIT_MAGIC, GAP_MAGIC, CommitRecord, GapRecord
from storage.codec import unseal
from storage.errors import DamagedBlockError
from storage.fetch import carried
from storage.kv.contract import LogEvidence
from storage.pointer import Inline, Pointer


@dataclass(slots=True)
class Found:
    """What the logs hold, sorted by kind, all of it checked."""

    records: dict[int, CommitRecord] = field(default_factory=dict)
    blocks: dict[int, tuple[bytes, bytes, BlockHeader]] = field(default_factory=dict)
    """Whole blocks by checksum: key (empty where it is not known), bytes, header."""
    hit: dict[bytes, BlockHeader] = field(default_factory=dict)
    """Blocks whose body was hit and whose header was not, by key."""
    gaps: dict[bytes, tuple[bytes, GapRecord]] = field(default_factory=dict)
    pointers: dict[bytes, bytes] = field(default_factory=dict)
    """Whole pointers, by key."""
    tables: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    """Newest sealed value of each key: commit and raw value."""

    def newest_commit(self, store: UUID) -> int:
        """The newest commit of that store that anything speaks of."""
        blocks = [h.commit for _, _, h in self.blocks.values() if h.store == store]
        hit = [h.commit for h in self.hit.values() if h.store == store]
        return max([0, *self.records, *blocks, *hit, *(commit for commit, _ in self.tables.values())])


def sort(evidence: LogEvidence) -> Found:
    """What of the evidence checks."""
    found = Found()
    for value in evidence.loose:
        if value[:4] == COMMIT_MAGIC:
            record = CommitRecord.decode(value)
            found.records[record.number] = record
        else:
            found.blocks[block.checksum(value)] = (b"", value, block.parse_header(value))
    for key, value in evidence.puts:
        with suppress(DamagedBlockError):
            _sort_one(found, key, value)
    return found


def _sort_one(found: Found, key: bytes, value: bytes) -> None:
    """Raises DamagedBlockError where it does not check."""
    if value[:4] == COMMIT_MAGIC:
        record = CommitRecord.decode(value)
        found.records[record.number] = record
    elif value[:4] == block.MAGIC and len(key) == 20:
        header = block.parse_header(value)
        raw = value[: header.size_bytes]
        try:
            block.verify(raw, header)
            found.blocks[block.checksum(raw)] = (key, raw, header)
        except DamagedBlockError:
            found.hit[key] = header
    elif value[:4] == pointer.MAGIC and len(key) == 20:
        if isinstance(Pointer.decode(value).place, Inline):
            carried(value)
        found.pointers[key] = value
    elif value[:4] == GAP_MAGIC and len(key) == 20:
        found.gaps[key] = (value, GapRecord.decode(value))
    else:
        commit, _ = unseal(key, value)
        if commit >= found.tables.get(key, (0, b""))[0]:
            found.tables[key] = (commit, value)
