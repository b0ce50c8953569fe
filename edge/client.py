"""A program beside a running daemon: the store's reads, writes and transactions over the local socket.

    from edge import Client

    client = Client()
    client.write("plant/flow", [b"12.7"], key="pump-7")            # durable when it returns
    for event in client.read("plant/flow", start="15m", follow=True):
        print(event.position, event.payload)
    with client.transaction("plant/flow", "plant/alarms") as transaction:   # commits at the end, aborts on an error
        transaction.append(b"12.7", "pump-7", stream="plant/flow")
        transaction.append(b"high", "pump-7", stream="plant/alarms")

A request has its own connection, so threads may share a client.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode
from uuid import UUID

from edge.errors import DaemonUnreachableError, RequestRefusedError
from edge.events import append_line, parse_event
from edge.places import DEFAULT_SOCKET
from edge.snapshot import NodeSnapshot, SourceSnapshot, StreamSnapshot, UplinkSnapshot, from_json
from edge.transaction import LEASE_S, ClientTransaction, WriteAnswer, parse_write, state_of
from storage.event import Event
from storage.model import Gap, Position, TransactionState

PIECE_BYTES = 1 << 16
MAX_LINE_BYTES = 16 << 20
"""One line of an answer: an event of 8 MiB in base64 and what goes with it."""


@dataclass(frozen=True, slots=True)
class CheckAnswer:
    """What a consistency check found. `findings` are (severity, where, what)."""

    ok: bool
    findings: tuple[tuple[str, str, str], ...]
    blocks: int
    events: int
    commits: int


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float | None) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError as error:
            self.sock.close()
            raise DaemonUnreachableError(_unreachable(self._path, error)) from error


def _unreachable(path: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"{path}: permission denied. Members of the group edge may use it: sudo usermod -aG edge $USER"
    if isinstance(error, FileNotFoundError):
        return (
            f"{path}: no such socket. Is the daemon running (systemctl status edge)? "
            "Does it use another socket (edge --socket PATH, or --config FILE)?"
        )
    if isinstance(error, ConnectionRefusedError):
        return f"{path}: nobody answers. The daemon has stopped: systemctl status edge; journalctl -u edge"
    return f"{path}: {error.strerror or error}. Is the daemon running (systemctl status edge)?"


class Client:
    """The daemon at a local socket. Methods raise DaemonUnreachableError and RequestRefusedError."""

    def __init__(self, socket: str | Path = DEFAULT_SOCKET, *, timeout_s: float = 60.0) -> None:
        self.socket = Path(socket)
        self.timeout_s = timeout_s

    def status(self) -> NodeSnapshot:
        """Everything: store, sources, streams (without their gaps), uplinks."""
        return from_json(NodeSnapshot, self.get("/v1/status"))

    def streams(self) -> list[StreamSnapshot]:
        return [from_json(StreamSnapshot, raw) for raw in _list(self.get("/v1/streams"), "streams")]

    def stream(self, name: str) -> StreamSnapshot:
        """One stream with its gaps."""
        return from_json(StreamSnapshot, self.get(f"/v1/streams/{quote(name)}"))

    def sources(self) -> list[SourceSnapshot]:
        return [from_json(SourceSnapshot, raw) for raw in _list(self.get("/v1/sources"), "sources")]

    def uplinks(self) -> list[UplinkSnapshot]:
        return [from_json(UplinkSnapshot, raw) for raw in _list(self.get("/v1/uplinks"), "uplinks")]

    def command_source(self, name: str, command: str) -> None:
        """`pause`, `resume` or `restart` a source."""
        self.post(f"/v1/sources/{quote(name)}/{quote(command)}")

    def command_uplink(self, name: str, command: str) -> None:
        """`now`, `pause` or `resume` an uplink."""
        self.post(f"/v1/uplinks/{quote(name)}/{quote(command)}")

    def check(self) -> CheckAnswer:
        """Check the running store's consistency. It looks at every block, and takes as long as that takes."""
        with self._request("GET", "/v1/check", timeout_s=None) as answer:
            raw = _loads(answer.read())
        findings = [from_json(_Finding, item) for item in _list(raw, "findings")]
        counts = from_json(_CheckCounts, raw)
        triples = tuple((finding.severity, finding.where, finding.what) for finding in findings)
        return CheckAnswer(counts.ok, triples, counts.blocks, counts.events, counts.commits)

    def read(
        self,
        stream: str,
        start: str | Position = "head",
        *,
        stop: str | Position | None = None,
        limit: int | None = None,
        follow: bool = False,
        on_gap: Callable[[Gap], None] | None = None,
    ) -> Generator[Event, None, None]:
        """Events from `start` on. `follow` goes on as they become durable. `on_gap` hears of ranges that are gone."""
        query: dict[str, str] = {"stream": stream, "from": str(start)}
        if stop is not None:
            query["to"] = str(stop)
        if limit is not None:
            query["limit"] = str(limit)
        if follow:
            query["follow"] = "1"
        with self._request(
            "GET", f"/v1/read?{urlencode(query)}", timeout_s=None if follow else self.timeout_s
        ) as answer:
            for line in _lines(answer):
                raw = _loads(line)
                if "error" in raw:
                    raise RequestRefusedError(500, str(raw["error"]))
                item = parse_event(raw)
                if isinstance(item, Event):
                    yield item
                elif on_gap is not None:
                    on_gap(item)

    def tail(self, stream: str, *, on_gap: Callable[[Gap], None] | None = None) -> Generator[Event, None, None]:
        """Events as they become durable, from now on."""
        return self.read(stream, "tail", follow=True, on_gap=on_gap)

    def last_number(self, stream: str, writer: str) -> int | None:
        """The newest durable event number of a writer; None where the stream does not know it."""
        number = self.get(f"/v1/writers?{urlencode({'stream': stream, 'writer': writer})}").get("last")
        return number if isinstance(number, int) else None

    def key_frame_before(self, stream: str, time_ns: int) -> Position | None:
        """Where the last key frame captured at or before `time_ns` (since 1970) stands; None where there is none."""
        query = urlencode({"stream": stream, "before": time_ns})
        found = self.get(f"/v1/key-frames?{query}").get("position")
        return Position.parse(found) if isinstance(found, str) else None

    def write(
        self,
        stream: str,
        payloads: Sequence[bytes],
        *,
        key: str = "",
        writer: str | None = None,
        number: int | None = None,
        content_type: str = "",
    ) -> WriteAnswer:
        """Store events, contiguous, all or none; durable when this returns. The stream is made where it is missing.

        With `writer` and the first event's `number` a repetition is harmless: what is stored already is counted as a
        duplicate. RequestRefusedError 409 is a gap in the numbers, 413 too large, 503 busy, 507 disk full.
        """
        line = append_line(stream, payloads, key=key, writer=writer, number=number, content_type=content_type)
        return parse_write(self.post("/v1/write", json.dumps(line).encode()))

    def transaction(self, *streams: str, lease_s: float = LEASE_S) -> ClientTransaction:
        """A transaction, to be used as a context: commits at the end of it, aborts on an error.

        Raises as `begin_transaction`.
        """
        return self.begin_transaction(streams, lease_s=lease_s)

    def begin_transaction(
        self, streams: Sequence[str], *, lease_s: float = LEASE_S, transaction: UUID | None = None
    ) -> ClientTransaction:
        """Begin a transaction, durable when this returns. It is aborted where nobody appends or pings for `lease_s`.

        Under an id of the caller's a repetition is harmless. Streams are made where they are missing.
        RequestRefusedError 409: they can't be in one transaction, and why.
        """
        return ClientTransaction.begin(self, streams, lease_s, transaction)

    def resume_transaction(self, transaction: UUID) -> ClientTransaction:
        """A transaction that was begun before, by whomever, also before the daemon was started anew.

        RequestRefusedError 404: it is not known, or ended long ago.
        """
        return ClientTransaction.resume(self, transaction)

    def transaction_state(self, transaction: UUID) -> TransactionState | None:
        """Where a transaction stands, None where it is not known (any more)."""
        return state_of(self, transaction)

    def cursor(self, name: str) -> bytes | None:
        """What a program's last committed transaction kept under that name, None where none did."""
        raw = self.get(f"/v1/cursors/{quote(name)}").get("value_base64")
        return base64.b64decode(raw) if isinstance(raw, str) else None

    def get(self, path: str) -> dict[str, object]:
        """The JSON object at `path` of the API."""
        with self._request("GET", path, timeout_s=self.timeout_s) as answer:
            return _loads(answer.read())

    def post(self, path: str, body: bytes = b"") -> dict[str, object]:
        """What `path` answers to `body`."""
        with self._request("POST", path, body, timeout_s=self.timeout_s) as answer:
            return _loads(answer.read())

    @contextmanager
    def _request(
        self, method: str, path: str, body: bytes = b"", *, timeout_s: float | None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = _UnixConnection(self.socket, timeout_s)
        try:
            connection.request(method, path, body or None)
            answer = connection.getresponse()
            if answer.status >= 400:
                raise RequestRefusedError(answer.status, _refusal(answer))
            yield answer
        except TimeoutError as error:
            raise DaemonUnreachableError(
                f"{self.socket}: no answer within {self.timeout_s:g} s. Is the daemon overloaded (edge status)?"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise DaemonUnreachableError(
                f"{self.socket}: the daemon went away during the request ({error}). See: journalctl -u edge"
            ) from error
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class _Finding:
    severity: str
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class _CheckCounts:
    ok: bool
    blocks: int = 0
    events: int = 0
    commits: int = 0


def _lines(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The lines of an answer as they arrive. Raises HTTPException where it breaks off: its end has a mark of its own,
    which `readline` does not look for.
    """
    rest = b""
    while piece := answer.read1(PIECE_BYTES):
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            raise http.client.HTTPException(f"a line of more than {MAX_LINE_BYTES} bytes")
        yield from lines


def _refusal(answer: http.client.HTTPResponse) -> str:
    raw = answer.read()
    try:
        return str(_loads(raw)["error"])
    except (ValueError, KeyError):
        return f"the daemon answered {answer.status} {answer.reason}: {raw[:200].decode(errors='replace')}"


def _loads(raw: bytes) -> dict[str, object]:
    loaded = json.loads(raw)
    if not isinstance(loaded, dict):
        raise ValueError(f"an object was expected, not {raw[:60]!r}")
    return loaded


def _list(raw: dict[str, object], name: str) -> list[object]:
    found = raw.get(name)
    if not isinstance(found, list):
        raise ValueError(f"{name}: a list was expected, not {found!r}")
    return found
