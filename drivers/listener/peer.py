"""One client's socket, plain or TLS: what it has is read, what is to be written is written, as far as that goes at once."""

from __future__ import annotations

import select
import socket
import ssl
from contextlib import suppress

from drivers.listener.protocol import Connection

READ_BYTES = 64 << 10
"""Of one client in one pass, so that none keeps the others waiting."""
MAX_OUTPUT_BYTES = 64 << 10
"""A client with so much unread of ours is not read any more, until it reads."""

_AGAIN = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Peer:
    """A connected client. `lost` says why the socket is of no more use."""

    __slots__ = (
        "address",
        "connection",
        "fd",
        "handshaking",
        "heard_s",
        "held_bytes",
        "interest",
        "lost",
        "opened_s",
        "partial_since_s",
        "resting",
        "sock",
        "stuck_since_s",
        "unwritten",
    )

    def __init__(self, sock: socket.socket, address: str, connection: Connection, now_s: float) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.address = address
        self.connection = connection
        self.handshaking = isinstance(sock, ssl.SSLSocket)
        self.opened_s = self.heard_s = now_s
        self.partial_since_s: float | None = None
        self.stuck_since_s: float | None = None
        self.unwritten = b""
        self.held_bytes = 0
        self.lost: str | None = None
        self.resting = False
        """It has something to read that is left where it is for now."""
        self.interest = select.EPOLLIN

    @property
    def may_be_read(self) -> bool:
        """Whether there is room for more of what it sends."""
        connection = self.connection
        if connection.full or connection.ended is not None or len(self.unwritten) > MAX_OUTPUT_BYTES:
            return False
        return connection.accepted or connection.connect is None

    def shake_hands(self) -> None:
        """Go on with the TLS handshake."""
        assert isinstance(self.sock, ssl.SSLSocket)
        try:
            self.sock.do_handshake()
        except ssl.SSLWantWriteError:
            self.interest = select.EPOLLIN | select.EPOLLOUT
        except ssl.SSLWantReadError:
            self.interest = select.EPOLLIN
        except (OSError, ValueError) as error:
            self.lost = f"TLS: {error}"
        else:
            self.handshaking = False
            self.interest = select.EPOLLIN

    def read(self) -> bool:
        """Hand what has come in to the connection. True where TLS holds more that no socket tells of."""
        sock = self.sock
        try:
            data = sock.recv(READ_BYTES)
        except _AGAIN:
            return False
        except OSError as error:
            self.lost = str(error)
            return False
        if not data:
            self.lost = "it closed the connection"
            return False
        self.connection.receive(data)
        return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0

    def write(self, now_s: float) -> None:
        """Write what is to be written, as far as the socket takes it."""
        output = self.connection.take_output()
        if self.unwritten:
            output = self.unwritten + output
        if not output or self.lost:
            return
        try:
            sent = self.sock.send(output)
        except _AGAIN:
            sent = 0
        except OSError as error:
            self.lost = str(error)
            return
        self.unwritten = output[sent:]
        if not self.unwritten:
            self.stuck_since_s = None
        elif sent or self.stuck_since_s is None:
            self.stuck_since_s = now_s

    def close(self) -> None:
        with suppress(OSError, ValueError):
            # What it sent and we did not read would make the kernel throw away what we wrote last.
            self.sock.setblocking(False)
            self.sock.shutdown(socket.SHUT_WR)
            for _ in range(4):
                if not self.sock.recv(READ_BYTES):
                    break
        with suppress(OSError):
            self.sock.close()
