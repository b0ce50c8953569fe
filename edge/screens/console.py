"""Printing a renderable: on a terminal with colour, into a pipe as plain text."""

from __future__ import annotations

import sys
from io import StringIO
from typing import TextIO

from rich.console import Console, RenderableType

PIPE_COLUMNS = 100
"""Width of what goes into a pipe or a file, which has none of its own."""


def show(renderable: RenderableType, file: TextIO | None = None) -> None:
    """Print to `file` (standard output)."""
    out = file if file is not None else sys.stdout
    if out.isatty():
        Console(file=out, highlight=False).print(renderable)
    else:
        out.write(text_of(renderable, PIPE_COLUMNS))


def text_of(renderable: RenderableType, columns: int = 80) -> str:
    """The plain text that a terminal of that width would show, without trailing spaces."""
    buffer = StringIO()
    console = Console(file=buffer, width=columns, color_system=None, highlight=False, legacy_windows=False)
    console.print(renderable)
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def show_watched(renderable: RenderableType, file: TextIO | None = None) -> None:
    """Print over what the terminal showed before; into a pipe, below it."""
    out = file if file is not None else sys.stdout
    if out.isatty():
        out.write("\x1b[H\x1b[J")
    show(renderable, out)
    out.flush()
