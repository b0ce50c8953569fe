"""A link that can fail: a forwarder between two loopback ports, cut, stalled or robbed of its replies on demand."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Protocol

READ_BYTES = 1 << 16
CONNECT_TIMEOUT_S = 5.0
_RESET = struct.pack("ii", 1, 0)


class LinkMode(Enum):
    UP = "up"
    CUT = "cut"
    """Connections are reset, new ones too."""
    STALLED = "stalled"
    """Connections stand, and nothing moves."""
    DEAF = "deaf"
    """Requests arrive, replies are lost. The connections so robbed are reset afterwards."""


class Observer(Protocol):
    """Sees the bytes of one connection before they go on."""

    def upward(self, data: bytes) -> None:
        """From whoever connected."""

    def downward(self, data: bytes) -> None:
        """From whom it is connected to."""


class _Unobserved:
    def upward(self, data: bytes) -> None:
        """Nobody looks."""

    def downward(self, data: bytes) -> None:
        """Nobody looks."""


class Link:
    """Forwards `port` to `target_port`, both on 127.0.0.1."""

    def __init__(self, target_port: int, observe: Callable[[], Observer] = _Unobserved) -> None:
        self._target_port = target_port
        self._observe = observe
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._changed = threading.Condition()
        self._mode = LinkMode.UP
        self._pairs: set[_Pair] = set()
        self._closed = False
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, name=f"link-{self.port}", daemon=True).start()

    @property
    def mode(self) -> LinkMode:
        return self._mode

    def set(self, mode: LinkMode) -> None:
        """Let the link be so from now on."""
        with self._changed:
            self._mode = mode
            pairs = [pair for pair in self._pairs if mode is LinkMode.CUT or pair.robbed]
            self._changed.notify_all()
        for pair in pairs:
            self.drop(pair)

    def break_off(self) -> None:
        """Reset what is connected; new connections are let through."""
        with self._changed:
            pairs = list(self._pairs)
        for pair in pairs:
            self.drop(pair)

    def close(self) -> None:
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.set(LinkMode.CUT)

    def wait_to_move(self) -> LinkMode:
        """Wait while the link is stalled. How it is then."""
        with self._changed:
            while self._mode is LinkMode.STALLED:
                self._changed.wait()
            return self._mode

    def drop(self, pair: _Pair) -> None:
        with self._changed:
            self._pairs.discard(pair)
        pair.reset()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._mode is LinkMode.CUT:
                _reset(client)
                continue
            try:
                target = socket.create_connection(("127.0.0.1", self._target_port), CONNECT_TIMEOUT_S)
            except OSError:
                _reset(client)
                continue
            pair = _Pair(self, client, target, self._observe())
            with self._changed:
                self._pairs.add(pair)
            pair.start()


class _Pair:
    """One connection and its continuation."""

    def __init__(self, link: Link, client: socket.socket, target: socket.socket, observer: Observer) -> None:
        self._link = link
        self._client = client
        self._target = target
        self._observer = observer
        self._lock = threading.Lock()
        self._ended = 0
        self._is_reset = False
        self.robbed = False
        for end in (client, target):
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        for source, sink, is_reply in ((self._client, self._target, False), (self._target, self._client, True)):
            threading.Thread(target=self._pump, args=(source, sink, is_reply), daemon=True).start()

    def reset(self) -> None:
        with self._lock:
            if self._is_reset:
                return
            self._is_reset = True
        _reset(self._client)
        _reset(self._target)

    def _pump(self, source: socket.socket, sink: socket.socket, is_reply: bool) -> None:
        saw = self._observer.downward if is_reply else self._observer.upward
        try:
            while data := source.recv(READ_BYTES):
                mode = self._link.wait_to_move()
                if mode is LinkMode.CUT:
                    break
                if mode is LinkMode.DEAF and is_reply:
                    self.robbed = True
                if self.robbed and is_reply:
                    continue
                saw(data)
                sink.sendall(data)
            else:
                sink.shutdown(socket.SHUT_WR)
                with self._lock:
                    self._ended += 1
                    if self._ended < 2:
                        return
        except OSError:
            # Either side went away: so does the other.
            pass
        self._link.drop(self)


def _reset(end: socket.socket) -> None:
    """Close so that the other side sees a reset. Whoever waits to read is woken first."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.shutdown(socket.SHUT_RD)
    end.close()
