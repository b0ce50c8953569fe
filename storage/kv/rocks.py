"""RocksDB behind the seam: the one module that knows rocksdict, its options and the texts of its errors.

`write` is followed by `flush_wal(True)`, which leaves the interpreter alive during the fsync; `no_slowdown` turns a
stall into an error, where RocksDB would sleep with the interpreter held. Families are flushed together (atomic flush),
so a lost log hits all of them at the same commit.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    DbClosedError,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from storage.block import MAGIC as BLOCK_MAGIC
from storage.bulk.chunks import ChunkDirectory
from storage.chain import COMMIT_MAGIC, GAP_MAGIC
from storage.codec import SEAL_FORMAT
from storage.errors import (
    DamagedBlockError,
    StorageError,
    StoreBusyError,
    StoreClosedError,
    StoreDamagedError,
    StoreFailedError,
    StoreFullError,
    StoreLockedError,
)
from storage.keys import DEFAULT
from storage.kv.contract import Batch, Item, LogEvidence
from storage.kv.logs import batch_puts, log_files, puts_anywhere, puts_behind, scan_logs
from storage.pointer import MAGIC as POINTER_MAGIC

LOG_LIMIT_BYTES = 32 << 20
WRITE_BUFFER_BYTES = 8 << 20
"""RocksDB goes on after a full disk only once this much is free again."""
_CACHE_BYTES = 8 << 20
_BLOCK_KEY_BYTES = 20
_CHAIN_KEY_BYTES = 8


def _options(recovery: DBRecoveryMode, log_limit_bytes: int, *, compacting: bool) -> Options:
    """A family's options. What is dropped whole is never compacted but on request."""
    write_buffer_bytes = min(WRITE_BUFFER_BYTES, log_limit_bytes // 2)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    options.set_atomic_flush(True)
    options.set_wal_recovery_mode(recovery)
    options.set_max_total_wal_size(log_limit_bytes)
    options.set_write_buffer_size(write_buffer_bytes)
    options.set_max_write_buffer_number(3)
    options.set_db_write_buffer_size(2 * write_buffer_bytes)
    options.set_disable_auto_compactions(not compacting)
    options.set_compression_type(DBCompressionType.none())
    options.set_max_background_jobs(2)
    options.set_max_open_files(256)
    options.set_max_manifest_file_size(1 << 20)
    options.set_max_log_file_size(1 << 20)
    options.set_keep_log_file_num(2)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    table = BlockBasedOptions()
    table.set_block_cache(Cache(_CACHE_BYTES))
    table.set_format_version(5)
    options.set_block_based_table_factory(table)
    return options


def _translate(error: Exception, doing: str) -> NoReturn:
    """Raise what the store understands. rocksdict raises bare `Exception`: its text is all there is to tell them apart."""
    text = str(error)
    if isinstance(error, StorageError):
        raise error
    if isinstance(error, DbClosedError) or "closed" in text.lower():
        raise StoreClosedError(f"{doing}: the store is closed") from error
    if "No space left" in text or "NoSpace" in text or "Disk quota" in text or "Out of space" in text:
        raise StoreFullError(f"{doing}: the disk is full; free space, and writing goes on by itself") from error
    if "Write stall" in text or "Incomplete" in text:
        raise StoreBusyError(f"{doing}: the engine asks for a pause") from error
    if "lock" in text.lower() and "LOCK" in text:
        raise StoreLockedError(f"{doing}: another process has it open") from error
    if "Corruption" in text or "checksum" in text.lower():
        raise DamagedBlockError(f"{doing}: {text}") from error
    raise StoreFailedError(f"{doing}: {text}") from error


class RocksStore:
    """One RocksDB directory. Meets `storage.kv.contract.KeyValueStore`."""

    def __init__(
        self, path: Path, aside: Path, *, read_only: bool = False, log_limit_bytes: int = LOG_LIMIT_BYTES
    ) -> None:
        """Open, created where missing. Where the logs are damaged they are copied to `aside` first.

        Raises StoreLockedError, StoreFullError, StoreDamagedError.
        """
        self.path = path
        self._read_only = read_only
        self.chunks = ChunkDirectory(path.parent / "chunks")
        self._log_limit_bytes = log_limit_bytes
        self._write_options = WriteOptions()
        self._write_options.no_slowdown = True
        self.evidence = _gather_evidence(path, None if read_only else aside)
        mode = (
            DBRecoveryMode.skip_any_corrupted_record()
            if self.evidence.damage
            else DBRecoveryMode.tolerate_corrupted_tail_records()
        )
        try:
            self._db, self._families = self._open(mode)
        except DamagedBlockError as error:
            raise StoreDamagedError(
                f"{path} can't be opened: {error}. Its files are as they were: copy them before anything else."
            ) from error

    def _open(self, mode: DBRecoveryMode) -> tuple[Rdict, dict[str, Rdict]]:
        names = [DEFAULT]
        access = AccessType.read_only() if self._read_only else AccessType.read_write()
        try:
            if (self.path / "CURRENT").exists():
                names = Rdict.list_cf(str(self.path))
            options = _options(mode, self._log_limit_bytes, compacting=True)
            self._options = _options(mode, self._log_limit_bytes, compacting=False)
            others = {name: self._options for name in names if name != DEFAULT}
            db = Rdict(str(self.path), options, column_families=others, access_type=access)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            _translate(error, f"opening {self.path}")
        families = {name: db if name == DEFAULT else db.get_column_family(name) for name in names}
        return db, families

    def families(self) -> list[str]:
        return list(self._families)

    def create_family(self, name: str) -> None:
        if name in self._families:
            return
        try:
            self._families[name] = self._db.create_column_family(name, self._options)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            _translate(error, f"creating family {name}")

    def drop_family(self, name: str) -> None:
        family = self._families.pop(name, None)
        if family is None:
            return
        del family
        try:
            self._db.drop_column_family(name)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            _translate(error, f"dropping family {name}")

    def family_bytes(self, name: str) -> int:
        family = self._families.get(name)
        if family is None:
            return 0
        properties = ("rocksdb.total-sst-files-size", "rocksdb.cur-size-all-mem-tables")
        return sum(family.property_int_value(name) or 0 for name in properties)

    def compact_family(self, name: str) -> None:
        family = self._families.get(name)
        try:
            if family is not None:
                family.compact_range(None, None)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            _translate(error, f"compacting {name} of {self.path}")

    def unflushed_bytes(self) -> int:
        return sum(f.property_int_value("rocksdb.cur-size-all-mem-tables") or 0 for f in list(self._families.values()))

    def write(self, batch: Batch) -> None:
        try:
            native = WriteBatch(raw_mode=True)
            handles = {}
            for family, key, value in batch.puts:
                if family == DEFAULT:
                    native.put(key, value)
                    continue
                if family not in handles:
                    handles[family] = self._db.get_column_family_handle(family)
                native.put(key, value, handles[family])
            for family, key in batch.deletes:
                native.delete(key, None if family == DEFAULT else self._db.get_column_family_handle(family))
            self._db.write(native, self._write_options)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            _translate(error, f"writing to {self.path}")

    def sync(self) -> None:
        try:
            self._db.flush_wal(True)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            _translate(error, f"syncing {self.path}")

    def get(self, family: str, key: bytes) -> bytes | None:
        table = self._families.get(family)
        if table is None:
            return None
        try:
            value = table.get(key)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            _translate(error, f"reading {family} of {self.path}")
        return value if isinstance(value, bytes) else None

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        try:
            table = self._families.get(family)
            values = None if table is None else table.get(list(keys))
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            _translate(error, f"reading {family} of {self.path}")
        return [value if isinstance(value, bytes) else None for value in values or [None] * len(keys)]

    def scan(
        self, family: str, start: bytes, stop: bytes | None, *, limit: int = 1000, max_bytes: int = 4 << 20
    ) -> list[Item]:
        items: list[Item] = []
        size = 0
        table = self._families.get(family)
        if table is None:
            return items
        try:
            bounds = ReadOptions()
            if stop is not None:
                bounds.set_iterate_upper_bound(stop)
            iterator = table.iter(bounds)
            iterator.seek(start)
            while iterator.valid() and len(items) < limit and (not items or size < max_bytes):
                value = iterator.value()
                items.append((iterator.key(), value))
                size += len(value)
                iterator.next()
            if not items:
                iterator.status()
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            if not items:
                _translate(error, f"reading {family} of {self.path}")
        return items

    def last_before(self, family: str, start: bytes, stop: bytes) -> Item | None:
        table = self._families.get(family)
        if table is None:
            return None
        try:
            bounds = ReadOptions()
            bounds.set_iterate_lower_bound(start)
            bounds.set_iterate_upper_bound(stop)
            iterator = table.iter(bounds)
            iterator.seek_to_last()
            if not iterator.valid():
                iterator.status()
                return None
            return iterator.key(), iterator.value()
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            _translate(error, f"reading {family} of {self.path}")

    def disk_bytes(self) -> int:
        total = 0
        for entry in self.path.iterdir():
            try:
                total += entry.stat().st_blocks * 512
            except FileNotFoundError:
                continue
        return total + self.chunks.disk_bytes()

    def close(self) -> None:
        self.chunks.close()
        families, self._families = self._families, {}
        families.pop(DEFAULT, None)
        for family in [*families.values(), self._db]:
            # An error left over from a full disk is told again here. What was synced does not depend on it.
            with contextlib.suppress(Exception):
                family.close()


def _gather_evidence(path: Path, aside: Path | None) -> LogEvidence:
    """Read the logs before RocksDB does. Copies them to `aside` where they are damaged."""
    files = log_files(path)
    if not scan_logs(files).damage:
        return LogEvidence()
    scan = scan_logs(files, keep=True)
    if aside is not None:
        aside.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copy2(file, aside / file.name)
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
    return LogEvidence(tuple(scan.damage), tuple(puts))
