"""GET /v1/read: events as lines, from history on into what comes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web

from edge.events import event_line
from edge.http.answers import BadRequestError, answer, compact
from edge.http.follow import CommitSignal
from storage.errors import StorageError
from storage.event import Event
from storage.merging import StreamReader
from storage.store import SegmentStore

MAX_READERS = 64
POLL_EVENTS = 1000


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What to read. `stop` is the first position that is left out, `limit` counts events."""

    stream: str
    start: str
    stop: str | None
    limit: int | None
    follow: bool


def parse_read(request: web.Request) -> ReadRequest:
    """The request's query. Raises BadRequestError."""
    query = request.query
    unknown = set(query) - {"stream", "from", "to", "limit", "follow"}
    if unknown or "stream" not in query:
        raise BadRequestError(f"read: {', '.join(sorted(unknown)) or 'stream'}: use ?stream=&from=&to=&limit=&follow=1")
    limit = query.get("limit")
    if limit is not None and not limit.isdigit():
        raise BadRequestError(f'read: limit "{limit}" is no number of events')
    return ReadRequest(
        stream=query["stream"],
        start=query.get("from", "head"),
        stop=query.get("to"),
        limit=int(limit) if limit is not None else None,
        follow=query.get("follow", "") not in ("", "0", "false"),
    )


class ReadHandler:
    """Answers reads. Polls of the store, which touch the disk, run in the loop's executor."""

    def __init__(self, store: SegmentStore, signal: CommitSignal) -> None:
        self._store = store
        self._signal = signal
        self._readers = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        wanted = parse_read(request)
        if self._readers >= MAX_READERS:
            return answer({"error": f"{MAX_READERS} readers at a time, and all are taken: end one and try again"}, 503)
        self._readers += 1
        try:
            return await self._stream(request, wanted)
        finally:
            self._readers -= 1

    async def _stream(self, request: web.Request, wanted: ReadRequest) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        reader = await loop.run_in_executor(None, self._open, wanted)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        left = wanted.limit
        try:
            while left is None or left > 0:
                before = self._store.last_commit
                count = POLL_EVENTS if left is None else min(POLL_EVENTS, left)
                items = await loop.run_in_executor(None, reader.poll, count)
                if items:
                    await response.write("".join(f"{compact(event_line(item))}\n" for item in items).encode())
                    left = left if left is None else left - sum(isinstance(item, Event) for item in items)
                elif not wanted.follow or reader.ended or self._signal.closed:
                    break
                else:
                    await self._signal.wait(before)
            await response.write_eof()
        except StorageError as error:
            await response.write(f"{compact({'error': str(error)})}\n".encode())
            await response.write_eof()
        except ConnectionResetError:
            # The reader has seen enough and gone.
            pass
        return response

    def _open(self, wanted: ReadRequest) -> StreamReader:
        try:
            return self._store.reader(wanted.stream, wanted.start, wanted.stop)
        except ValueError as error:
            raise BadRequestError(str(error)) from error
