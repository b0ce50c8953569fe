"""What a technician sees: pure functions from a snapshot (`edge.snapshot`) to Rich renderables.

A screen fits 80 columns and, for the overview of an ordinary node, 24 lines. State is a glyph and a word, never colour
alone. Where the output is no terminal, it is plain text without colour or control characters. Nothing here asks the
clock or the daemon: what is not in the snapshot can't be on the screen, so every number can be had as JSON.
"""

from edge.screens.console import show, show_watched, text_of
from edge.screens.lists import sources_screen, streams_screen, uplinks_screen
from edge.screens.overview import overview_screen
from edge.screens.stream import stream_screen

__all__ = [
    "overview_screen",
    "show",
    "show_watched",
    "sources_screen",
    "stream_screen",
    "streams_screen",
    "text_of",
    "uplinks_screen",
]
