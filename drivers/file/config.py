"""What a watched directory is configured with, and what of it can't work."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Literal

from drivers.contract import DriverConfigError, config
from storage.units import Duration

Format = Literal["auto", "csv", "jsonl", "lines", "whole"]


@config
class FileConfig:
    """A directory that files are put into."""

    directory: Path | None = None
    """Where the files come."""
    patterns: tuple[str, ...] = ("*",)
    """Names of files that are taken."""
    recursive: bool = False
    """Folders below it too."""
    format: Format = "auto"
    """What an event is: "csv" a row as JSON, "jsonl" or "lines" a line, "whole" the file; "auto": by the ending."""
    min_age: Duration = Duration(2)
    """A file is taken when it has not changed for so long. 0s: at once, for files that are renamed into place."""
    interval: Duration = Duration(1)
    """How often the directory is looked at."""
    order: Literal["mtime", "name"] = "mtime"
    """Which file is read first: the one modified first, or the first by name."""
    after: Literal["move", "delete", "keep"] = "move"
    """What becomes of a file when all of it is stored. "keep" remembers 9,000 files at most."""
    completed: str = "completed"
    """Where it is moved to; below the directory unless absolute."""
    failed: str = "failed"
    """Where files go of which something could not be read, with the reason beside them."""
    encoding: str = "utf-8"
    """Of CSV files."""
    delimiter: str = ","
    """Between the cells of CSV files (of .tsv files it is the tab)."""
    columns: tuple[str, ...] = ()
    """Names of the columns of CSV files that have no header."""
    key_column: str = ""
    """Routing key of a CSV row or JSON line: this one of its values."""
    time_column: str = ""
    """Time of a CSV row or JSON line: this one of its values, ISO 8601 (UTC unless it says otherwise) or Unix time."""


def check(config: FileConfig, source: str) -> None:
    """Raises DriverConfigError, which says what to write instead."""
    _check_folders(config, source)
    if not config.patterns or any("/" in pattern for pattern in config.patterns):
        raise DriverConfigError(f'source {source}: patterns = {list(config.patterns)}: use names, such as ["*.csv"]')
    if len(config.delimiter) != 1 or config.delimiter in '"\r\n':
        raise DriverConfigError(f'source {source}: delimiter = {config.delimiter!r}: use one character, such as ";"')
    if len(set(config.columns)) < len(config.columns):
        raise DriverConfigError(f"source {source}: columns = {list(config.columns)}: each name once")
    try:
        codecs.lookup(config.encoding)
        one_byte = "\n,".encode(config.encoding) == b"\n,"
    except (LookupError, UnicodeError):
        one_byte = False
    if not one_byte:
        raise DriverConfigError(
            f"source {source}: encoding = {config.encoding!r}: use one that has ASCII in it, such as utf-8 or cp1252"
        )


def root_of(config: FileConfig) -> Path:
    """The directory, as long as there is one."""
    return config.directory or Path("/nonexistent")


def folder(config: FileConfig, name: str) -> Path:
    """Where `completed` or `failed` is."""
    return root_of(config) / name


def _check_folders(config: FileConfig, source: str) -> None:
    if config.after == "keep" or config.directory is None:
        return
    root = root_of(config).resolve()
    for setting, name in (("completed", config.completed), ("failed", config.failed)):
        made = folder(config, name).resolve()
        if made == root or made in root.parents:
            raise DriverConfigError(
                f"source {source}: {setting} = {name!r}: use a folder that is not above the directory"
            )
