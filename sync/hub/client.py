"""The hub as an upstream: HTTP or HTTPS with the standard library, on one connection that is kept and reopened."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from storage.mirror.unit import Holdings, Unit
from storage.trace import Trace, no_trace
from sync.contract import BusyError, Hello, RefusedError, SyncError, UnreachableError
from sync.hub.answer import error_in
from sync.hub.envelope import MAX_HOLDINGS_BYTES, MEDIA_TYPE, WireError, WireVersionError
from sync.hub.timed import TimedResponse
from sync.hub.wire import decode_holdings, encode_hello, encode_unit

CHUNK_BYTES = 64 << 10
HELLO_PATH = "/v1/mirror/hello"
UNIT_PATH = "/v1/mirror/unit"
NODE_HEADER = "X-Edge-Node"

_STALE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ConnectionAbortedError)


@dataclass(frozen=True, slots=True)
class Deadlines:
    """In seconds: to connect (TLS included), to get rid of each 64 KiB of a request, and for a whole answer.

    Sending is timed by the piece, so a slow link that moves is left alone and one that does not is given up.
    """

    connect_s: float = 10.0
    piece_s: float = 30.0
    answer_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """How the two sides know each other. All optional; files are read again at every connection.

    `ca_file`: PEM of the authorities to trust, in place of the system's. `certificate` and `key`: PEM of our own.
    """

    token: str | None = None
    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class HubUpstream:
    """Brings units to the hub at `url` (`http://…` or `https://…`). See `sync.hub` for the protocol.

    Raises ValueError for a URL that is none.
    """

    def __init__(
        self,
        url: str,
        *,
        credentials: Credentials | None = None,
        deadlines: Deadlines | None = None,
        trace: Trace = no_trace,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{url!r} is no address of a hub: one looks like https://hub.example:7443")
        if parts.username is not None:
            raise ValueError(f"the address of hub {parts.hostname!r} holds a user name: use a token or a certificate")
        self._tls = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port if parts.port is not None else (443 if self._tls else 80)
        self._prefix = parts.path.rstrip("/")
        self._credentials = credentials if credentials is not None else Credentials()
        self._deadlines = deadlines if deadlines is not None else Deadlines()
        self._trace = trace
        self._monotonic = monotonic
        self._connection: http.client.HTTPConnection | None = None
        self.where = f"hub {parts.scheme}://{parts.netloc}{self._prefix}"
        self.guarantee = "exactly once, transactional"

    def handshake(self, hello: Hello) -> Holdings:
        return self._ask(HELLO_PATH, hello.node, encode_hello(hello), None)

    def put(self, unit: Unit) -> Holdings:
        try:
            message = encode_unit(unit)
        except WireError as error:
            raise RefusedError(f"{self.where} can't be sent the next unit: {error}") from error
        details: dict[str, object] = {"where": self.where, "events": unit.events, "bytes": len(message)}
        return self._ask(UNIT_PATH, unit.node, message, lambda: self._trace("uplink.sent", details))

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _ask(self, path: str, node: str, message: bytes, sent: Callable[[], None] | None) -> Holdings:
        reused = self._connection is not None
        try:
            response, body = self._exchange(path, node, message, sent)
        except _STALE as error:
            self.close()
            if not reused:
                raise self._unreachable(error) from error
            # The hub closed a connection that had been idle. Every request may safely be made twice.
            response, body = self._again(path, node, message, sent)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._unreachable(error) from error
        return self._understand(response, body)

    def _again(
        self, path: str, node: str, message: bytes, sent: Callable[[], None] | None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        try:
            return self._exchange(path, node, message, sent)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._unreachable(error) from error

    def _exchange(
        self, path: str, node: str, message: bytes, sent: Callable[[], None] | None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = self._connected()
        headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(message)), NODE_HEADER: node}
        if self._credentials.token is not None:
            headers["Authorization"] = f"Bearer {self._credentials.token}"
        refused: OSError | None = None
        try:
            connection.request("POST", self._prefix + path, body=_pieces(message), headers=headers)
        except (BrokenPipeError, ConnectionResetError) as error:
            # Whoever stops reading in the middle of a request may have said why.
            refused = error
        if sent is not None:
            sent()
        try:
            response = connection.getresponse()
        except _STALE as error:
            raise refused or error from None
        body = response.read(MAX_HOLDINGS_BYTES + 1)
        if len(body) > MAX_HOLDINGS_BYTES:
            raise http.client.HTTPException(f"an answer of more than {MAX_HOLDINGS_BYTES} bytes")
        if response.length:
            raise http.client.IncompleteRead(body, response.length)
        if response.will_close:
            self.close()
        return response, body

    def _connected(self) -> http.client.HTTPConnection:
        connection = self._connection
        if connection is None:
            connection = self._new_connection()
            connection.connect()
            self._connection = connection
        link: socket.socket = connection.sock
        link.settimeout(self._deadlines.piece_s)
        return connection

    def _new_connection(self) -> http.client.HTTPConnection:
        timeout_s = self._deadlines.connect_s
        if self._tls:
            context = self._tls_context()
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout_s, context=context
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        connection.response_class = TimedResponse.within(self._deadlines.answer_s, self._monotonic)
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        files = self._credentials
        try:
            context = ssl.create_default_context(cafile=files.ca_file)
            if files.certificate is not None:
                context.load_cert_chain(files.certificate, files.key)
        except OSError as error:
            named = ", ".join(str(path) for path in (files.ca_file, files.certificate, files.key) if path is not None)
            raise RefusedError(
                f"{self.where}: can't use the certificate files {named}: {error}",
                "Check that the files exist, are PEM, belong together and can be read by the service's user.",
            ) from error
        return context

    def _understand(self, response: http.client.HTTPResponse, body: bytes) -> Holdings:
        media_type = response.headers.get_content_type()
        if response.status == 200 and media_type == MEDIA_TYPE:
            try:
                return decode_holdings(body)
            except WireVersionError as error:
                raise RefusedError(f"{self.where}: {error}", "Install the same release on both sides.") from error
            except WireError as error:
                raise UnreachableError(f"{self.where}: {error}") from error
        if media_type == "application/json":
            ours = error_in(response.status, body, self.where)
            if ours is not None:
                raise ours
        raise self._stranger(response, media_type)

    def _stranger(self, response: http.client.HTTPResponse, media_type: str) -> SyncError:
        """Somebody answered who is no hub: a captive portal, a proxy, another program on that port."""
        said = f"HTTP {response.status} with {media_type}"
        location = response.headers.get("Location")
        if location is not None:
            said = f"HTTP {response.status} to {location[:200]}"
        if response.status in (429, 503) and (response.headers.get("Retry-After") or "").isdigit():
            return BusyError(f"{self.where}: {said}", float(response.headers["Retry-After"]))
        self.close()
        return UnreachableError(
            f"{self.where} did not answer as a hub does: {said}. A login page of the network, a proxy or another "
            "program stands there: check the address, and from this machine open it in a browser or with curl"
        )

    def _unreachable(self, error: Exception) -> UnreachableError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return UnreachableError(
                f"{self.where}: its certificate is not accepted: {error.verify_message}. Check ca_file, the name in "
                "the address, and the date of this machine"
            )
        if isinstance(error, TimeoutError):
            return UnreachableError(f"{self.where}: silent for longer than allowed; the link may be half open")
        if isinstance(error, socket.gaierror):
            return UnreachableError(f"{self.where}: the name {self._host!r} is not known here: {error.strerror}")
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        return UnreachableError(f"{self.where}: {text}")


def _pieces(message: bytes) -> Iterator[memoryview]:
    view = memoryview(message)
    for start in range(0, len(view), CHUNK_BYTES):
        yield view[start : start + CHUNK_BYTES]
