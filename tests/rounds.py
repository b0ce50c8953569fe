"""What the campaigns that run from the command line share: where they lie, what they say, what is left of them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class Report(Protocol):
    @property
    def ok(self) -> bool: ...

    @property
    def never_hit(self) -> list[str]: ...

    def text(self) -> str:
        """Tables and sentences for a person."""


def run_in(directory: Path | None, name: str, run: Callable[[Path], Report], *, every_step: bool) -> int:
    """Run in `directory`, or in one that is kept only when it fails. What the program ends with.

    `every_step`: a step that nobody was killed at is a failure, too.
    """
    here = directory or Path(tempfile.mkdtemp(prefix=f"edge-{name}-"))
    here.mkdir(parents=True, exist_ok=True)
    print(f"in {here}", flush=True)
    report = run(here)
    print(report.text())
    never_hit = report.never_hit if every_step else []
    if never_hit:
        print(f"never hit: {', '.join(never_hit)}")
    if never_hit or not report.ok:
        print(f"what failed is kept in {here}")
        return 1
    if directory is None:
        shutil.rmtree(here)
    return 0
