"""How a hub says no over HTTP, and what a gateway understands by it: one table for both sides."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sync.contract import BusyError, DivergedError, RefusedError, SyncError, UnreachableError


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status and the JSON object that goes with it; `retry_after_s` also becomes the header Retry-After."""

    status: int
    kind: str
    error: str
    remedy: str = ""
    retry_after_s: float | None = None

    def to_json(self) -> bytes:
        document: dict[str, object] = {"error": self.error, "remedy": self.remedy, "kind": self.kind}
        if self.retry_after_s is not None:
            document["retry_after_s"] = self.retry_after_s
        return json.dumps(document).encode()


def answer_to(error: SyncError) -> Answer:
    """The answer that carries `error` to the other side."""
    text = str(error)
    if isinstance(error, RefusedError):
        return Answer(409, "refused", text, error.remedy)
    if isinstance(error, DivergedError):
        return Answer(409, "diverged", text)
    if isinstance(error, BusyError):
        return Answer(503, "busy", text, retry_after_s=error.retry_after_s)
    return Answer(500, "failed", text)


def error_in(status: int, body: bytes, where: str) -> SyncError | None:
    """The error that an answer carries; None where it is none of ours."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not {"error", "remedy", "kind"} <= document.keys():
        return None
    text, remedy, kind = str(document["error"]), str(document["remedy"]), document["kind"]
    if kind in ("refused", "unauthorized"):
        return RefusedError(text, remedy)
    if kind == "diverged":
        return DivergedError(text)
    if kind == "busy":
        wish = document.get("retry_after_s")
        return BusyError(f"{where}: {text}", wish if isinstance(wish, int | float) and 0 <= wish < 1e6 else 0.0)
    return UnreachableError(f"{where} answered {status}: {text}")
