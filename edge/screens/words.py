"""States as a person sees them."""

from __future__ import annotations

from rich.text import Text

_GOOD = {"RUNNING", "LIVE", "OPEN"}
_BUSY = {"STARTING", "CONNECTING", "DRAINING"}
_REST = {"PAUSED", "ABSENT", "OFFLINE", "SEALED"}
_GLYPHS = {"good": ("●", "green"), "busy": ("◐", "yellow"), "rest": ("○", "dim"), "bad": ("✗", "red")}


def state(word: str) -> Text:
    """A state's glyph and word; the colour only repeats what they say."""
    kind = "good" if word in _GOOD else "busy" if word in _BUSY else "rest" if word in _REST else "bad"
    glyph, style = _GLYPHS[kind]
    return Text(f"{glyph} {word.lower()}", style=style)
