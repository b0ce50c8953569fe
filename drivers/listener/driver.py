"""The listener as a driver: who is let in, what becomes an event, and who is answered when it is on disk."""

from __future__ import annotations

import logging
import resource
from collections import deque
from collections.abc import Mapping
from typing import ClassVar

from drivers.addresses import host_and_port
from drivers.contract import (
    MAX_DELIVERY_BYTES,
    MAX_DELIVERY_EVENTS,
    Delivery,
    DeviceLostError,
    DriverError,
    Shape,
    SourceSettings,
    new_counters,
)
from drivers.listener.config import ListenerConfig, check, tls_context
from drivers.listener.labels import Labels
from drivers.listener.packets import V5, Reason
from drivers.listener.peer import Peer
from drivers.listener.protocol import Connection, Limits, size_bytes
from drivers.listener.run import Release, Run
from drivers.listener.sockets import Sockets, listening_socket
from drivers.template import Router
from drivers.waking import Waker
from storage.clock import Clock
from storage.model import Append, Frame

MAX_WAITING_BYTES = 32 << 20
"""Of all clients' messages that are not durable yet. Above it nobody is read, until half of it is durable."""
SPARE_DESCRIPTORS = 512
"""Open files that the rest of this process may need."""

_log = logging.getLogger(__name__)

Items = list[Run | Release]


class _Answers:
    """Who is to be answered for what, once a delivery is on disk."""

    __slots__ = ("items", "size_bytes")

    def __init__(self) -> None:
        self.items: list[tuple[Peer, Items]] = []
        self.size_bytes = 0


class ListenerDriver:
    """Takes publishers in. See the package docstring."""

    Config = ListenerConfig
    shape: ClassVar[Shape] = Shape.ACKNOWLEDGED
    pushback: ClassVar[str] = (
        "acknowledges nothing and stops reading, client by client; publishers keep what has no answer"
    )
    waits_in_poll: ClassVar[bool] = True

    def __init__(self, config: ListenerConfig, settings: SourceSettings, clock: Clock) -> None:
        check(config, settings.name)
        self._config = config
        self._settings = settings
        self._clock = clock
        router = Router(settings.stream, settings.key or settings.name, settings.name)
        self._labels = Labels(router.route, settings.content_type)
        self._limits = Limits(config.max_packet_bytes, config.max_inflight, int(config.max_keepalive))
        self._waker = Waker()
        self._sockets: Sockets | None = None
        self._clients: dict[str, Peer] = {}
        self._received: deque[tuple[Peer, Items, int]] = deque()
        self._under_way: deque[_Answers] = deque()
        self._to_write: dict[Peer, None] = {}
        self._waiting_bytes = 0
        self._named = 0
        self._counters = new_counters() | dict.fromkeys(("malformed", "not_let_in", "taken_over"), 0)

    @property
    def counters(self) -> Mapping[str, int]:
        return self._counters if self._sockets is None else self._counters | self._sockets.counters

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, the port that was chosen where the configuration says 0."""
        return self._address

    # The contract

    def open(self, state: bytes | None) -> None:
        config, name = self._config, self._settings.name
        _allow_descriptors(config.max_connections, name)
        tls = tls_context(config, name)
        host, port = host_and_port(config.listen)
        try:
            listening = listening_socket(host, port)
        except OSError as error:
            raise DeviceLostError(
                f"source {name}: can't listen at {config.listen} ({error.strerror or error}): is another program there, "
                "a broker perhaps? Choose another port, or stop it"
            ) from error
        address = listening.getsockname()
        self._address = (str(address[0]), int(address[1]))
        self._sockets = Sockets(
            listening,
            tls,
            lambda: Connection(self._limits, self._labels),
            self._waker,
            self._now_s,
            max_connections=config.max_connections,
            source=name,
        )

    def poll(self, timeout_s: float) -> Delivery | None:
        self._turn(0.0 if self._received else timeout_s)
        return self._delivery() if self._received else None

    def tend(self, timeout_s: float) -> None:
        self._turn(timeout_s)

    def ack(self, delivery: Delivery) -> None:
        answers = delivery.token
        if not isinstance(answers, _Answers) or not self._under_way or self._under_way[0] is not answers:
            raise DriverError(f"source {self._settings.name}: an answer out of turn")
        self._under_way.popleft()
        self._answer(answers)

    def interrupt(self) -> None:
        self._waker.wake()

    def close(self) -> None:
        if self._sockets is not None:
            self._write_answers(self._sockets)
            self._sockets.close()
        self._waker.close()

    # One pass

    def _turn(self, timeout_s: float) -> None:
        """Write what was answered, wait for clients, look at what they have."""
        sockets = self._opened()
        self._write_answers(sockets)
        for peer in sockets.wait(timeout_s):
            self._look(peer, sockets)
        if self._waiting_bytes > MAX_WAITING_BYTES:
            sockets.hold(True)

    def _look(self, peer: Peer, sockets: Sockets) -> None:
        connection = peer.connection
        if connection.connect is not None and not connection.accepted and connection.ended is None:
            self._admit(peer, sockets)
        if connection.received:
            items, connection.received = connection.received, []
            self._take(peer, items)
        if peer.lost or connection.ended:
            self._part(peer, sockets)

    def _take(self, peer: Peer, items: Items) -> None:
        """`items` of a client are for the store."""
        taken_bytes = _size_bytes(items)
        self._received.append((peer, items, taken_bytes))
        self._waiting_bytes += taken_bytes

    # Clients that come and go

    def _admit(self, peer: Peer, sockets: Sockets) -> None:
        connection = peer.connection
        asked = connection.connect
        assert asked is not None
        client_id = asked.client_id
        said = {}
        if not client_id:
            if asked.version != V5 and not asked.clean:
                self._refuse(peer, Reason.CLIENT_ID_NOT_VALID, "no client id, and a session that is to be kept")
                return
            self._named += 1
            client_id = f"{self._settings.node}-{self._clock.boot_ns():x}-{self._named}"
            if asked.version == V5:
                said["assigned_client_id"] = client_id
        connection.connect = asked._replace(client_id=client_id)
        earlier = self._clients.get(client_id)
        if earlier is not None:
            self._counters["taken_over"] += 1
            earlier.connection.end(Reason.SESSION_TAKEN_OVER, "its client connected anew")
            sockets.write(earlier)
            self._part(earlier, sockets)
        self._clients[client_id] = peer
        connection.accept(lambda topic: True, session_present=False, **said)
        sockets.write(peer)

    def _refuse(self, peer: Peer, reason: Reason, what: str) -> None:
        self._counters["not_let_in"] += 1
        peer.connection.refuse(reason, what)

    def _part(self, peer: Peer, sockets: Sockets) -> None:
        """Its connection is over."""
        if sockets.peers.get(peer.fd) is not peer:
            return
        connection = peer.connection
        ended = connection.ended
        if connection.has_output:
            peer.write(self._now_s())
        if ended is not None and ended.code:
            self._counters["malformed"] += 1
            _log.info("source %s: %s: %s", self._settings.name, self._name(peer), ended.what)
        asked = connection.connect
        if asked is not None and self._clients.get(asked.client_id) is peer:
            del self._clients[asked.client_id]
        if connection.will is not None:
            will, connection.will = connection.will, None
            label = self._labels.make(will.topic, will.properties)
            self._take(peer, [Run(label, 0, False, will.retain, [will.payload])])
        sockets.close_peer(peer)

    @staticmethod
    def _name(peer: Peer) -> str:
        asked = peer.connection.connect
        return peer.address if asked is None else f"client {asked.client_id!r} at {peer.address}"

    # To the store, and back

    def _delivery(self) -> Delivery | None:
        """What was received, as far as one delivery takes it."""
        captured_ns = self._clock.boot_ns()
        frames: dict[str, list[Frame]] = {}
        answers = _Answers()
        events = 0
        while self._received and events < MAX_DELIVERY_EVENTS // 2 and answers.size_bytes < MAX_DELIVERY_BYTES // 2:
            peer, items, taken_bytes = self._received.popleft()
            answers.items.append((peer, items))
            answers.size_bytes += taken_bytes
            for item in items:
                if isinstance(item, Release):
                    continue
                if item.refusal:
                    self._counters["refused"] += len(item.payloads)
                    continue
                label = item.label
                events += len(item.payloads)
                frames.setdefault(label.stream, []).append(
                    Frame(
                        item.payloads,
                        label.key,
                        label.content_type,
                        label.retained_headers if item.retain else label.headers,
                        captured_ns,
                    )
                )
        if not frames:
            self._answer_in_turn(answers)
            return None
        self._counters["good"] += events
        self._counters["bytes"] += sum(
            len(payload) for of in frames.values() for frame in of for payload in frame.payloads
        )
        self._under_way.append(answers)
        return Delivery([Append(stream, of_stream) for stream, of_stream in frames.items()], None, answers)

    def _answer_in_turn(self, answers: _Answers) -> None:
        """Nothing of it needs the store: it is answered behind what is under way."""
        if self._under_way:
            newest = self._under_way[-1]
            newest.items += answers.items
            newest.size_bytes += answers.size_bytes
        else:
            self._answer(answers)

    def _answer(self, answers: _Answers) -> None:
        """It is on disk: the answers leave before the next wait."""
        sockets = self._opened()
        self._waiting_bytes -= answers.size_bytes
        for peer, items in answers.items:
            if sockets.peers.get(peer.fd) is peer:
                peer.connection.acknowledge(items)
                self._to_write[peer] = None
        if sockets.held and self._waiting_bytes <= MAX_WAITING_BYTES // 2:
            sockets.hold(False)

    def _write_answers(self, sockets: Sockets) -> None:
        """One write for each client, however many deliveries it was part of."""
        while self._to_write:
            to_write, self._to_write = self._to_write, {}
            for peer in to_write:
                if sockets.peers.get(peer.fd) is not peer:
                    continue
                peer.connection.resume()
                sockets.write(peer)
                self._look(peer, sockets)

    def _opened(self) -> Sockets:
        assert self._sockets is not None, "poll before open"
        return self._sockets

    def _now_s(self) -> float:
        return self._clock.boot_ns() / 1e9


def _size_bytes(items: Items) -> int:
    return sum(size_bytes(item) for item in items if isinstance(item, Run))


def _allow_descriptors(connections: int, source: str) -> None:
    """As many open files as the connections need. Raises DeviceLostError where this process may not have them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_DESCRIPTORS
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise DeviceLostError(
            f"source {source}: max_connections = {connections} needs {wanted} open files, and this process may have {hard}: "
            "raise its limit (LimitNOFILE= of the service, ulimit -n), or lower max_connections"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
