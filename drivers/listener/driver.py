"""The listener as a driver: who is let in, what is read of whom, who is answered when it is on disk."""

from __future__ import annotations

import logging
import resource
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import ClassVar, NamedTuple

from drivers.addresses import host_and_port
from drivers.contract import Delivery, DeviceLostError, DriverError, Shape, SourceSettings, new_counters
from drivers.listener.admission import Admission, Refused
from drivers.listener.client import Client
from drivers.listener.config import ListenerConfig, check, tls_context
from drivers.listener.intake import Answers, Intake
from drivers.listener.labels import Labels
from drivers.listener.packets import V5, Connect, Reason, Will
from drivers.listener.peer import Peer
from drivers.listener.properties import Property
from drivers.listener.protocol import Connection, End, Limits
from drivers.listener.run import EVENT_BYTES, Items, Run
from drivers.listener.sessions import Sessions
from drivers.listener.sockets import Sockets, listening_socket
from drivers.template import Router
from drivers.waking import Waker
from storage.clock import Clock
from storage.trace import Trace, no_trace

MAX_WAITING_BYTES = 32 << 20
"""Of all clients' messages that are not durable yet. Above it nobody is read, until half of it is durable."""
SPARE_DESCRIPTORS = 512
"""Open files that the rest of this process may need."""
REST_S = 0.001
"""While a delivery is on its way to the disk, sockets are looked at so often: first, and then half as often each time."""
LONGEST_REST_S = 0.02
MORE_PASSES = 3
"""Over sockets before a delivery leaves, for as long as they bring anything: clients that were just answered send again."""
EXPIRE_S = 1.0
TOLD_PER_S = 20
"""Disconnected clients of which each has a line in the log. Whoever sends rubbish could fill the journal."""
MAX_WILLS = 10_000
"""That wait for their clients to come back. Above it one is an event at once."""
WILL = ("mqtt.will", b"1")
"""The header of a will."""

_COUNTED: dict[int, str] = {
    Reason.NOT_AUTHORIZED: "not_allowed",
    Reason.BAD_USER_OR_PASSWORD: "not_let_in",
    Reason.SERVER_BUSY: "turned_away",
    Reason.PACKET_TOO_LARGE: "too_large",
    Reason.KEEP_ALIVE_TIMEOUT: "silent",
    Reason.SESSION_TAKEN_OVER: "taken_over",
    Reason.QUOTA_EXCEEDED: "turned_away",
}
"""What an end of a connection is counted as, by its reason code; any other as `malformed`."""

_log = logging.getLogger(__name__)


class _Will(NamedTuple):
    """A will that waits for its client to come back."""

    client: Client
    items: Items
    due_s: float


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
        self._counters = new_counters() | dict.fromkeys((*_COUNTED.values(), "malformed", "repeats"), 0)
        self._parts: Mapping[str, bytes] = {}
        self._sockets: Sockets | None = None
        self._sessions: Sessions | None = None
        self._admission: Admission | None = None
        self._intake: Intake | None = None
        self._undecided: dict[Peer, None] = {}
        self._clients: dict[Peer, Client] = {}
        self._by_id: dict[str, Client] = {}
        self._wills: dict[str, _Will] = {}
        self._to_write: dict[Client, None] = {}
        self._named = 0
        self._expired_s = 0.0
        self._ends_told = 0
        self._rests = 0
        self._trace: Trace = no_trace
        self._takes: Callable[[str], bool] = lambda stream: True

    @property
    def counters(self) -> Mapping[str, int]:
        if self._sockets is None or self._sessions is None:
            return self._counters
        return self._counters | self._sockets.counters | {"forgotten_sessions": self._sessions.forgotten}

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, the port that was chosen where the configuration says 0."""
        return self._address

    # The contract

    def take_parts(self, parts: Mapping[str, bytes]) -> None:
        self._parts = parts

    def ask_with(self, takes: Callable[[str], bool]) -> None:
        self._takes = takes

    def trace_with(self, trace: Trace) -> None:
        self._trace = trace

    def open(self, state: bytes | None) -> None:
        config, name = self._config, self._settings.name
        _allow_descriptors(config.max_connections, name)
        tls = tls_context(config, name)
        self._admission = Admission(config, name, self._now_s)
        self._sessions = Sessions(
            self._parts, self._now_s(), max_inflight=config.max_inflight, limit=config.max_sessions
        )
        self._parts = {}
        self._intake = Intake(self._sessions, self._counters, self._clock.boot_ns, self._refuse, self._takes)
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
            self._look,
            self._waker,
            self._now_s,
            max_connections=config.max_connections,
            source=name,
        )

    def poll(self, timeout_s: float) -> Delivery | None:
        sockets, intake = self._opened()
        if intake.gathers:
            # Each wakeup costs as much as some messages: what comes meanwhile is read at once, when that is answered.
            self._write_answers()
            if sockets.rest(min(timeout_s, LONGEST_REST_S, REST_S * 2.0 ** min(self._rests, 10))):
                return None
            self._rests += 1
            timeout_s = 0.0
        self._turn(0.0 if intake.ready else timeout_s)
        if not intake.ready:
            return None
        for _ in range(MORE_PASSES):
            before_bytes = intake.waiting_bytes
            self._turn(0.0)
            if intake.waiting_bytes == before_bytes:
                break
        self._trace("listener.received", {"source": self._settings.name})
        delivery, answers = intake.delivery()
        if answers is not None:
            self._answer(answers)
        return delivery

    def tend(self, timeout_s: float) -> None:
        self._turn(timeout_s)

    def refused(self, delivery: Delivery, streams: Collection[str]) -> None:
        self._opened()[1].refused(streams)

    def ack(self, delivery: Delivery) -> None:
        answers = self._opened()[1].durable(delivery)
        if answers is None:
            raise DriverError(f"source {self._settings.name}: an answer out of turn")
        self._rests = 0
        self._answer(answers)

    def interrupt(self) -> None:
        self._waker.wake()

    def close(self) -> None:
        if self._sockets is not None:
            self._write_answers()
            for peer in self._sockets.peers.values():
                peer.connection.end(Reason.SERVER_SHUTTING_DOWN, "the gateway ends")
            self._sockets.close()
        self._waker.close()

    # One pass

    def _turn(self, timeout_s: float) -> None:
        """Write what was answered, wait for clients, look at what they have."""
        sockets, intake = self._opened()
        self._write_answers()
        sockets.wait(self._wait_s(timeout_s))
        self._decide()
        now_s = self._now_s()
        if self._sessions is not None and now_s - self._expired_s >= EXPIRE_S:
            self._expired_s = now_s
            self._tell_the_rest()
            self._sessions.expire(now_s)
            for client_id in [client_id for client_id, will in self._wills.items() if will.due_s <= now_s]:
                intake.take(*self._wills.pop(client_id)[:2])

    def _wait_s(self, timeout_s: float) -> float:
        """Not past the next check of a password."""
        due_s = None if self._admission is None else self._admission.due_in_s
        return timeout_s if due_s is None else min(timeout_s, due_s)

    def _decide(self) -> None:
        """Ask again for those whose password was to be checked."""
        if self._admission is not None and self._admission.step():
            for peer in list(self._undecided):
                self._look(peer)

    def _look(self, peer: Peer) -> None:
        """What a connection has after it was read."""
        connection = peer.connection
        client = self._clients.get(peer)
        if client is None:
            if connection.connect is not None and connection.ended is None:
                self._ask(peer, connection.connect)
        elif connection.received:
            items, connection.received = connection.received, []
            sockets, intake = self._opened()
            intake.take(client, items)
            if intake.waiting_bytes > MAX_WAITING_BYTES:
                sockets.hold(True)
        if peer.lost or connection.ended:
            self._part(peer)

    # Clients that come and go

    def _ask(self, peer: Peer, asked: Connect) -> None:
        """A CONNECT: is it let in?"""
        connection = peer.connection
        assert self._admission is not None
        decision = self._admission.decide(asked, peer)
        if decision is None:
            self._undecided[peer] = None
            return
        if isinstance(decision, Refused):
            connection.refuse(decision.reason, decision.what)
            return
        said: dict[str, int | str] = {}
        if not asked.client_id:
            if asked.version != V5 and not asked.clean:
                connection.refuse(Reason.CLIENT_ID_NOT_VALID, "no client id, and a session that is to be kept")
                return
            self._named += 1
            asked = asked._replace(client_id=f"{self._settings.node}-{self._clock.boot_ns():x}-{self._named}")
            if asked.version == V5:
                said["assigned_client_id"] = asked.client_id
        longest_s = int(self._config.session_expiry)
        if asked.session_expiry_s > longest_s:
            asked = asked._replace(session_expiry_s=longest_s)
            said["session_expiry"] = longest_s
        earlier = self._by_id.get(asked.client_id)
        if earlier is not None:
            earlier.peer.connection.end(Reason.SESSION_TAKEN_OVER, "its client connected anew")
            self._part(earlier.peer)
        self._wills.pop(asked.client_id, None)
        connection.connect = asked
        self._undecided.pop(peer, None)
        client = self._clients[peer] = self._by_id[asked.client_id] = Client(peer, asked, decision, said)
        self._opened()[1].ask(client)

    def _refuse(self, client: Client, reason: Reason, what: str) -> None:
        connection = client.peer.connection
        if connection.accepted:
            connection.end(reason, what)
        elif connection.ended is None:
            connection.refuse(reason, what)
        self._part(client.peer)

    def _part(self, peer: Peer) -> None:
        """A connection is over."""
        sockets, intake = self._opened()
        connection = peer.connection
        if sockets.peers.get(peer.fd) is not peer:
            return
        if connection.output:
            peer.write(self._now_s())
        self._undecided.pop(peer, None)
        client = self._clients.pop(peer, None)
        if connection.ended is not None and connection.ended.code:
            self._count(connection.ended, str(client or peer.address))
        if client is not None:
            if self._by_id.get(client.asked.client_id) is client:
                del self._by_id[client.asked.client_id]
            if connection.connect is not None:
                client.expiry_s = min(connection.connect.session_expiry_s, int(self._config.session_expiry))
            if connection.will is not None:
                self._leave_will(client, connection.will, intake)
            intake.leave(client)
        sockets.close_peer(peer)

    def _leave_will(self, client: Client, will: Will, intake: Intake) -> None:
        """A will becomes an event: at once, or when its client has not come back for as long as it said (MQTT 5, 3.1.3.2.2)."""
        delay_s = min(will.properties.number(Property.WILL_DELAY), client.expiry_s)
        items: Items = [self._will_run(will)]
        if delay_s and len(self._wills) < MAX_WILLS:
            self._wills[client.asked.client_id] = _Will(client, items, self._now_s() + delay_s)
        else:
            intake.take(client, items)

    def _will_run(self, will: Will) -> Run:
        label = self._labels.make(will.topic, will.properties)
        label = replace(label, headers=(*label.headers, WILL), retained_headers=(*label.retained_headers, WILL))
        size_bytes = len(will.payload) + EVENT_BYTES
        return Run(label, 0, False, will.retain, [will.payload], [], size_bytes, label.refusal)

    def _count(self, ended: End, who: str) -> None:
        self._counters[_COUNTED.get(ended.code, "malformed")] += 1
        self._ends_told += 1
        if self._ends_told <= TOLD_PER_S:
            _log.info("source %s: %s: %s", self._settings.name, who, ended.what)

    def _tell_the_rest(self) -> None:
        """How many ends there were that have no line of their own in the log."""
        if self._ends_told > TOLD_PER_S:
            _log.info("source %s: %d more were disconnected", self._settings.name, self._ends_told - TOLD_PER_S)
        self._ends_told = 0

    # Answers

    def _answer(self, answers: Answers) -> None:
        """It is on disk: the answers leave before the next wait."""
        sockets, intake = self._opened()
        intake.waiting_bytes -= answers.size_bytes
        for client, items in answers.items:
            if self._clients.get(client.peer) is client:
                client.peer.connection.acknowledge(items)
                self._to_write[client] = None
                if client.session is not None:
                    client.session.answered(items[-1].upto if len(items) == 1 else max([item.upto for item in items]))
        for client, present in answers.accepts:
            if self._clients.get(client.peer) is client:
                client.peer.connection.accept(client.allows, session_present=present, **client.said)
                self._to_write[client] = None
        if sockets.held and intake.waiting_bytes <= MAX_WAITING_BYTES // 2:
            sockets.hold(False)

    def _write_answers(self) -> None:
        """One write for each client, however many deliveries it was part of."""
        sockets, _ = self._opened()
        while self._to_write:
            to_write, self._to_write = self._to_write, {}
            self._trace("listener.acknowledging", {"source": self._settings.name, "clients": len(to_write)})
            now_s = self._now_s()
            for client in to_write:
                peer = client.peer
                if self._clients.get(peer) is client:
                    connection = peer.connection
                    if connection.rest:
                        connection.resume()
                    sockets.write(peer, now_s)
                    if connection.received or connection.ended or peer.lost:
                        self._look(peer)
            self._trace("listener.acknowledged", {"source": self._settings.name, "clients": len(to_write)})

    def _opened(self) -> tuple[Sockets, Intake]:
        assert self._sockets is not None and self._intake is not None, "poll before open"
        return self._sockets, self._intake

    def _now_s(self) -> float:
        return self._clock.boot_ns() / 1e9


def _allow_descriptors(connections: int, source: str) -> None:
    """As many open files as the connections need. Raises DeviceLostError where this process may not have them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise DeviceLostError(
            f"source {source}: max_connections = {connections} needs {wanted} open files, and this process may have {hard}: "
            "raise its limit (LimitNOFILE= of the service, ulimit -n), or lower max_connections"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
