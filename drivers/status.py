"""A source as others see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class SourceState(Enum):
    STARTING = "starting"
    RUNNING = "running"
    BLOCKED = "blocked"
    """The driver works, the store takes nothing."""
    BACKOFF = "backoff"
    PAUSED = "paused"
    ABSENT = "absent"
    """Its device was not there at the start, which may be so."""
    FAILED = "failed"
    """It can't work as configured, or should not be tried again."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """A source as it stands. `last_event_ns` is on the boot clock; `retry_in_s` is None unless it waits.

    `waiting_events` were read and are not durable yet; `pushback` says what happens while the store takes nothing.
    """

    name: str
    driver: str
    state: SourceState
    counters: Mapping[str, int]
    last_error: str | None
    last_event_ns: int | None
    retry_in_s: float | None
    waiting_events: int
    pushback: str
