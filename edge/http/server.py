"""The thread that serves: one asyncio loop for the local socket and the hub."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from edge.errors import ListenError

SOCKET_MODE = 0o660
BACKLOG = 128
EXECUTOR_THREADS = 32
RETRY_S = 2.0
SHUTDOWN_S = 2.0
MAX_SOCKET_PATH_BYTES = 107
"""unix(7): sun_path has 108 bytes, the last one is zero."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UnixSite:
    """An application at a Unix socket."""

    application: web.Application
    path: Path


@dataclass(frozen=True, slots=True)
class TcpSite:
    """An application at an address. `certificate` and `key` (PEM) make it TLS."""

    application: web.Application
    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None


class Server:
    """Serves a Unix socket at once, and a TCP address as soon as it can be listened at.

    An address that is not there yet (no network), or taken, is tried again every two seconds: capture must not wait for
    it. `waiting` says why it can't be listened at now.
    """

    def __init__(self, local: UnixSite, hub: TcpSite | None = None) -> None:
        self._local = local
        self._hub = hub
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._started = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self.waiting: str | None = None
        self.hub_port: int | None = None

    def start(self) -> None:
        """Returns when the local socket can be used. Raises ListenError."""
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise self._error

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self, timeout_s: float = 2 * SHUTDOWN_S + 1) -> None:
        """End what is under way, remove the socket."""
        if self._loop is not None and self._stopping is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001  (the thread's end: `start` raises it, or the supervisor sees it)
            self._error = error
            if self._started.is_set():
                _log.exception("the local API stopped")
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._loop.set_default_executor(ThreadPoolExecutor(EXECUTOR_THREADS, thread_name_prefix="http"))
        listener = listen_at(self._local.path)
        runners = [
            web.AppRunner(
                self._local.application, handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_S
            )
        ]
        try:
            await runners[0].setup()
            await web.SockSite(runners[0], listener, backlog=BACKLOG).start()
            self._started.set()
            if self._hub is not None:
                runners.append(web.AppRunner(self._hub.application, access_log=None, shutdown_timeout=SHUTDOWN_S))
                await runners[1].setup()
                await self._listen_for_nodes(runners[1], self._hub)
            await self._stopping.wait()
        finally:
            self._local.path.unlink(missing_ok=True)
            for runner in runners:
                await runner.cleanup()

    async def _listen_for_nodes(self, runner: web.AppRunner, hub: TcpSite) -> None:
        assert self._stopping is not None
        while not self._stopping.is_set():
            try:
                site = web.TCPSite(
                    runner,
                    hub.host,
                    hub.port,
                    ssl_context=_tls(hub.certificate, hub.key),
                    backlog=BACKLOG,
                    shutdown_timeout=SHUTDOWN_S,
                )
                await site.start()
            except (OSError, ssl.SSLError) as error:
                self._say_waiting(f"the hub can't listen at {hub.host}:{hub.port} yet: {error}")
                await _wait(self._stopping, RETRY_S)
                continue
            self.waiting = None
            self.hub_port = runner.addresses[0][1]
            _log.info("hub listens at %s:%s%s", hub.host, self.hub_port, " (TLS)" if hub.certificate else "")
            return

    def _say_waiting(self, text: str) -> None:
        if text != self.waiting:
            _log.warning("%s; trying again every %g s", text, RETRY_S)
        self.waiting = text


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


def listen_at(path: Path) -> socket.socket:
    """A listening Unix socket at `path`, mode 0660. One that nobody listens at any more is removed.

    Raises ListenError.
    """
    if len(str(path).encode()) > MAX_SOCKET_PATH_BYTES:
        raise ListenError(
            f"{path}: a socket's path has at most {MAX_SOCKET_PATH_BYTES} bytes: set another [node] socket"
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        listener.bind(str(path))
        path.chmod(SOCKET_MODE)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(
            f"{path}: can't listen there: {error.strerror or error}. Set another [node] socket, or make its directory "
            "writable for this user (the systemd unit makes /run/edge)"
        ) from error
    except ListenError:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise ListenError(f"{path}: another edge is listening there: stop it, or give this one another [node] socket")


def check_certificate(certificate: Path | None, key: Path | None) -> None:
    """Raises ListenError where they can't be used."""
    try:
        _tls(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ListenError(f"{certificate} and {key} can't be used as certificate and key: {error}") from error
