"""Where to begin reading, as people type it: `head`, `tail`, a position, an ISO 8601 time, an age."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from storage.model import Position, StreamCut

_AGE = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)\Z")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def parse_where(text: str, now_ns: int) -> Position | StreamCut | int | str:
    """A Position, a StreamCut, a time in ns since 1970, or one of the words `head` and `tail`. Raises ValueError with examples.

    A time without a zone is local time, as on the technician's watch.
    """
    if text in ("head", "tail"):
        return text
    age = _AGE.match(text)
    if age is not None:
        return now_ns - int(float(age[1]) * _UNIT_S[age[2]] * 1e9)
    if re.match(r"\d+\.\d+:", text):
        return StreamCut.parse(text) if "," in text else Position.parse(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no place in a stream: use head, tail, a position (0.0:1234), "
            "a time (2026-05-01T12:00:00Z) or an age (15m)"
        ) from None
    since = moment.astimezone() - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
