"""Events into lines, rows, or nothing but their bytes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from typing import BinaryIO

from edge.events import Line, event_line
from edge.words import moment
from storage.event import Event

Writer = Callable[[Iterable[Event], BinaryIO], int]
"""Writes events to a file, and says how many there were."""

COLUMNS = ("time", "position", "key", "writer", "number", "content_type", "headers", "payload", "payload_base64")

_encode = json.JSONEncoder(ensure_ascii=False).encode


def write_jsonl(events: Iterable[Event], out: BinaryIO) -> int:
    count = 0
    for event in events:
        out.write(f"{_encode(event_line(event))}\n".encode())
        count += 1
    return count


def write_csv(events: Iterable[Event], out: BinaryIO) -> int:
    """RFC 4180, but for the ends of its lines."""
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
    rows = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    count = 0
    for event in events:
        rows.writerow(_row(event_line(event)))
        count += 1
    text.detach()
    return count


def write_raw(events: Iterable[Event], out: BinaryIO) -> int:
    count = 0
    for event in events:
        out.write(event.payload)
        count += 1
    return count


TABLES: dict[str, Writer] = {".jsonl": write_jsonl, ".csv": write_csv, ".raw": write_raw}
"""By the ending of the file."""


def _row(line: Line) -> Line:
    headers = line.get("headers")
    time_ns = line["time_ns"]
    assert isinstance(time_ns, int)
    return line | {"time": moment(time_ns, "microseconds"), "headers": _encode(headers) if headers else ""}
