"""Events as JSON lines: what `read` and `tail` print, what the local API sends, and what it is sent to store.

An event is `{"stream", "position", "next", "time_ns", "key", "writer", "number", "content_type", "payload"}`, with
`payload_base64` in place of `payload` where the bytes are not UTF-8, and `headers`, a list of pairs, where it has any
(a header value that is not UTF-8 is `{"base64": …}`). `"time_uncertain": true` is there where the clock was never trusted
in the boot that the event was captured in, so that its time is a guess between its neighbours.
A gap is `{"stream", "position", "next", "gap": {"reason", "events", "detail"}}`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from storage.event import Event
from storage.model import Gap, GapReason, Headers, Position

Line = dict[str, object]


def event_line(item: Event | Gap) -> Line:
    """An event or a gap as plain values."""
    place: Line = {"stream": item.stream, "position": str(item.position), "next": str(item.next)}
    if isinstance(item, Gap):
        return place | {"gap": {"reason": item.reason.name, "events": item.events, "detail": item.detail}}
    line = place | {
        "time_ns": item.time_ns,
        "key": item.routing_key,
        "writer": item.writer,
        "number": item.number,
        "content_type": item.content_type,
    }
    try:
        line["payload"] = item.payload.decode()
    except UnicodeDecodeError:
        line["payload_base64"] = base64.b64encode(item.payload).decode()
    if item.uncertain:
        line["time_uncertain"] = True
    if item.headers:
        line["headers"] = [[name, _header(value)] for name, value in item.headers]
    return line


def append_line(
    stream: str,
    payloads: Sequence[bytes],
    *,
    key: str = "",
    writer: str | None = None,
    number: int | None = None,
    content_type: str = "",
) -> Line:
    """What the local API is sent to store: events that share all but their payload."""
    line: Line = {"stream": stream, "key": key, "content_type": content_type}
    if writer is not None:
        line |= {"writer": writer, "number": number}
    try:
        line["payloads"] = [payload.decode() for payload in payloads]
    except UnicodeDecodeError:
        line["payloads_base64"] = [base64.b64encode(payload).decode() for payload in payloads]
    return line


def _header(value: bytes) -> object:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def parse_event(line: Mapping[str, object]) -> Event | Gap:
    """What `event_line` made a line of. Raises ValueError where it is no such line."""
    stream = _text(line, "stream")
    position, after = Position.parse(_text(line, "position")), Position.parse(_text(line, "next"))
    gap = line.get("gap")
    if isinstance(gap, Mapping):
        events = gap.get("events")
        reason = GapReason[_text(gap, "reason")]
        return Gap(stream, position, after, reason, events if isinstance(events, int) else None, _text(gap, "detail"))
    writer, number, time_ns = line.get("writer"), line.get("number"), line.get("time_ns")
    if not isinstance(time_ns, int):
        raise ValueError(f"time_ns: a number was expected, not {time_ns!r}")
    return Event(
        stream=stream,
        position=position,
        next=after,
        time_ns=time_ns,
        routing_key=_text(line, "key"),
        writer=writer if isinstance(writer, str) else None,
        number=number if isinstance(number, int) else None,
        content_type=_text(line, "content_type"),
        headers=_headers(line.get("headers", [])),
        payload=payload_of(line),
        uncertain=line.get("time_uncertain") is True,
    )


def payload_of(line: Mapping[str, object]) -> bytes:
    """The bytes of `payload` or `payload_base64`. Raises ValueError where there is neither."""
    if "payload_base64" in line:
        return base64.b64decode(_text(line, "payload_base64"), validate=True)
    return _text(line, "payload").encode()


def _headers(raw: object) -> Headers:
    if not isinstance(raw, list):
        raise ValueError(f"headers: a list was expected, not {raw!r}")
    headers: list[tuple[str, bytes]] = []
    for name, value in raw:
        headers.append((name, base64.b64decode(value["base64"]) if isinstance(value, dict) else value.encode()))
    return tuple(headers)


def _text(line: Mapping[str, object], name: str) -> str:
    value = line.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name}: a text was expected, not {value!r}")
    return value
