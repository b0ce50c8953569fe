"""Numbers, sizes and ages as a person reads them."""

from __future__ import annotations

from datetime import UTC, datetime


def count(number: int) -> str:
    return f"{number:,}"


def count_of(number: int, one: str) -> str:
    """`1 event`, `12,345 events`."""
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"


def size(size_bytes: int) -> str:
    """In powers of 1024, three figures: `812 B`, `1.20 MiB`."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            break
        value /= 1024
    if unit == "B":
        return f"{size_bytes} B"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"


def duration(duration_s: float) -> str:
    """In its largest unit: `3 s`, `4 min`, `5 h`, `6 d`."""
    whole = max(0, int(duration_s))
    if whole < 120:
        return f"{whole} s"
    if whole < 120 * 60:
        return f"{whole // 60} min"
    if whole < 48 * 3600:
        return f"{whole // 3600} h"
    return f"{whole // 86400} d"


def ago(moment_ns: int | None, now_ns: int) -> str:
    """How long before `now_ns`: `3 s ago`, `never`. After a clock was set back it is `just now`."""
    if moment_ns is None:
        return "never"
    elapsed_s = (now_ns - moment_ns) / 1e9
    return "just now" if elapsed_s < 1 else f"{duration(elapsed_s)} ago"


def moment(time_ns: int, timespec: str = "milliseconds") -> str:
    """ISO 8601 in UTC, to the millisecond; the bare number where a clock lied so far that no calendar has it."""
    try:
        when = datetime.fromtimestamp(time_ns / 1e9, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{time_ns} ns"
    return when.isoformat(timespec=timespec).replace("+00:00", "Z")
