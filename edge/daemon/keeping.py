"""What retention may give up: how far every upstream that wants a stream has confirmed it."""

from __future__ import annotations

from collections.abc import Iterable

from sync.uplink import Uplink


def confirmed(streams: Iterable[str], uplinks: Iterable[Uplink]) -> dict[str, int]:
    """By stream that an uplink brings upstream: the commit up to which all that do so have brought it, 0 for not at all."""
    through: dict[str, int] = {}
    known = list(uplinks)
    for name in streams:
        held = [
            0 if (of := uplink.confirmed.get(name)) is None else of.through for uplink in known if uplink.wants(name)
        ]
        if held:
            through[name] = min(held)
    return through
