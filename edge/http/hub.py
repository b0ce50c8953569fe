"""The hub's listening side: `sync.hub`'s protocol as aiohttp handlers around a Receiver. Never blocks the loop."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from aiohttp import web

from storage.errors import StorageError
from storage.mirror.unit import Holdings
from storage.ticket import Ticket
from storage.trace import Trace, no_trace
from sync.contract import BusyError, SyncError
from sync.hub.answer import Answer, answer_to
from sync.hub.client import HELLO_PATH, NODE_HEADER, UNIT_PATH
from sync.hub.envelope import MAX_HELLO_BYTES, MAX_UNIT_BYTES, MEDIA_TYPE, WireError, WireVersionError
from sync.hub.receiver import Receiver, translate
from sync.hub.wire import decode_hello, decode_unit, encode_holdings


@dataclass(frozen=True, slots=True)
class HubLimits:
    """What a hub takes on at once, and how long it waits, in seconds.

    `units` in flight over all nodes, `units_per_node` of one (a link that broke off may leave one behind). A request
    that stands still for `piece_s` is given up; a unit that is not durable after `durable_s` is answered as busy.
    """

    units: int = 16
    units_per_node: int = 2
    piece_s: float = 30.0
    durable_s: float = 20.0
    busy_retry_s: float = 1.0


def hub_application(
    receiver: Receiver,
    tokens: Mapping[str, str] | None,
    trace: Trace = no_trace,
    limits: HubLimits | None = None,
) -> web.Application:
    """The application that serves nodes from `receiver`.

    `tokens`: the token of each node that may speak; None: whoever reaches the address may speak for any node.
    """
    handlers = _Handlers(receiver, tokens, trace, limits if limits is not None else HubLimits())
    application = web.Application(client_max_size=MAX_UNIT_BYTES)
    application.router.add_post(HELLO_PATH, handlers.hello)
    application.router.add_post(UNIT_PATH, handlers.unit)
    return application


class _Answered(Exception):
    """The request ends here, with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.error)
        self.answer = answer


class _Handlers:
    def __init__(self, receiver: Receiver, tokens: Mapping[str, str] | None, trace: Trace, limits: HubLimits) -> None:
        self._receiver = receiver
        self._tokens = tokens
        self._trace = trace
        self._limits = limits
        self._in_flight: dict[str, int] = {}
        self._applying: set[str] = set()

    async def hello(self, request: web.Request) -> web.StreamResponse:
        async def answered() -> Holdings:
            node = self._speaker(request)
            hello = decode_hello(await self._message(request, MAX_HELLO_BYTES))
            self._check_speaker(node, hello.node)
            return await asyncio.to_thread(self._receiver.admit, hello)

        return await self._respond(answered)

    async def unit(self, request: web.Request) -> web.StreamResponse:
        async def answered() -> Holdings:
            node = self._speaker(request)
            with self._admitted(node):
                message = await self._message(request, MAX_UNIT_BYTES)
                unit = await asyncio.to_thread(decode_unit, message)
                self._check_speaker(node, unit.node)
                with self._alone(node):
                    ticket = await asyncio.to_thread(self._receiver.apply, unit)
                    await self._durable(ticket)
                    return await asyncio.to_thread(self._receiver.applied, unit)

        response = await self._respond(answered)
        # A node that has hung up asks again: nothing is lost with the answer.
        with suppress(ConnectionError):
            await response.prepare(request)
            await response.write_eof()
            if response.status == 200:
                self._trace("hub.replied", {"node": request.headers.get(NODE_HEADER, "")})
        return response

    async def _respond(self, answered: Callable[[], Awaitable[Holdings]]) -> web.Response:
        try:
            holdings = await answered()
            message = await asyncio.to_thread(encode_holdings, holdings)
        except _Answered as refused:
            return _error_response(refused.answer)
        except WireVersionError as error:
            return _error_response(Answer(400, "refused", str(error), "Install the same release on both sides."))
        except WireError as error:
            return _error_response(Answer(400, "damaged", str(error)))
        except StorageError as error:
            return _error_response(answer_to(translate(error)))
        except SyncError as error:
            return _error_response(answer_to(error))
        return web.Response(body=message, content_type=MEDIA_TYPE)

    def _speaker(self, request: web.Request) -> str:
        """The node that the request speaks for. Its token is checked before anything of its body is read."""
        node = request.headers.get(NODE_HEADER, "")
        if self._tokens is None:
            return node
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        expected = self._tokens.get(node)
        # An unknown node costs the same comparison as a known one, so the answer's timing names no nodes.
        same = hmac.compare_digest(_bytes(given.strip()), _bytes(expected or "\0"))
        if scheme.lower() != "bearer" or expected is None or not same:
            raise _Answered(
                Answer(
                    401,
                    "unauthorized",
                    f"the hub does not take this token for node {node!r}",
                    "Put the node's token into the hub's tokens file, and the same into the gateway's token_file.",
                )
            )
        return node

    def _check_speaker(self, header: str, message: str) -> None:
        if header != message:
            raise _Answered(
                Answer(401, "unauthorized", f"the request speaks for node {header!r} and its message for {message!r}")
            )

    async def _message(self, request: web.Request, limit: int) -> bytes:
        if request.content_length is None:
            raise _Answered(Answer(411, "failed", "a message must announce its length in Content-Length"))
        content = bytearray()
        if request.content_length <= limit:
            while piece := await self._piece(request):
                content += piece
                if len(content) > limit:
                    break
        if max(len(content), request.content_length) > limit:
            raise _Answered(Answer(413, "failed", f"a message of {request.content_length} bytes: at most {limit}"))
        return bytes(content)

    async def _piece(self, request: web.Request) -> bytes:
        try:
            async with asyncio.timeout(self._limits.piece_s):
                return await request.content.readany()
        except TimeoutError as error:
            raise _Answered(
                Answer(408, "failed", f"nothing of the message arrived for {self._limits.piece_s} s")
            ) from error

    @contextmanager
    def _admitted(self, node: str) -> Iterator[None]:
        mine = self._in_flight.get(node, 0)
        if mine >= self._limits.units_per_node or sum(self._in_flight.values()) >= self._limits.units:
            whose = "this node" if mine >= self._limits.units_per_node else "other nodes"
            raise BusyError(f"the hub is still taking units of {whose}", self._limits.busy_retry_s)
        self._in_flight[node] = mine + 1
        try:
            yield
        finally:
            left = self._in_flight[node] - 1
            if left:
                self._in_flight[node] = left
            else:
                del self._in_flight[node]

    @contextmanager
    def _alone(self, node: str) -> Iterator[None]:
        if node in self._applying:
            raise BusyError("the hub is still applying an earlier unit of this node", self._limits.busy_retry_s)
        self._applying.add(node)
        try:
            yield
        finally:
            self._applying.discard(node)

    async def _durable(self, ticket: Ticket) -> None:
        """Wait for the thread that commits. Raises what refused the unit, BusyError where it takes too long."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def resolved(_: Ticket) -> None:
            # The loop may have been closed by a stop: nobody waits any more then.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(done.set)

        ticket.on_done(resolved)
        try:
            async with asyncio.timeout(self._limits.durable_s):
                await done.wait()
        except TimeoutError as error:
            raise BusyError(
                f"the unit is not durable after {self._limits.durable_s} s: the hub's disk is full or slow",
                self._limits.busy_retry_s,
            ) from error
        refused = ticket.error()
        if refused is not None:
            raise refused


def _bytes(header: str) -> bytes:
    return header.encode(errors="surrogateescape")


def _error_response(answer: Answer) -> web.Response:
    response = web.Response(status=answer.status, body=answer.to_json(), content_type="application/json")
    if answer.retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, round(answer.retry_after_s)))
    return response
