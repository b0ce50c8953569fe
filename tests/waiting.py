"""Waiting in tests for what comes by itself, with a deadline that no healthy run meets."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 60.0
PAUSE_S = 0.02


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until `holds`; a failure says what never came."""
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s, f"waited {PATIENCE_S:g} s in vain for {what}"
        time.sleep(PAUSE_S)
