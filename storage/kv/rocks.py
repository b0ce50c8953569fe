"""RocksDB behind the seam: the one module that knows rocksdict, its options and the texts of its errors.

`write` is followed by `flush_wal(True)`, which leaves the interpreter alive during the fsync; `no_slowdown` turns a
stall into an error, where RocksDB would sleep with the interpreter held. Families are flushed together (atomic flush),
so a lost log hits all of them at the same commit.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, NoReturn

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

from storage.bulk.chunks import ChunkDirectory
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
from storage.kv.evidence import gather_logs
from storage.kv.manifest import manifest_damage, mend_current
from storage.kv.pair import PREFIX, Read, settle
from storage.kv.repair import Repair
from storage.kv.skipping import read_last, read_on, unreadable
from storage.kv.witness_file import WitnessFile

LOG_LIMIT_BYTES = 32 << 20
WRITE_BUFFER_BYTES = 8 << 20
"""RocksDB goes on after a full disk only once this much is free again."""
_CACHE_BYTES = 8 << 20


def _options(recovery: DBRecoveryMode, log_limit_bytes: int) -> Options:
    """A family's options. What is dropped whole is never compacted but on request, the tables once they are known whole."""
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
    options.set_disable_auto_compactions(True)
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
    if "Corruption" in text or "No such file" in text or "checksum" in text.lower():
        raise DamagedBlockError(f"{doing}: {text}") from error
    raise StoreFailedError(f"{doing}: {text}") from error


def _translate_write(error: Exception, doing: str) -> NoReturn:
    """The same for writing. Damage that the engine met in the background ends the opening: the next one mends it."""
    try:
        _translate(error, doing)
    except DamagedBlockError as damage:
        raise StoreFailedError(f"{damage}. Opening the store again mends it") from error


def _bounds(start: bytes | None, stop: bytes | None, verified: bool) -> ReadOptions:
    """Options to read [start, stop) with. Not `verified`: the engine does not look at its own checksums."""
    options = ReadOptions()
    if start is not None:
        options.set_iterate_lower_bound(start)
    if stop is not None:
        options.set_iterate_upper_bound(stop)
    if not verified:
        options.set_verify_checksums(False)
        options.fill_cache(False)  # type: ignore[call-arg]  # Its stub has forgotten the argument.
    return options


class _Stretch(NamedTuple):
    items: list[Item]
    damage: list[str]


class RocksStore:
    """One RocksDB directory. Meets `storage.kv.contract.KeyValueStore`."""

    def __init__(
        self, path: Path, aside: Path, *, read_only: bool = False, log_limit_bytes: int = LOG_LIMIT_BYTES,
        chunks: Path | None = None,
    ) -> None:  # fmt: skip
        """Open, created where missing. Where the logs are damaged they are copied to `aside` first.

        Raises StoreLockedError, StoreFullError, StoreDamagedError.
        """
        self.path = path
        self._read_only = read_only
        self.witness = WitnessFile(path.parent / "WITNESS")
        self.chunks = ChunkDirectory(chunks or path.parent / "chunks")
        self._log_limit_bytes = log_limit_bytes
        self.hit: set[str] = set()
        self._tables: tuple[str, ...] = ()
        """The families that hold the tables."""
        self._merged: dict[bytes, bytes] = {}
        """The tables as they were found, where nothing may be mended."""
        self._write_options = WriteOptions()
        self._write_options.no_slowdown = True
        self._repair = Repair(path, aside)
        try:
            self._db, self._families = self._open_mended(aside)
        except DamagedBlockError as error:
            raise StoreDamagedError(
                f"{path} can't be opened: {error}. Its files are as they were, or in {aside}: copy them before anything else."
            ) from error
        try:
            self._settle_tables()
        except BaseException:
            self.close()
            raise

    def _open_mended(self, aside: Path) -> tuple[Rdict, dict[str, Rdict]]:
        """Open, with what does not let the engine open put right first."""
        if self._read_only:
            self.evidence = gather_logs(self.path, None)
            opened = self._open(self._mode())
            self._find_unreadable(*opened)
            return opened
        current = mend_current(self.path)
        damage = manifest_damage(self.path)
        pending = self._repair.pending
        if damage is None:
            self.evidence = gather_logs(self.path, aside)
            if pending:
                self._add_evidence("an opening was cut short in the middle of a repair")
            try:
                opened = self._open(self._mode())
                self._find_unreadable(*opened)
                self.evidence = replace(self.evidence, mended=() if current is None else (current,))
                return opened
            except DamagedBlockError as error:
                damage = str(error)
        self._repair.run(
            lambda: Rdict.repair(
                str(self.path), _options(DBRecoveryMode.tolerate_corrupted_tail_records(), self._log_limit_bytes)
            )
        )
        self.evidence = LogEvidence()
        self._add_evidence(damage)
        return self._open(DBRecoveryMode.tolerate_corrupted_tail_records())

    def _find_unreadable(self, db: Rdict, families: dict[str, Rdict]) -> None:
        """Raise DamagedBlockError, with all closed again, where a family can't be read at all."""
        data = [name for name in families if name != DEFAULT and not name.startswith(PREFIX)]
        damage = next((found for name in data if (found := unreadable(families[name].iter))), None)
        if damage is not None:
            _close(db, families)
            raise DamagedBlockError(f"reading {self.path}: {damage}")

    def _mode(self) -> DBRecoveryMode:
        skip = self.evidence.damage or self.evidence.unwritten
        return DBRecoveryMode.skip_any_corrupted_record() if skip else DBRecoveryMode.tolerate_corrupted_tail_records()

    def _add_evidence(self, damage: str) -> None:
        more = self._repair.evidence((damage,))
        self.evidence = replace(
            more, damage=(*self.evidence.damage, *more.damage), puts=(*self.evidence.puts, *more.puts)
        )

    def evidence_settled(self) -> None:
        self._repair.settled()

    def _open(self, mode: DBRecoveryMode) -> tuple[Rdict, dict[str, Rdict]]:
        names = [DEFAULT]
        access = AccessType.read_only() if self._read_only else AccessType.read_write()
        try:
            if (self.path / "CURRENT").exists():
                names = Rdict.list_cf(str(self.path))
            options = _options(mode, self._log_limit_bytes)
            self._options = _options(mode, self._log_limit_bytes)
            others = {name: self._options for name in names if name != DEFAULT}
            db = Rdict(str(self.path), options, column_families=others, access_type=access)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            _translate(error, f"opening {self.path}")
        families = {name: db if name == DEFAULT else db.get_column_family(name) for name in names}
        return db, families

    def _settle_tables(self) -> None:
        """The tables whole, in two families, and from then on compacted by the engine."""
        settled = settle(self, list(self._families), mend=not self._read_only)
        self.evidence = replace(self.evidence, mended=(*self.evidence.mended, *settled.lines))
        if self._read_only:
            self._merged = settled.tables
            return
        self._tables = settled.names
        for name in settled.names:
            self._families[name].set_options({"disable_auto_compactions": "false"})

    def families(self) -> list[str]:
        return [DEFAULT, *(name for name in self._families if name != DEFAULT and not name.startswith(PREFIX))]

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
        properties = ("rocksdb.total-sst-files-size", "rocksdb.cur-size-all-mem-tables")
        families = [self._families[real] for real in self._real(name) if real in self._families]
        return sum(family.property_int_value(name) or 0 for family in families for name in properties)

    def _real(self, name: str) -> tuple[str, ...]:
        """The engine's families behind a name."""
        return self._tables if name == DEFAULT else (name,)

    def compact_family(self, name: str) -> None:
        if name in self.hit:
            raise DamagedBlockError(f"compacting {name} of {self.path}: some of it can't be read")
        try:
            for family in [self._families[real] for real in self._real(name) if real in self._families]:
                iterator = family.iter()
                iterator.seek_to_first()
                while iterator.valid():
                    iterator.next()
                iterator.status()  # A compaction that meets damage would end all writing.
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
                for real in self._real(family):
                    if real not in handles:
                        handles[real] = self._db.get_column_family_handle(real)
                    native.put(key, value, handles[real])
            for family, key in batch.deletes:
                for real in self._real(family):
                    native.delete(key, self._db.get_column_family_handle(real))
            self._db.write(native, self._write_options)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            _translate_write(error, f"writing to {self.path}")

    def sync(self) -> None:
        try:
            self._db.flush_wal(True)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            _translate_write(error, f"syncing {self.path}")

    def get(self, family: str, key: bytes) -> bytes | None:
        if family == DEFAULT and self._read_only:
            return self._merged.get(key)
        table = self._families.get(self._real(family)[0])
        if table is None:
            return None
        try:
            value = self._get(table, family, key)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            _translate(error, f"reading {family} of {self.path}")
        return value if isinstance(value, bytes) else None

    def _get(self, table: Rdict, family: str, key: bytes) -> object:
        try:
            return table.get(key)
        except Exception as error:
            if "Corruption" not in str(error):
                raise
        self.hit.add(family)
        return table.get(key, read_opt=_bounds(None, None, False))

    def scan(
        self, family: str, start: bytes, stop: bytes | None, *, limit: int = 1000, max_bytes: int = 4 << 20
    ) -> list[Item]:
        if family == DEFAULT and self._read_only:
            wanted = [item for item in self._merged.items() if start <= item[0] and (stop is None or item[0] < stop)]
            return wanted[:limit]
        table = self._families.get(self._real(family)[0])
        return [] if table is None else self._read(table, family, start, stop, limit, max_bytes).items

    def _read(
        self, table: Rdict, family: str, start: bytes, stop: bytes | None, limit: int, max_bytes: int
    ) -> _Stretch:
        """Read on from `start`, over what can't be read to what lies behind it."""
        try:
            items, errors = read_on(lambda v: table.iter(_bounds(None, stop, v)), start, stop, limit, max_bytes)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            _translate(error, f"reading {family} of {self.path}")
        if errors:
            self.hit.add(family)
        return _Stretch(items, [f"{family} can't be read behind {last.hex()}: {error}" for last, error in errors])

    def read_whole(self, name: str) -> Read:
        """Everything in a family that can be read, whatever lies between."""
        stretch = self._read(self._families[name], name, b"", None, 1 << 62, 1 << 62)
        return Read(stretch.items, tuple(stretch.damage))

    def last_before(self, family: str, start: bytes, stop: bytes) -> Item | None:
        table = self._families.get(self._real(family)[0])
        if table is None:
            return None
        try:
            return read_last(lambda verified: table.iter(_bounds(start, stop, verified)), start, stop)
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
        self.witness.close()
        families, self._families = self._families, {}
        _close(self._db, families)


def _close(db: Rdict, families: dict[str, Rdict]) -> None:
    families.pop(DEFAULT, None)
    for family in [*families.values(), db]:
        # An error left over from a full disk is told again here. What was synced does not depend on it.
        with contextlib.suppress(Exception):
            family.close()
    families.clear()
