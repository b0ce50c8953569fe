"""What can go wrong in the store, each with what a person can do about it."""

from __future__ import annotations


class StorageError(Exception):
    """Base of everything that `storage` raises on purpose. `str()` says what failed, where, and what to do."""


class StoreLockedError(StorageError):
    """Another process has the store open."""


class StoreFormatError(StorageError):
    """The store was written by a newer program, or the directory is not a store."""


class StoreDamagedError(StorageError):
    """The store can't be opened even with what is damaged left out."""


class StoreFullError(StorageError):
    """The disk is full. What was accepted stays queued and is written when space is freed."""


class StoreBusyError(StorageError):
    """The queue of appends is full, or the engine asks for a pause. Try again later; nothing was taken."""


class StoreClosedError(StorageError):
    """The store was closed. What was not acknowledged may not be on disk."""


class StoreFailedError(StorageError):
    """A sync failed: nothing written since the last one may be called durable. Reopen the store."""


class UnknownStreamError(StorageError):
    """There is no stream of that name."""


class StreamSealedError(StorageError):
    """The stream was sealed: it can be read, and never grows again."""


class InvalidNameError(StorageError):
    """A stream, writer or node name that can't be used."""


class TooLargeError(StorageError):
    """An event, or one append, above its stated limit."""


class WriterNumberGapError(StorageError):
    """A writer skipped event numbers: storing this would hide that something was lost before it."""


class ConditionFailedError(StorageError):
    """A conditional append found another length, or a mirrored unit does not continue what is held."""


class OriginRefusedError(StorageError):
    """A mirrored unit comes from a store, or an opening of it, that is not the one known under that node's name."""


class UnknownTransactionError(StorageError):
    """There is no transaction of that id, or it ended so long ago that it was forgotten."""


class TransactionEndedError(StorageError):
    """The transaction was aborted, and takes nothing more; or it was committed, and can't be aborted."""


class DamagedBlockError(StorageError):
    """A block or record whose checksum does not hold."""


class RangeGoneError(StorageError):
    """Bytes of a segment that were given up, or are a gap."""
