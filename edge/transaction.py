"""A transaction of a program beside a running daemon, with the words of the store's own (`storage.transactions`)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self
from uuid import UUID, uuid4

from edge.errors import EdgeError, RequestRefusedError
from edge.events import append_line
from edge.snapshot import from_json
from storage.model import Position, TransactionState

LEASE_S = 30.0
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class WriteAnswer:
    """What was made durable. `position` is where the first stored event stands, None where all were stored before, or
    where that is not known before a commit."""

    commit: int
    position: Position | None
    stored: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class _WriteJson:
    commit: int
    positions: tuple[str | None, ...]
    stored: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class _TransactionJson:
    id: str
    state: str
    streams: tuple[str, ...] = ()


def parse_write(raw: object) -> WriteAnswer:
    """The answer to a write, or to a commit. Raises ValueError."""
    receipt = from_json(_WriteJson, raw)
    place = receipt.positions[0] if receipt.positions else None
    return WriteAnswer(receipt.commit, Position.parse(place) if place else None, receipt.stored, receipt.duplicates)


class Api(Protocol):
    """What a transaction needs of its client. Both raise DaemonUnreachableError, RequestRefusedError."""

    def get(self, path: str) -> dict[str, object]: ...

    def post(self, path: str, body: bytes = b"") -> dict[str, object]: ...


def state_of(api: Api, transaction: UUID) -> TransactionState | None:
    """Where a transaction stands, None where it is not known (any more)."""
    try:
        return TransactionState[from_json(_TransactionJson, api.get(f"/v1/transactions/{transaction}")).state]
    except RequestRefusedError as error:
        if error.status == _NOT_FOUND:
            return None
        raise


class ClientTransaction:
    """Appends that become readable together. As a context it commits at the end, and aborts on an error.

    All methods raise DaemonUnreachableError (ask again: nothing is done twice but an append without a number) and
    RequestRefusedError: 404 it is not known, 409 it has ended, or what stands against its commit.
    """

    def __init__(self, api: Api, transaction: UUID, streams: Sequence[str]) -> None:
        self._api = api
        self.id = transaction
        self.streams = tuple(streams)
        self._ended = False

    @staticmethod
    def begin(api: Api, streams: Sequence[str], lease_s: float, transaction: UUID | None) -> ClientTransaction:
        """As `Client.begin_transaction`."""
        chosen = transaction or uuid4()
        body = {"id": str(chosen), "streams": list(streams), "lease_s": lease_s}
        begun = from_json(_TransactionJson, api.post("/v1/transactions", json.dumps(body).encode()))
        return ClientTransaction(api, chosen, begun.streams)

    @staticmethod
    def resume(api: Api, transaction: UUID) -> ClientTransaction:
        """As `Client.resume_transaction`."""
        known = from_json(_TransactionJson, api.get(f"/v1/transactions/{transaction}"))
        return ClientTransaction(api, transaction, known.streams)

    def append(
        self, payload: bytes, routing_key: str = "", *, stream: str | None = None, content_type: str = "",
        writer: str | None = None, number: int | None = None,
    ) -> WriteAnswer:  # fmt: skip
        """Append one event; `stream` may be left out where the transaction is of one. As `append_many`."""
        return self.append_many(
            [payload], routing_key, stream=stream, content_type=content_type, writer=writer, number=number
        )

    def append_many(
        self, payloads: Sequence[bytes], routing_key: str = "", *, stream: str | None = None, content_type: str = "",
        writer: str | None = None, number: int | None = None,
    ) -> WriteAnswer:  # fmt: skip
        """Append events, all or none; durable when this returns, and not readable before the commit.

        Begins the lease anew. With `writer` and the first event's `number` a repetition is harmless.
        """
        if stream is None:
            if len(self.streams) != 1:
                raise EdgeError(f"this transaction is of {len(self.streams)} streams: say which, with stream=")
            stream = self.streams[0]
        line = append_line(stream, payloads, key=routing_key, writer=writer, number=number, content_type=content_type)
        return parse_write(self._post("append", json.dumps(line).encode()))

    def commit(self, cursors: Mapping[str, bytes] | None = None) -> WriteAnswer:
        """Make all of it readable, with `cursors` (`Client.cursor` reads them), durable when this returns.

        A second time it does nothing. Refused, it is still open, and to be aborted.
        """
        kept = {name: base64.b64encode(value).decode() for name, value in (cursors or {}).items()}
        answer = parse_write(self._post("commit", json.dumps({"cursors_base64": kept}).encode() if kept else b""))
        self._ended = True
        return answer

    def abort(self) -> None:
        """Give up what is in it. A second time: nothing. RequestRefusedError 409 where it was committed."""
        self._ended = True
        self._post("abort")

    def ping(self) -> None:
        """Begin its lease anew."""
        self._post("ping")

    @property
    def state(self) -> TransactionState | None:
        """Where it stands; None where it ended so long ago that it was forgotten."""
        return state_of(self._api, self.id)

    def _post(self, what: str, body: bytes = b"") -> dict[str, object]:
        return self._api.post(f"/v1/transactions/{self.id}/{what}", body)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._ended:
            return
        if kind is None:
            try:
                self.commit()
                return
            except RequestRefusedError:
                self._give_up()
                raise
        self._give_up()

    def _give_up(self) -> None:
        """Abort, as far as that can be said now: what is left open ends with its lease."""
        with suppress(EdgeError):
            self.abort()
