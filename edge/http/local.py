"""The routes of the local API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from aiohttp import web

from edge.http.answers import BadRequestError, answer, errors_as_json
from edge.http.follow import CommitSignal
from edge.http.metrics import metrics_text
from edge.http.read import ReadHandler
from edge.http.seam import LocalNode
from edge.http.transactions import TransactionHandler
from edge.http.write import MAX_BODY_BYTES, MAX_WRITES, WriteHandler
from edge.snapshot import to_json

Result = TypeVar("Result")


def local_application(node: LocalNode) -> web.Application:
    """The local API of a node, ready to be served."""
    application = web.Application(middlewares=[errors_as_json], client_max_size=MAX_BODY_BYTES)
    signal = CommitSignal(node.store)
    handlers = _Handlers(node)
    turn = asyncio.Semaphore(MAX_WRITES)
    transactions = TransactionHandler(node, turn)

    async def start(_: web.Application) -> None:
        signal.start()

    async def stop(_: web.Application) -> None:
        signal.close()

    application.on_startup.append(start)
    application.on_shutdown.append(stop)
    application.add_routes(
        [
            web.get("/v1/status", handlers.status),
            web.get("/v1/streams", handlers.streams),
            web.get("/v1/streams/{name:.+}", handlers.stream),
            web.get("/v1/read", ReadHandler(node.store, signal).handle),
            web.post("/v1/write", WriteHandler(node.store, node.stream_config, turn).handle),
            web.post("/v1/transactions", transactions.begin),
            web.get("/v1/transactions/{id}", transactions.state),
            web.post("/v1/transactions/{id}/append", transactions.append),
            web.post("/v1/transactions/{id}/ping", transactions.ping),
            web.post("/v1/transactions/{id}/commit", transactions.commit),
            web.post("/v1/transactions/{id}/abort", transactions.abort),
            web.get("/v1/cursors/{name:.+}", transactions.cursor),
            web.get("/v1/writers", handlers.writers),
            web.get("/v1/key-frames", handlers.key_frame),
            web.get("/v1/sources", handlers.sources),
            web.post("/v1/sources/{name}/{command}", handlers.source),
            web.get("/v1/uplinks", handlers.uplinks),
            web.post("/v1/uplinks/{name}/{command}", handlers.uplink),
            web.get("/v1/check", handlers.check),
            web.get("/metrics", handlers.metrics),
        ]
    )
    return application


async def _apart(step: Callable[[], Result]) -> Result:
    """Run what touches the disk beside the loop."""
    return await asyncio.get_running_loop().run_in_executor(None, step)


class _Handlers:
    def __init__(self, node: LocalNode) -> None:
        self._node = node
        self._checking = asyncio.Lock()

    async def status(self, request: web.Request) -> web.Response:
        return answer(to_json(await _apart(self._node.snapshot)))

    async def streams(self, request: web.Request) -> web.Response:
        return answer({"streams": to_json(await _apart(self._node.snapshot))["streams"]})

    async def stream(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return answer(to_json(await _apart(lambda: self._node.stream_snapshot(name))))

    async def writers(self, request: web.Request) -> web.Response:
        try:
            stream, writer = request.query["stream"], request.query["writer"]
        except KeyError as error:
            raise BadRequestError("writers: use ?stream=&writer=") from error
        if not self._node.store.has_stream(stream):
            return answer({"last": None})
        return answer({"last": await _apart(lambda: self._node.store.last_number(stream, writer))})

    async def key_frame(self, request: web.Request) -> web.Response:
        query = request.query
        if "stream" not in query or not query.get("before", "").isdigit():
            raise BadRequestError("key-frames: use ?stream=&before=, a time in ns since 1970")
        found = await _apart(lambda: self._node.store.key_frame_before(query["stream"], int(query["before"])))
        return answer({"position": None if found is None else str(found)})

    async def sources(self, request: web.Request) -> web.Response:
        return answer({"sources": to_json(await _apart(self._node.snapshot))["sources"]})

    async def uplinks(self, request: web.Request) -> web.Response:
        return answer({"uplinks": to_json(await _apart(self._node.snapshot))["uplinks"]})

    async def source(self, request: web.Request) -> web.Response:
        name, command = _command(request, ("pause", "resume", "restart"))
        self._node.command_source(name, command)
        return answer({"source": name, "command": command})

    async def uplink(self, request: web.Request) -> web.Response:
        name, command = _command(request, ("now", "pause", "resume"))
        self._node.command_uplink(name, command)
        return answer({"uplink": name, "command": command})

    async def check(self, request: web.Request) -> web.Response:
        async with self._checking:
            return answer(to_json(await _apart(self._node.check)))

    async def metrics(self, request: web.Request) -> web.Response:
        text = metrics_text(await _apart(self._node.snapshot))
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def _command(request: web.Request, known: tuple[str, ...]) -> tuple[str, str]:
    command = request.match_info["command"]
    if command not in known:
        raise BadRequestError(f'"{command}" is no command: use {", ".join(known)}')
    return request.match_info["name"], command
