"""POST /v1/write: appends as lines, answered once they are durable."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Callable, Iterable, Sequence

from aiohttp import web

from edge.http.answers import BadRequestError, answer
from edge.http.durable import durable, receipt_json
from storage.model import Append, Frame, StreamConfig, check_stream_name
from storage.store import SegmentStore
from storage.ticket import Ticket

MAX_BODY_BYTES = 96 << 20
"""A submission of 64 MiB, in base64."""
MAX_WRITES = 16
_QUEUED = "It stays queued and may still be stored: send it again with the same writer and numbers, then nothing is stored twice"

_KEYS = {"stream", "key", "writer", "number", "content_type", "headers"}
_PAYLOADS = ("payload", "payload_base64", "payloads", "payloads_base64")


class WriteHandler:
    """Answers writes. A stream that is missing is made, kept as `stream_config` says."""

    def __init__(
        self, store: SegmentStore, stream_config: Callable[[str], StreamConfig], turn: asyncio.Semaphore
    ) -> None:
        """`turn` is taken for each write: it bounds how many there are at a time."""
        self._store = store
        self._stream_config = stream_config
        self._turn = turn

    async def handle(self, request: web.Request) -> web.Response:
        async with self._turn:
            body = await request.read()
            loop = asyncio.get_running_loop()
            ticket = await loop.run_in_executor(None, self._submit, body)
            receipt = await durable(self._store, ticket, _QUEUED)
        return answer(receipt_json(receipt))

    def _submit(self, body: bytes) -> Ticket:
        appends = parse_appends(body)
        make_streams(self._store, [append.stream for append in appends], self._stream_config)
        return self._store.submit(appends)


def make_streams(store: SegmentStore, names: Iterable[str], stream_config: Callable[[str], StreamConfig]) -> None:
    """Make the streams that are missing, kept as `stream_config` says. Raises StorageError."""
    for name in dict.fromkeys(names):
        if not store.has_stream(name):
            store.create_stream(name, stream_config(name))


def parse_appends(body: bytes, stream: str | None = None) -> list[Append]:
    """The lines of a write; where a line has none it is for `stream`. Raises BadRequestError with the line's number."""
    appends: list[Append] = []
    for number, line in enumerate(body.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            appends.append(_append(json.loads(line), stream))
        except (ValueError, binascii.Error) as error:
            raise BadRequestError(f"write, line {number}: {error}") from error
    if not appends:
        raise BadRequestError(
            'write: nothing to store; send a line such as {"stream": "plant/flow", "payload": "12.7"}'
        )
    return appends


def _append(raw: object, stream: str | None) -> Append:
    if not isinstance(raw, dict):
        raise ValueError("an object was expected")
    given = [name for name in _PAYLOADS if name in raw]
    if len(given) != 1:
        raise ValueError(f"one of {', '.join(_PAYLOADS)} was expected, found {' and '.join(given) or 'none'}")
    unknown = set(raw) - _KEYS - set(_PAYLOADS)
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    writer, number = raw.get("writer"), raw.get("number")
    if (writer is None) != (number is None):
        raise ValueError("writer and number belong together: the number of the first event, the others follow it")
    if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 0):
        raise ValueError(f"number: a whole number from 0 was expected, found {number!r}")
    frame = Frame(
        payloads=_payloads(given[0], raw[given[0]]),
        routing_key=_text(raw, "key"),
        content_type=_text(raw, "content_type"),
        headers=_headers(raw.get("headers", {})),
        writer=None if writer is None else _text(raw, "writer"),
        number=number,
    )
    name = _text(raw, "stream") if "stream" in raw or stream is None else stream
    return Append(check_stream_name(name), [frame])


def _payloads(name: str, value: object) -> Sequence[bytes]:
    values = value if name.startswith("payloads") else [value]
    if not isinstance(values, list) or not values or not all(isinstance(item, str) for item in values):
        raise ValueError(f"{name}: {'a list of texts' if name.startswith('payloads') else 'a text'} was expected")
    if name.endswith("_base64"):
        return [base64.b64decode(item, validate=True) for item in values]
    return [item.encode() for item in values]


def _headers(value: object) -> tuple[tuple[str, bytes], ...]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("headers: an object of texts was expected")
    return tuple((name, item.encode()) for name, item in value.items())


def _text(raw: dict[str, object], name: str) -> str:
    value = raw.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"{name}: a text was expected, found {value!r}")
    return value
