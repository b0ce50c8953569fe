"""A store's engine files beside themselves, to be opened, mended and looked at while the originals stay as they are.

Table files are never written to again, so a link is as good as a copy; the rest is small (the logs at most 32 MiB).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = "check"
"""Below `aside`. What a crash leaves of it goes with the next one, and with the next opening."""


def drop_staged(store: Path) -> None:
    """Remove what an earlier look left behind."""
    shutil.rmtree(store / "aside" / FOLDER, ignore_errors=True)


@contextmanager
def staged(store: Path) -> Iterator[Path]:
    """A directory with the engine's files of a store, gone again at the end. Raises OSError (a full disk, no permission)."""
    drop_staged(store)
    folder = store / "aside" / FOLDER
    try:
        (folder / "db").mkdir(parents=True)
        for file in (store / "db").iterdir():
            if file.suffix == ".sst":
                os.link(file, folder / "db" / file.name)
            elif file.is_file() and not file.name.startswith("LO"):
                shutil.copy2(file, folder / "db" / file.name)
        if (store / "WITNESS").exists():
            shutil.copy2(store / "WITNESS", folder / "WITNESS")
        yield folder
    finally:
        drop_staged(store)
