"""The log: one line for each event, on standard error; under journald with its priority instead of a time of ours."""

from __future__ import annotations

import logging
import os
import sys

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""sd-daemon(3)."""


class _OneLine(logging.Formatter):
    def __init__(self, *, journal: bool) -> None:
        super().__init__("%(message)s" if journal else "%(asctime)s %(levelname)s %(message)s")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record).replace("\n", " | ")
        return f"<{_PRIORITIES.get(record.levelno, 6)}>{text}" if self._journal else text


def set_up_log(*, debug: bool = False) -> None:
    """Log to standard error from now on. Called once, by whoever owns the process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(journal="JOURNAL_STREAM" in os.environ))
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, handlers=[handler], force=True)
    logging.getLogger("aiohttp").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
