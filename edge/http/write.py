"""POST /v1/write: appends as lines, answered once they are durable."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import time
from collections.abc import Callable, Sequence

from aiohttp import web

from edge.http.answers import BadRequestError, answer
from storage.errors import StoreFullError
from storage.model import Append, Frame, Receipt, StreamConfig, check_stream_name
from storage.store import SegmentStore
from storage.ticket import Ticket

MAX_BODY_BYTES = 96 << 20
"""A submission of 64 MiB, in base64."""
MAX_WRITES = 16
BLOCKED_S = 3.0
"""So long a store that can't write is waited for: a stall passes by itself, a full disk does not."""

_KEYS = {"stream", "key", "writer", "number", "content_type", "headers"}
_PAYLOADS = ("payload", "payload_base64", "payloads", "payloads_base64")


class WriteHandler:
    """Answers writes. A stream that is missing is made, kept as `stream_config` says."""

    def __init__(self, store: SegmentStore, stream_config: Callable[[str], StreamConfig]) -> None:
        self._store = store
        self._stream_config = stream_config
        self._turn = asyncio.Semaphore(MAX_WRITES)

    async def handle(self, request: web.Request) -> web.Response:
        async with self._turn:
            body = await request.read()
            loop = asyncio.get_running_loop()
            ticket = await loop.run_in_executor(None, self._submit, body)
            receipt = await self._durable(ticket)
        return answer(
            {
                "commit": receipt.commit,
                "positions": [None if place is None else str(place) for place in receipt.positions],
                "stored": receipt.stored,
                "duplicates": receipt.duplicates,
            }
        )

    def _submit(self, body: bytes) -> Ticket:
        appends = parse_appends(body)
        for name in dict.fromkeys(append.stream for append in appends):
            if not self._store.has_stream(name):
                self._store.create_stream(name, self._stream_config(name))
        return self._store.submit(appends)

    async def _durable(self, ticket: Ticket) -> Receipt:
        """Wait for the ticket, and no longer than is useful where nothing can be written."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def resolved(_: Ticket) -> None:
            # A stop may have closed the loop in between: nobody waits any more then.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(done.set)

        ticket.on_done(resolved)
        blocked_since: float | None = None
        while not done.is_set():
            try:
                await asyncio.wait_for(done.wait(), 0.25)
            except TimeoutError:
                now = time.monotonic()
                blocked_since = None if self._store.blocked is None else blocked_since or now
                if blocked_since is not None and now - blocked_since >= BLOCKED_S:
                    raise StoreFullError(
                        f"not stored yet: {self._store.blocked}. It stays queued and may still be stored: send it "
                        "again with the same writer and numbers, then nothing is stored twice"
                    ) from None
        return ticket.result(0)


def parse_appends(body: bytes) -> list[Append]:
    """The lines of a write. Raises BadRequestError with the number of the line."""
    appends: list[Append] = []
    for number, line in enumerate(body.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            appends.append(_append(json.loads(line)))
        except (ValueError, binascii.Error) as error:
            raise BadRequestError(f"write, line {number}: {error}") from error
    if not appends:
        raise BadRequestError(
            'write: nothing to store; send a line such as {"stream": "plant/flow", "payload": "12.7"}'
        )
    return appends


def _append(raw: object) -> Append:
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
    return Append(check_stream_name(_text(raw, "stream")), [frame])


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
