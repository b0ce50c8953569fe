"""Reads RocksDB's write-ahead logs on our own account, to see damage that RocksDB would not tell of.

Format: blocks of 32 KiB, in each records of checksum u32 (masked CRC-32C over type and payload), length u16, type u8 (1
whole, 2 first, 3 middle, 4 last), payload; all little endian. A record never crosses a block; what does not fit is cut
in fragments. (RocksDB wiki, "Write Ahead Log File Format".) A whole record is a write batch: sequence u64, count u32,
then entries of a tag, for families other than `default` the family's number, key and value behind varint lengths
(`db/write_batch.cc`).

Where a record does not check, everything up to the next place at which a record checks is searched for our own values
by their magic, since each carries its own checksum: one flipped bit costs one value, not the 32 KiB that RocksDB skips.
But where that is the last write, and pages of it read as zeros, it was cut short by a power cut before it was synced.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from storage.codec import crc32c
from storage.kv.contract import Item

_BLOCK = 32 << 10
_HEADER = struct.Struct("<IHB")
_MASK_DELTA = 0xA282EAD8
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_BATCH_HEADER = 12
_PAGE = 4096
_LEAST_UNWRITTEN = 8
"""Fewer zeros up to the end of a page may be what was written."""


@dataclass(slots=True)
class LogScan:
    """What was read of the logs. `damage` is empty where all is whole but for a torn tail."""

    damage: list[str] = field(default_factory=list)
    torn_bytes: int = 0
    unwritten: bool = False
    """The torn tail is as long as what was written to it, with pages in it that never were: the engine calls that damage."""
    records: int = 0
    batches: list[bytes] = field(default_factory=list)
    """Whole write batches, where they were asked for."""
    fragments: list[bytes] = field(default_factory=list)
    """What is left of batches that were hit, and of what lies around them."""


def _masked(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def log_files(directory: Path) -> list[Path]:
    """The write-ahead logs of a RocksDB directory, oldest first."""
    return sorted(directory.glob("[0-9]*.log"))


def scan_logs(files: list[Path], *, keep: bool = False) -> LogScan:
    """Read all of `files`. With `keep`, what they hold is kept in `batches` and `fragments`."""
    scan = LogScan()
    held = [(path, path.read_bytes()) for path in files]
    # An opening begins a log before it is done with those that it found, and may be cut short then.
    newest = max((index for index, (_, data) in enumerate(held) if data.strip(b"\0")), default=0)
    for index, (path, data) in enumerate(held):
        _scan_file(path, data, scan, newest=index >= newest, keep=keep)
    return scan


def _record_at(data: bytes, at: int) -> tuple[int, bytes] | None:
    """`(type, payload)` of the record at `at` if it checks."""
    if at + _HEADER.size > len(data):
        return None
    crc, length, kind = _HEADER.unpack_from(data, at)
    end = at + _HEADER.size + length
    block_end = at - at % _BLOCK + _BLOCK
    if not _WHOLE <= kind <= _LAST or end > min(len(data), block_end):
        return None
    if _masked(crc32c(data[at + 6 : end])) != crc:
        return None
    return kind, data[at + _HEADER.size : end]


class _Assembly:
    """Puts the fragments of one write batch together again."""

    def __init__(self, scan: LogScan, keep: bool) -> None:
        self._scan = scan
        self._keep = keep
        self._pieces: list[bytes] = []
        self._broken = False

    @property
    def begun(self) -> bool:
        """There are fragments of a batch, and its end is not."""
        return bool(self._pieces)

    def add(self, kind: int, payload: bytes) -> None:
        if kind in (_WHOLE, _FIRST):
            self.finish()
        elif not self._pieces:
            self._broken = True
        self._pieces.append(payload)
        if kind in (_WHOLE, _LAST):
            self._scan.records += 1
            if not self._broken and self._keep:
                self._scan.batches.append(b"".join(self._pieces))
                self._pieces = []
            self.finish()

    def add_broken(self, stretch: bytes) -> None:
        self._pieces.append(stretch)
        self._broken = True

    def finish(self) -> None:
        """What is there of a batch that did not end is a fragment."""
        if self._pieces and self._keep:
            self._scan.fragments.append(b"".join(self._pieces))
        self._pieces = []
        self._broken = False


def _scan_file(path: Path, data: bytes, scan: LogScan, *, newest: bool, keep: bool) -> None:
    at = 0
    assembly = _Assembly(scan, keep)
    while at < len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER.size:
            at += left
            continue
        record = _record_at(data, at)
        if record is not None:
            assembly.add(*record)
            at += _HEADER.size + len(record[1])
            continue
        resume = _next_record(data, at)
        zeros = not data[at:].strip(b"\0")
        if resume is None and (zeros or (newest and _is_torn(data, at))):
            scan.torn_bytes = len(data) - at
            scan.unwritten = newest and (assembly.begun if zeros else _stated_end(data, at) <= len(data))
            return
        if newest and _lacks_pages(data, at) and not _begins_again(data, at):
            scan.torn_bytes, scan.unwritten = len(data) - at, True
            return
        end = len(data) if resume is None else resume
        scan.damage.append(f"{path.name}: bytes {at} to {end} do not check")
        assembly.add_broken(_without_headers(data, at, end))
        at = end
    assembly.finish()


def _is_torn(data: bytes, at: int) -> bool:
    """Whether what begins at `at`, behind which nothing checks, is a write that power or a kill cut short.

    A cut write ends before the length that its header states. A flipped length looks the same, but then the checksum
    holds over what is there.
    """
    if len(data) - at < _HEADER.size:
        return True
    crc, _, kind = _HEADER.unpack_from(data, at)
    end = _stated_end(data, at)
    if end <= len(data) and end <= at - at % _BLOCK + _BLOCK:
        return not data[end:].strip(b"\0") and not data[at + _HEADER.size : end].strip(b"\0")
    rest = data[at + _HEADER.size :]
    return all(_masked(crc32c(bytes([k]) + rest)) != crc for k in (_WHOLE, _FIRST, _MIDDLE, _LAST, kind))


def _stated_end(data: bytes, at: int) -> int:
    """Where the record at `at` ends, as its header says; behind all where its header is cut too."""
    if len(data) - at < _HEADER.size:
        return len(data) + 1
    length: int = _HEADER.unpack_from(data, at)[1]
    return at + _HEADER.size + length


def _lacks_pages(data: bytes, at: int) -> bool:
    """Whether a page of what begins at `at` reads as zeros: from there to its end, or all of it.

    A file system may know how long a file is before it has written its pages, in whatever order; blocks and records are
    never zero for so long.
    """
    start, end = at, at - at % _PAGE + _PAGE
    while start < len(data):
        page = data[start:end]
        if len(page) >= _LEAST_UNWRITTEN and not page.strip(b"\0"):
            return True
        start, end = end, end + _PAGE
    return False


def _begins_again(data: bytes, at: int) -> bool:
    """Whether another write begins behind `at`. It came after a sync: then what is there before it was whole once."""
    found = _next_record(data, at)
    while found is not None:
        record = _record_at(data, found)
        if record is not None and record[0] in (_WHOLE, _FIRST):
            return True
        found = _next_record(data, found)
    return False


def _next_record(data: bytes, after: int) -> int | None:
    """The next place behind `after` at which a record checks, None where there is none."""
    length = struct.unpack_from("<H", data, after + 4)[0] if after + _HEADER.size <= len(data) else 0
    likely = after + _HEADER.size + length
    if length and _record_at(data, likely) is not None:
        return int(likely)
    at = after + 1
    block_end = after - after % _BLOCK + _BLOCK
    while at < min(len(data), block_end):
        if _record_at(data, at) is not None:
            return at
        at += 1
    while at < len(data):
        if _record_at(data, at) is not None:
            return at
        at += _BLOCK
    return None


def _without_headers(data: bytes, start: int, end: int) -> bytes:
    """The bytes [start, end) without the record header at `start` and those at the beginnings of blocks in between."""
    pieces = [data[start + _HEADER.size : min(end, start - start % _BLOCK + _BLOCK)]]
    block = start - start % _BLOCK + _BLOCK
    while block < end:
        pieces.append(data[block + _HEADER.size : min(end, block + _BLOCK)])
        block += _BLOCK
    return b"".join(pieces)


def batch_puts(payload: bytes) -> Iterator[Item]:
    """The key-value pairs of one write batch, as far as it parses."""
    at = _BATCH_HEADER
    try:
        while at < len(payload):
            tag = payload[at]
            at += 1
            if tag in (0x04, 0x05, 0x06, 0x08, 0x0E):
                _, at = _varint(payload, at)
            key, at = _bytes(payload, at)
            if tag in (0x01, 0x05):
                value, at = _bytes(payload, at)
                yield key, value
            elif tag not in (0x00, 0x04, 0x07, 0x08):
                return
    except (IndexError, ValueError):
        return


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 35:
            raise ValueError("a varint of more than five bytes")


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = _varint(data, at)
    if at + length > len(data):
        raise ValueError("a length behind the end")
    return data[at : at + length], at + length


def puts_behind(payload: bytes, magic: bytes, key_bytes: int) -> Iterator[Item]:
    """Values that begin with `magic` anywhere in a damaged stretch, with the `key_bytes` before their length as key.

    The value runs to the end of what is there where its length does not parse: its own checksum has to judge.
    """
    at = payload.find(magic)
    while at >= 0:
        for length_bytes in (1, 2, 3, 4, 5):
            start = at - length_bytes
            if start < key_bytes:
                break
            try:
                length, end = _varint(payload, start)
            except (IndexError, ValueError):
                continue
            if end == at and payload[start - key_bytes - 1] == key_bytes:
                yield payload[start - key_bytes : start], payload[at : at + length]
                break
        at = payload.find(magic, at + 1)


def puts_anywhere(payload: bytes, form: int) -> Iterator[Item]:
    """Whatever in a damaged stretch parses as a put to a family whose value begins with the byte `form`."""
    at = payload.find(b"\x05")
    while at >= 0:
        try:
            _, start = _varint(payload, at + 1)
            key, end = _bytes(payload, start)
            value, _ = _bytes(payload, end)
        except (IndexError, ValueError):
            value = b""
        if value[:1] == bytes([form]):
            yield key, value
        at = payload.find(b"\x05", at + 1)
