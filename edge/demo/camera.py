"""A camera that is not there: a scene that moves, as JPEG over HTTP, each picture with its number in its comment."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from edge.demo.feed import Feed
from edge.demo.numbering import stamp

BOUNDARY = "picture"
GOODBYE_S = 0.5


class HttpCamera(Feed):
    """Sees so many pictures a second at `url`, whether or not anybody looks: what nobody looks at is gone."""

    def __init__(self, who: str, rate_per_s: float) -> None:
        super().__init__(who)
        self._rate_per_s = rate_per_s
        self._changed = threading.Condition()
        self._newest: tuple[int, bytes] = (-1, b"")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/video"
        threading.Thread(target=self._server.serve_forever, name=f"camera-{who}", daemon=True).start()

    def run(self) -> None:
        from drivers.camera.card import card  # noqa: PLC0415  (OpenCV: only where the demo has begun)

        began_s = time.monotonic()
        while not self.stopping.wait(max(0.0, began_s + self.sent / self._rate_per_s - time.monotonic())):
            picture = card(self.sent, stamp(self.name, self.sent), self._rate_per_s)
            with self._changed:
                self._newest = (self.sent, picture)
                self.sent += 1
                self._changed.notify_all()

    def close(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def next_picture(self, after: int) -> tuple[int, bytes] | None:
        """The first picture behind `after` that can still be seen; None when there will be none."""
        with self._changed:
            while self._newest[0] <= after and not self.stopping.is_set():
                self._changed.wait(GOODBYE_S)
            return self._newest if self._newest[0] > after else None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", f"multipart/x-mixed-replace;boundary={BOUNDARY}")
                self.end_headers()
                number = camera.sent - 1
                while (seen := camera.next_picture(number)) is not None:
                    number, picture = seen
                    head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    try:
                        self.wfile.write(head.encode() + picture + b"\r\n")
                    except OSError:
                        # Whoever looked has gone.
                        return

            def log_message(self, format: str, *arguments: object) -> None:
                """A camera has no log."""

        return Handler
