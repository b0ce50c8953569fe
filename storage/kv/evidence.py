"""What damaged files still hold, gathered before the engine opens and changes them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from storage import block
from storage.block import MAGIC as BLOCK_MAGIC
from storage.chain import COMMIT_MAGIC, GAP_MAGIC, CommitRecord
from storage.codec import SEAL_FORMAT
from storage.errors import DamagedBlockError
from storage.kv.contract import Item, LogEvidence
from storage.kv.logs import batch_puts, log_files, puts_anywhere, puts_behind, scan_logs
from storage.pointer import MAGIC as POINTER_MAGIC

_BLOCK_KEY_BYTES = 20
_CHAIN_KEY_BYTES = 8
_RECORD_BYTES = 1 << 20
"""No commit record is longer."""


def gather_logs(path: Path, aside: Path | None) -> LogEvidence:
    """Read the logs of a directory. Copies them to `aside` where they are damaged."""
    files = log_files(path)
    scan = scan_logs(files)
    damage = scan.damage
    if not damage:
        return LogEvidence(unwritten=scan.unwritten)
    if aside is not None:
        aside.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copy2(file, aside / file.name)
    return LogEvidence(tuple(f"the write-ahead log is damaged: {what}" for what in damage), tuple(puts_of_logs(files)))


def puts_of_logs(files: list[Path]) -> list[Item]:
    """Everything in the logs that looks like ours, to be judged by its own checksum."""
    scan = scan_logs(files, keep=True)
    puts: list[Item] = []
    for whole in scan.batches:
        puts += batch_puts(whole)
    for payload in scan.fragments:
        puts += batch_puts(payload)
        puts += puts_behind(payload, BLOCK_MAGIC, _BLOCK_KEY_BYTES)
        puts += puts_behind(payload, GAP_MAGIC, _BLOCK_KEY_BYTES)
        puts += puts_behind(payload, POINTER_MAGIC, _BLOCK_KEY_BYTES)
        puts += puts_behind(payload, COMMIT_MAGIC, _CHAIN_KEY_BYTES)
        puts += puts_anywhere(payload, SEAL_FORMAT)
    return puts


def values_of_tables(files: list[Path]) -> Iterator[bytes]:
    """Every block and commit record anywhere in table files of the engine, whose keys are not known.

    Values are not compressed there, and each carries its own length and checksum.
    """
    for file in files:
        data = file.read_bytes()
        for magic in (BLOCK_MAGIC, COMMIT_MAGIC):
            at = data.find(magic)
            while at >= 0:
                value = _value_at(data, at)
                if value is not None:
                    yield value
                at = data.find(magic, at + 1)


def _value_at(data: bytes, at: int) -> bytes | None:
    try:
        if data[at : at + 4] == BLOCK_MAGIC:
            header = block.parse_header(data, at)
            raw = data[at : at + header.size_bytes]
            block.verify(raw, header)
            return raw
        record = CommitRecord.decode(data[at : at + _RECORD_BYTES])
        return record.encode()
    except DamagedBlockError:
        return None
