"""A file that appears when it is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from edge.errors import EdgeError


class ExportError(EdgeError):
    """What was asked for can't be written."""


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path` that takes its name at the end of the block, on disk; after an error nothing is left of it.

    Raises ExportError where the disk does not take it.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        beside.unlink(missing_ok=True)


def write_error(path: Path, error: OSError) -> ExportError:
    """What a person can do about it."""
    return ExportError(
        f"{path}: can't be written: {error.strerror or error}. Nothing of it is left; name another place with --out"
    )
