"""/v1/transactions: begin, append, ping, commit, abort, and the state by id. Everything is answered once it is durable."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, TypeVar
from uuid import UUID, uuid4

from aiohttp import web

from edge.errors import TransactionRefusedError
from edge.http.answers import BadRequestError, answer
from edge.http.durable import durable, receipt_json
from edge.http.seam import LocalNode
from edge.http.write import make_streams, parse_appends
from storage.errors import StorageError, UnknownTransactionError
from storage.model import Receipt, check_stream_name
from storage.ticket import Ticket
from storage.transactions.access import LEASE_S

CURSORS = "program/"
"""Before the names of what programs keep with their commits: sources and uplinks have cursors of their own."""
MAX_CURSORS = 1_000
MAX_CURSOR_BYTES = 64 << 10
_QUEUED = "It stays queued: ask for the transaction's state, or send it again"

Result = TypeVar("Result")


class _Begin(NamedTuple):
    id: UUID
    streams: list[str]
    lease_s: float


class TransactionHandler:
    """Answers for transactions. A stream that is missing is made, kept as the node says."""

    def __init__(self, node: LocalNode, turn: asyncio.Semaphore) -> None:
        """`turn` is taken for what is appended: it bounds how much waits in memory, with the writes."""
        self._node = node
        self._store = node.store
        self._turn = turn

    async def begin(self, request: web.Request) -> web.Response:
        wanted = _parse_begin(await request.read())
        await self._durable(await _apart(lambda: self._begin(wanted)))
        return self._answer(wanted.id)

    async def state(self, request: web.Request) -> web.Response:
        return self._answer(_id(request))

    async def append(self, request: web.Request) -> web.Response:
        transaction = _id(request)
        async with self._turn:
            body = await request.read()
            receipt = await self._durable(await _apart(lambda: self._append(transaction, body)))
        return answer(receipt_json(receipt))

    async def ping(self, request: web.Request) -> web.Response:
        transaction = _id(request)
        self._store.ping_transaction(transaction)
        return self._answer(transaction)

    async def commit(self, request: web.Request) -> web.Response:
        transaction = _id(request)
        cursors = _parse_cursors(await request.read())
        receipt = await self._durable(await _apart(lambda: self._commit(transaction, cursors)))
        return answer({"id": str(transaction), "state": "COMMITTED"} | receipt_json(receipt))

    async def abort(self, request: web.Request) -> web.Response:
        transaction = _id(request)
        await self._durable(await _apart(lambda: self._store.abort_transaction(transaction)))
        return answer({"id": str(transaction), "state": "ABORTED"})

    async def cursor(self, request: web.Request) -> web.Response:
        value = self._store.cursor(CURSORS + request.match_info["name"])
        return answer({"value_base64": None if value is None else base64.b64encode(value).decode()})

    # what touches the store, beside the loop

    def _begin(self, wanted: _Begin) -> Ticket:
        with _in_words():
            self._node.check_transaction(wanted.streams)
            make_streams(self._store, wanted.streams, self._node.stream_config)
            return self._store.transactions.begin(wanted.id, wanted.streams, wanted.lease_s)

    def _append(self, transaction: UUID, body: bytes) -> Ticket:
        streams = self._store.transactions.streams(transaction)
        appends = parse_appends(body, streams[0] if len(streams) == 1 else None)
        with _in_words():
            return self._store.submit_to_transaction(transaction, appends)

    def _commit(self, transaction: UUID, cursors: Mapping[str, bytes]) -> Ticket:
        if cursors:
            known = {name for name in self._store.cursors() if name.startswith(CURSORS)}
            if len(known | cursors.keys()) > MAX_CURSORS:
                raise TransactionRefusedError(
                    f"programs keep {len(known)} cursors here: at most {MAX_CURSORS}; use a name that is there again"
                )
        with _in_words():
            return self._store.commit_transaction(transaction, cursors)

    async def _durable(self, ticket: Ticket) -> Receipt:
        with _in_words():
            return await durable(self._store, ticket, _QUEUED)

    def _answer(self, transaction: UUID) -> web.Response:
        state = self._store.transaction_state(transaction)
        if state is None:
            raise UnknownTransactionError(f"there is no transaction {transaction}, or it ended long ago: begin one")
        streams = list(self._store.transactions.streams(transaction))
        return answer({"id": str(transaction), "state": state.name, "streams": streams})


async def _apart(step: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(None, step)


@contextmanager
def _in_words() -> Iterator[None]:
    """What the store has no kind of error for is a refusal, and not a failure of the daemon."""
    try:
        yield
    except StorageError as error:
        if type(error) is StorageError:
            raise TransactionRefusedError(str(error)) from error
        raise


def _id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["id"])
    except ValueError as error:
        raise BadRequestError(f'"{request.match_info["id"]}" is no transaction: ids are UUIDs') from error


def _object(body: bytes, what: str, known: set[str]) -> dict[str, object]:
    """The object of a request, empty for an empty one. Raises BadRequestError."""
    try:
        raw = json.loads(body) if body.strip() else {}
    except ValueError as error:
        raise BadRequestError(f"{what}: {error}") from error
    if not isinstance(raw, dict) or set(raw) - known:
        raise BadRequestError(f"{what}: an object with {', '.join(sorted(known))} was expected")
    return raw


def _parse_begin(body: bytes) -> _Begin:
    raw = _object(body, "begin", {"id", "streams", "lease_s"})
    streams, lease_s, given = raw.get("streams"), raw.get("lease_s", LEASE_S), raw.get("id")
    if not isinstance(streams, list) or not streams or not all(isinstance(name, str) for name in streams):
        raise BadRequestError('begin: streams: a list of names was expected, such as {"streams": ["plant/flow"]}')
    if not isinstance(lease_s, int | float) or isinstance(lease_s, bool):
        raise BadRequestError(f"begin: lease_s: a number of seconds was expected, found {lease_s!r}")
    try:
        chosen = uuid4() if given is None else UUID(str(given))
    except ValueError as error:
        raise BadRequestError(f"begin: id: {given!r} is no UUID") from error
    return _Begin(chosen, [check_stream_name(name) for name in dict.fromkeys(streams)], float(lease_s))


def _parse_cursors(body: bytes) -> dict[str, bytes]:
    cursors = _object(body, "commit", {"cursors_base64"}).get("cursors_base64", {})
    if not isinstance(cursors, dict) or not all(isinstance(value, str) for value in cursors.values()):
        raise BadRequestError("commit: cursors_base64: an object of texts was expected")
    found = {}
    for name, value in cursors.items():
        check_stream_name(name)
        try:
            found[CURSORS + name] = base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise BadRequestError(f"commit: cursors_base64: {name}: {error}") from error
        if len(found[CURSORS + name]) > MAX_CURSOR_BYTES:
            raise BadRequestError(f"commit: cursors_base64: {name}: at most {MAX_CURSOR_BYTES} bytes")
    return found
