"""A camera over HTTP that sends what it is told to, to whoever connected last, and keeps it until somebody has."""

from __future__ import annotations

import socket
import threading
from collections import deque
from contextlib import suppress

HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=picture\r\n\r\n"
TICK_S = 0.02


class PictureServer:
    """JPEGs as parts of one endless message (multipart/x-mixed-replace)."""

    def __init__(self, port: int) -> None:
        self._pictures: deque[bytes] = deque()
        self._server = socket.create_server(("127.0.0.1", port))
        self._server.settimeout(TICK_S)
        self._viewer: socket.socket | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, picture: bytes) -> None:
        self._pictures.append(picture)

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._server.close()
        if self._viewer is not None:
            self._viewer.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            with suppress(TimeoutError):
                viewer, _ = self._server.accept()
                viewer.recv(1 << 16)
                viewer.sendall(HEAD)
                self._viewer = viewer
            while self._pictures and self._is_there():
                picture = self._pictures.popleft()
                head = b"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture)
                with suppress(OSError):
                    assert self._viewer is not None
                    self._viewer.sendall(head + picture + b"\r\n")

    def _is_there(self) -> bool:
        """Whether the viewer has not gone."""
        if self._viewer is None:
            return False
        try:
            if self._viewer.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                return True
        except BlockingIOError:
            return True
        except OSError:
            pass
        self._viewer.close()
        self._viewer = None
        return False
