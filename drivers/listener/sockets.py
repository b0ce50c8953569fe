"""The sockets of all clients, in passes over those that have something: accept, read, write, and look who is late."""

from __future__ import annotations

import logging
import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from drivers.listener.packets import Reason
from drivers.listener.peer import Peer
from drivers.listener.protocol import Connection
from drivers.waking import Waker

BACKLOG = 4096
ACCEPTS_PER_PASS = 256
CONNECT_WITHIN_S = 10.0
"""A client has so long to shake hands and to send its CONNECT."""
PACKET_WITHIN_S = 120.0
"""And to send a packet that it began."""
STUCK_S = 30.0
"""And to read something of what was written to it."""
ACCEPT_PAUSE_S = 1.0
"""While the process has no file descriptors left."""
MAX_HELD_BYTES = 64 << 20
"""Of packets that are not complete, of all clients."""
SWEEP_S = 1.0
SEND_BUFFER_BYTES = 64 << 10
TCP_PROBES = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 20, socket.TCP_KEEPCNT: 3}
"""How a peer that has vanished is found that asked for no keep-alive."""

_log = logging.getLogger(__name__)


class Sockets:
    """Used from one thread. `look` is called for each peer that has something to be looked at: a CONNECT, messages, an end;
    it may close any peer. `counters` counts connections, and what clients did wrong."""

    def __init__(
        self,
        listening: socket.socket,
        tls: ssl.SSLContext | None,
        make_connection: Callable[[], Connection],
        look: Callable[[Peer], None],
        waker: Waker,
        now_s: Callable[[], float],
        *,
        max_connections: int,
        source: str,
    ) -> None:
        self._listening = listening
        self._tls = tls
        self._make_connection = make_connection
        self._look = look
        self._waker = waker
        self._now_s = now_s
        self._max_connections = max_connections
        self._source = source
        self._epoll = select.epoll()
        self._epoll.register(listening, select.EPOLLIN)
        self._epoll.register(waker, select.EPOLLIN)
        self._only_waker = select.poll()
        self._only_waker.register(waker, select.POLLIN)
        self._accept_again_s: float | None = None
        self._swept_s = now_s()
        self._pending: list[Peer] = []
        self.held = False
        """Nothing more is read of anybody: there is no room for it."""
        self.peers: dict[int, Peer] = {}
        self._held_bytes = 0
        self._resting: set[Peer] = set()
        self.counters = dict.fromkeys(("connects", "no_room", "stuck"), 0)

    def wait(self, timeout_s: float) -> None:
        """One pass."""
        pending, self._pending = self._pending, []
        events = self._epoll.poll(0 if pending else timeout_s)
        now_s = self._now_s()
        peers = self.peers
        for peer in pending:
            if peers.get(peer.fd) is peer:
                self._read(peer, now_s)
        for fd, event in events:
            peer_of_fd = peers.get(fd)
            if peer_of_fd is None:
                self._special(fd, now_s)
                continue
            if event & select.EPOLLOUT:
                self.write(peer_of_fd, now_s)
            if event & ~select.EPOLLOUT:
                self._read(peer_of_fd, now_s, broken=bool(event & (select.EPOLLHUP | select.EPOLLERR)))
            elif peer_of_fd.lost:
                self._look(peer_of_fd)
        if now_s - self._swept_s >= SWEEP_S:
            self._sweep(now_s)

    def rest(self, duration_s: float) -> bool:
        """Leave all sockets alone for a while. True: it was ended by the waker."""
        if not self._only_waker.poll(duration_s * 1000):
            return False
        self._waker.drain()
        return True

    def write(self, peer: Peer, now_s: float) -> None:
        """Write what is to be written to a peer, and go on reading it where that was what it waited for."""
        if peer.handshaking:
            peer.shake_hands()
            self._watch(peer)
            return
        peer.write(now_s)
        if peer.resting or peer.unwritten or peer.interest != select.EPOLLIN:
            self.look_again(peer)

    def look_again(self, peer: Peer) -> None:
        """After something changed for a peer: whether it is read, and whether it waits to be written to."""
        if peer.resting and not self.held and peer.may_be_read:
            peer.resting = False
            self._resting.discard(peer)
            if self._tls is not None:
                # What TLS has read ahead, no socket tells of.
                self._pending.append(peer)
        self._watch(peer)

    def hold(self, held: bool) -> None:
        """Stop reading all clients, or go on with it."""
        if held == self.held:
            return
        self.held = held
        if not held:
            for peer in list(self._resting):
                self.look_again(peer)

    def close_peer(self, peer: Peer) -> None:
        """Let go of a client."""
        if self.peers.pop(peer.fd, None) is None:
            return
        self._resting.discard(peer)
        self._held_bytes -= peer.held_bytes
        with suppress(OSError, ValueError):
            self._epoll.unregister(peer.fd)
        peer.close()

    def close(self) -> None:
        for peer in list(self.peers.values()):
            peer.write(self._now_s())
            self.close_peer(peer)
        self._epoll.close()
        self._listening.close()

    # One pass

    def _special(self, fd: int, now_s: float) -> None:
        if fd == self._waker.fileno():
            self._waker.drain()
        elif fd == self._listening.fileno():
            self._accept(now_s)

    def _accept(self, now_s: float) -> None:
        for _ in range(ACCEPTS_PER_PASS):
            try:
                sock, address = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.warning("source %s: no more connections can be taken: %s", self._source, error)
                self._epoll.modify(self._listening, 0)
                self._accept_again_s = now_s + ACCEPT_PAUSE_S
                return
            if len(self.peers) >= self._max_connections:
                self.counters["no_room"] += 1
                sock.close()
                continue
            self._take(sock, str(address[0]), now_s)

    def _take(self, sock: socket.socket, address: str, now_s: float) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in TCP_PROBES.items():
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        if self._tls is not None:
            try:
                sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            except OSError:
                sock.close()
                return
        peer = Peer(sock, address, self._make_connection(), now_s)
        self.peers[peer.fd] = peer
        self._epoll.register(peer.fd, peer.interest)
        self.counters["connects"] += 1

    def _read(self, peer: Peer, now_s: float, *, broken: bool = False) -> None:
        connection = peer.connection
        if peer.handshaking:
            peer.shake_hands()
            self._watch(peer)
        elif self.held or not peer.may_be_read:
            if broken:
                peer.lost = "the connection broke"
            else:
                peer.resting = True
                self._resting.add(peer)
                self._watch(peer)
        else:
            peer.heard_s = now_s
            if peer.read():
                self._pending.append(peer)
            if connection.output:
                peer.write(now_s)
                self._watch(peer)
            if connection.rest or peer.held_bytes:
                self._hold_bytes(peer, now_s)
        if peer.lost or connection.received or connection.ended or not connection.accepted:
            self._look(peer)

    def _hold_bytes(self, peer: Peer, now_s: float) -> None:
        """Account for packets that are not complete: all clients together may have so much of them."""
        connection = peer.connection
        held_bytes = connection.held_bytes
        self._held_bytes += held_bytes - peer.held_bytes
        peer.held_bytes = held_bytes
        peer.partial_since_s = (peer.partial_since_s or now_s) if held_bytes else None
        if self._held_bytes > MAX_HELD_BYTES and held_bytes:
            what = f"all clients together have begun packets of {MAX_HELD_BYTES >> 20} MiB, and it came last"
            connection.end(Reason.QUOTA_EXCEEDED, what)

    def _watch(self, peer: Peer) -> None:
        """Tell the kernel what is wanted of a socket, where that changed."""
        if self.peers.get(peer.fd) is not peer:
            return
        if peer.handshaking:
            wanted = peer.interest
        else:
            wanted = (0 if peer.resting else select.EPOLLIN) | (select.EPOLLOUT if peer.unwritten else 0)
            if wanted == peer.interest:
                return
            peer.interest = wanted
        with suppress(OSError, ValueError):
            self._epoll.modify(peer.fd, wanted)

    def _sweep(self, now_s: float) -> None:
        """Who is late."""
        self._swept_s = now_s
        if self._accept_again_s is not None and now_s >= self._accept_again_s:
            self._accept_again_s = None
            self._epoll.modify(self._listening, select.EPOLLIN)
        for peer in list(self.peers.values()):
            if self.peers.get(peer.fd) is not peer:
                continue
            late = self._late(peer, now_s)
            if late is not None:
                code, what = late
                peer.connection.end(code, what)
                self._look(peer)

    def _late(self, peer: Peer, now_s: float) -> tuple[int, str] | None:
        connection = peer.connection
        if peer.stuck_since_s is not None and now_s - peer.stuck_since_s >= STUCK_S:
            self.counters["stuck"] += 1
            return Reason.QUOTA_EXCEEDED, f"it has read nothing for {STUCK_S:.0f} s"
        if not connection.accepted:
            late = connection.connect is None and now_s - peer.opened_s >= CONNECT_WITHIN_S
            return (Reason.KEEP_ALIVE_TIMEOUT, "no CONNECT came") if late else None
        if peer.resting or self.held:
            # Whoever is not read can't show that it is alive; its time begins again when it is.
            peer.heard_s = now_s
            return None
        if connection.keep_alive_s and now_s - peer.heard_s > connection.keep_alive_s * 1.5:
            return (
                Reason.KEEP_ALIVE_TIMEOUT,
                f"silent for one and a half times its keep-alive of {connection.keep_alive_s} s",
            )
        if peer.partial_since_s is not None and now_s - peer.partial_since_s >= PACKET_WITHIN_S:
            return Reason.MALFORMED_PACKET, f"a packet was not complete after {PACKET_WITHIN_S:.0f} s"
        return None


def listening_socket(host: str, port: int) -> socket.socket:
    """Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    # Those that it accepts inherit it. Without it the kernel would keep megabytes for a client that does not read.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    listening.setblocking(False)
    return listening
