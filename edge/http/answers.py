"""Errors as answers: which status, and the text for a person."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from edge.errors import EdgeError, TransactionRefusedError, UnknownNameError
from storage.errors import (
    ConditionFailedError,
    InvalidNameError,
    StorageError,
    StoreBusyError,
    StoreClosedError,
    StoreFailedError,
    StoreFullError,
    StreamSealedError,
    TooLargeError,
    TransactionEndedError,
    UnknownStreamError,
    UnknownTransactionError,
    WriterNumberGapError,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger(__name__)

_STATUS: dict[type[Exception], int] = {
    ConditionFailedError: 409,
    InvalidNameError: 400,
    StoreBusyError: 503,
    StoreClosedError: 503,
    StoreFailedError: 503,
    StoreFullError: 507,
    StreamSealedError: 409,
    TooLargeError: 413,
    TransactionEndedError: 409,
    TransactionRefusedError: 409,
    UnknownNameError: 404,
    UnknownStreamError: 404,
    UnknownTransactionError: 404,
    WriterNumberGapError: 409,
}

compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class BadRequestError(EdgeError):
    """A request that is not understood."""


def status_of(error: Exception) -> int:
    """The HTTP status that says the same as `error`."""
    if isinstance(error, BadRequestError):
        return 400
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)


def answer(value: object, status: int = 200) -> web.Response:
    """`value` as JSON."""
    return web.json_response(value, status=status, dumps=compact)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what a handler raises in the same form everywhere."""
    try:
        return await handler(request)
    except web.HTTPRequestEntityTooLarge as error:
        return answer({"error": f"{error.text}: send it in smaller pieces"}, 413)
    except web.HTTPException as error:
        return answer(
            {"error": f"{request.method} {request.path}: {error.reason}; see edge.http for what there is"}, error.status
        )
    except (StorageError, EdgeError) as error:
        status = status_of(error)
        if status == 500:
            _log.error("%s %s failed: %s", request.method, request.path, error)
        return answer({"error": str(error)}, status)
