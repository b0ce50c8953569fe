"""A broker that says what a test tells it to, over a real socket: for what no honest broker does at will."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from queue import Queue

from edge.demo.mqtt import PacketReader, packet

CONNECT, PUBACK, SUBSCRIBE, UNSUBSCRIBE = 1, 4, 8, 10
TIMEOUT_S = 20.0


class ScriptedBroker:
    """Speaks 3.1.1 to one client at a time. It grants what is subscribed, and answers proofs unless `proves` is off."""

    def __init__(self, *, granted: int = 1) -> None:
        self._granted = granted
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: Queue[socket.socket] = Queue()
        self._present = False
        self.proves = True
        self.pubacks: Queue[int] = Queue()
        """Packet ids as they were acknowledged."""
        self.url = f"mqtt://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def await_client(self) -> None:
        """Until a client is let in. `send` and `hang_up` mean that one."""
        self._client = self._connections.get(timeout=TIMEOUT_S)

    def send(self, packet_id: int, payload: bytes, *, dup: bool, topic: bytes = b"site/a") -> None:
        """A PUBLISH at QoS 1."""
        body = struct.pack(">H", len(topic)) + topic + struct.pack(">H", packet_id) + payload
        self._client.sendall(packet(0x3A if dup else 0x32, body))

    def hang_up(self) -> None:
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        reader = PacketReader()
        with client, suppress(OSError):
            while data := client.recv(1 << 16):
                for head, body in reader.feed(data):
                    self._answer_packet(client, head >> 4, body)

    def _answer_packet(self, client: socket.socket, kind: int, body: bytes) -> None:
        if kind == CONNECT:
            client.sendall(packet(0x20, bytes([self._present, 0])))
            self._present = True
            self._connections.put(client)
        elif kind == SUBSCRIBE:
            client.sendall(packet(0x90, body[:2] + bytes([self._granted])))
        elif kind == UNSUBSCRIBE and self.proves:
            client.sendall(packet(0xB0, body[:2]))
        elif kind == PUBACK:
            self.pubacks.put(struct.unpack(">H", body)[0])
