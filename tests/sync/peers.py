"""Peers on a real loopback socket that behave as no hub should: silent, trickling, closing, or somebody else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from storage.mirror.unit import Holdings
from sync.hub.envelope import MEDIA_TYPE
from sync.hub.wire import encode_holdings

Behaviour = Callable[[socket.socket, threading.Event], None]
"""What a peer does with one connection until it returns, or until the event says that the test is over."""


@contextmanager
def peer(*behaviours: Behaviour) -> Iterator[str]:
    """A listening peer that meets its n-th connection with the n-th behaviour, later ones with the last. Yields a URL."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    links: list[socket.socket] = []

    def serve() -> None:
        count = 0
        while not over.is_set():
            try:
                link, _ = listener.accept()
            except OSError:
                return
            links.append(link)
            behaviour = behaviours[min(count, len(behaviours) - 1)]
            count += 1
            threading.Thread(target=_meet, args=(behaviour, link, over), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for link in links:
            link.close()
        thread.join(5)


def _meet(behaviour: Behaviour, link: socket.socket, over: threading.Event) -> None:
    with suppress(OSError):
        behaviour(link, over)
    with suppress(OSError):
        link.close()


def read_request(link: socket.socket) -> bytes:
    """One whole request. Raises ConnectionError where the other side hung up before it was whole."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        seen += _some(link)
    head, _, body = seen.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += _some(link)
    return head + b"\r\n\r\n" + body


def _some(link: socket.socket) -> bytes:
    piece = link.recv(1 << 16)
    if not piece:
        raise ConnectionError("hung up")
    return piece


def response(status: str, media_type: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {media_type}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


HOLDS_NOTHING = response("200 OK", MEDIA_TYPE, encode_holdings(Holdings(None, 0, {})))


def answers(raw: bytes, times: int = 1_000_000) -> Behaviour:
    """Answers every request with `raw`, and hangs up after so many."""

    def behaviour(link: socket.socket, over: threading.Event) -> None:
        for _ in range(times):
            read_request(link)
            link.sendall(raw)

    return behaviour


def silent(link: socket.socket, over: threading.Event) -> None:
    """Takes the request and never answers: a half-open link, or a hung hub."""
    read_request(link)
    over.wait()


def deaf(link: socket.socket, over: threading.Event) -> None:
    """Never reads: the request fills the buffers and stands still."""
    over.wait()


def trickling(link: socket.socket, over: threading.Event) -> None:
    """Answers one byte at a time, without end."""
    read_request(link)
    link.sendall(b"HTTP/1.1 200 OK\r\nX-Padding: ")
    while not over.wait(0.02):
        link.sendall(b"x")


def hangs_up(link: socket.socket, over: threading.Event) -> None:
    """Takes the request and closes."""
    read_request(link)


def breaks_off(link: socket.socket, over: threading.Event) -> None:
    """Announces more of an answer than it sends."""
    read_request(link)
    link.sendall(HOLDS_NOTHING[:-5])


def refuses_early(raw: bytes) -> Behaviour:
    """Answers after the head of the request and stops reading, as a proxy with a limit does."""

    def behaviour(link: socket.socket, over: threading.Event) -> None:
        link.recv(1024)
        link.sendall(raw)
        link.shutdown(socket.SHUT_RDWR)

    return behaviour
