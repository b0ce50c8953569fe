"""The kinds of upstream that the conformance suite runs against: each a line in KINDS."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from aiohttp import web

from edge.http.hub import HubLimits, hub_application
from storage.errors import StoreClosedError
from storage.trace import Trace, no_trace
from sync.contract import Upstream
from sync.fake import LoopbackUpstream
from sync.hub.client import Credentials, Deadlines, HubUpstream
from sync.hub.receiver import Receiver
from tests.sync.world import Hub, Kind

PATIENT = Deadlines(connect_s=10.0, piece_s=10.0, answer_s=10.0)
TOKENS = {f"pump-{number}": f"token-{number}" for number in range(7, 20)}


class HubServer:
    """A real aiohttp server on loopback with a thread for its loop and one that commits. `start` again after `stop`."""

    def __init__(
        self,
        tokens: Mapping[str, str] | None = None,
        limits: HubLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tokens = tokens
        self._limits = limits
        self._tls = tls
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    def start(self, receiver: Receiver, commit: Callable[[], object], trace: Trace = no_trace) -> None:
        """Serve `receiver`, on the same port as before. `commit` is one step of whoever owns commits."""
        ready = threading.Event()
        self._over = threading.Event()
        application = hub_application(receiver, self._tokens, trace, self._limits)
        self._threads = [
            threading.Thread(target=self._serve, args=(application, ready, self._over), daemon=True),
            threading.Thread(target=self._commit, args=(commit, self._over), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        assert ready.wait(10), "the hub did not start to listen"

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _serve(self, application: web.Application, ready: threading.Event, over: threading.Event) -> None:
        async def serve() -> None:
            runner = web.AppRunner(application, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self._tls).start()
            self.port = runner.addresses[0][1]
            ready.set()
            await asyncio.to_thread(over.wait)
            await runner.cleanup()

        asyncio.run(serve())

    @staticmethod
    def _commit(commit: Callable[[], object], over: threading.Event) -> None:
        """Until the power goes inside of a commit: then nobody answers any more, either."""
        while not over.is_set():
            try:
                commit()
            except StoreClosedError:
                over.set()


def loopback(hub: Hub, traces: Sequence[Trace]) -> Iterator[list[Upstream]]:
    """The receiver in this process."""
    upstreams = [LoopbackUpstream(hub.receiver, trace) for trace in traces]

    def serve_again() -> None:
        for upstream in upstreams:
            upstream.receiver = hub.receiver

    hub.changed.append(serve_again)
    yield list(upstreams)


def http(hub: Hub, traces: Sequence[Trace]) -> Iterator[list[Upstream]]:
    """The hub's real client and handlers, with tokens, over a real socket."""
    server = HubServer(TOKENS)

    def start() -> None:
        store = hub.store
        store.own_commits()
        server.start(hub.receiver, lambda: store.wait_for_work(0.05) and store.commit(), hub.trace)

    def serve_again() -> None:
        server.stop()
        start()

    start()
    hub.changed.append(serve_again)
    clients = [
        HubUpstream(server.url, credentials=Credentials(token=TOKENS[f"pump-{number}"]), deadlines=PATIENT, trace=trace)
        for number, trace in enumerate(traces, start=7)
    ]
    try:
        yield list(clients)
    finally:
        for client in clients:
            client.close()
        server.stop()


KINDS: dict[str, Kind] = {"loopback": loopback, "http": http}
