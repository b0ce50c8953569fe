"""Reader groups."""

from storage.readers.group import GroupConfig, ReaderGroup
from storage.readers.progress import TimeWindow
from storage.readers.reader import CheckpointEvent, Reader, ReaderOfflineError, ReaderPosition

__all__ = [
    "CheckpointEvent",
    "GroupConfig",
    "Reader",
    "ReaderGroup",
    "ReaderOfflineError",
    "ReaderPosition",
    "TimeWindow",
]
