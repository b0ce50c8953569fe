"""One mechanism for logs, counters and fault points: code names the step that it is about to take.

A `Trace` is called at every named step with a few plain values. In production it counts and logs; the crash tests
pass one that kills the process at the n-th visit of a step. Production code never knows which.
"""

from __future__ import annotations

from collections.abc import Callable

Trace = Callable[[str, dict[str, object]], None]
"""`trace(step, details)`: the step's dotted name (`commit.synced`), and what a log line would say of it."""


def no_trace(step: str, details: dict[str, object]) -> None:
    """Nobody listens."""
