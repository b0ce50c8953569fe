"""Printing events: a line for a person, or a JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

from edge.cli.options import complain
from edge.events import event_line
from edge.words import count_of, moment
from storage.event import Event
from storage.model import Gap

_encode = json.JSONEncoder(ensure_ascii=False).encode


def print_events(events: Iterable[Event], *, as_json: bool, at_once: bool = False) -> int:
    """Each on a line of standard output; `at_once`: without waiting for more. Returns how many there were."""
    printed = 0
    for event in events:
        printed += 1
        line = _encode(event_line(event)) if as_json else line_of(event)
        sys.stdout.write(line + "\n")
        if at_once:
            sys.stdout.flush()
    return printed


def line_of(event: Event) -> str:
    """`2026-11-23T07:00:00.123Z  0.0:1234  key  payload`. A control character can't reach the terminal.

    A time that is uncertain is marked with `~` before it.
    """
    payload = event.payload.decode(errors="backslashreplace")
    when = f"{'~' if event.uncertain else ''}{moment(event.time_ns)}"
    return f"{when}  {event.position}  {printable(event.routing_key) or '-'}  {printable(payload)}"


def printable(text: str) -> str:
    """`text` with everything that a terminal would obey shown instead."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def report_gap(gap: Gap) -> None:
    """On standard error: a range that holds no events any more."""
    lost = "an unknown number of events" if gap.events is None else count_of(gap.events, "event")
    detail = f" ({gap.detail})" if gap.detail else ""
    complain(f"gap in {gap.stream} from {gap.position} to {gap.next}: {gap.reason.name.lower()}, {lost}{detail}")
