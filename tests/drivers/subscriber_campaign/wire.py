"""The proxy between gateway and broker: writes every packet into the book before it goes on, and strikes when aimed."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

from edge.demo.mqtt import PacketReader, packet
from tests.drivers.subscriber_campaign.book import Book, Conversation, client_id_of, read_publish

READ_BYTES = 1 << 16
CONNECT, CONNACK, PUBLISH, PUBACK, UNSUBSCRIBE, UNSUBACK = 1, 2, 3, 4, 10, 11

SITES = {
    "puback.withheld": "our PUBACK has left and does not arrive",
    "puback.arrived": "our PUBACK has arrived, its proof has not",
    "proof.arrived": "the proof has arrived and is not on disk",
    "resent.arrived": "a message was sent again and is not answered",
    "session.resumed": "the broker let us in again",
}
"""Packets at which the gateway can be killed."""


class Wire:
    """Forwards `port` to `broker_port`, both on 127.0.0.1."""

    def __init__(self, broker_port: int) -> None:
        self.book = Book()
        self._broker_port = broker_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._site = ""
        self._left = 0
        self._strike: Callable[[], None] = lambda: None
        threading.Thread(target=self._accept, name="wire", daemon=True).start()

    def aim(self, site: str, nth: int, strike: Callable[[], None]) -> None:
        """Call `strike`, once, when the n-th packet of `site` from now on passes. "" takes the aim back."""
        assert not site or site in SITES, f"there is no packet {site!r} to aim at"
        with self._lock:
            self._site, self._left, self._strike = site, nth, strike

    def reached(self, site: str) -> bool:
        """A packet of `site` passes. True: it was the one aimed at, and the gateway is dead now."""
        with self._lock:
            if site != self._site:
                return False
            self._left -= 1
            if self._left:
                return False
            self._site = ""
            strike = self._strike
        strike()
        return True

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                gateway, _ = self._listener.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(("127.0.0.1", self._broker_port), 5.0)
            except OSError:
                gateway.close()
                continue
            broker.settimeout(None)
            _Pair(self, gateway, broker).start()


class _Pair:
    """One connection and its continuation."""

    def __init__(self, wire: Wire, gateway: socket.socket, broker: socket.socket) -> None:
        self._wire = wire
        self._gateway = gateway
        self._broker = broker
        self._conversation: Conversation | None = None
        self._level = 4
        for end in (gateway, broker):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        threading.Thread(target=self._upward, daemon=True).start()
        threading.Thread(target=self._downward, daemon=True).start()

    def _upward(self) -> None:
        """Gateway to broker. What the gateway sent before its end still arrives, unless it is withheld."""
        reader = PacketReader()
        ended = False
        with suppress(OSError):  # one of them went away, which is what this is for
            while data := self._gateway.recv(READ_BYTES):
                for head, body in reader.feed(data):
                    is_puback = self._note_upward(head, body)
                    ended = ended or (is_puback and self._wire.reached("puback.withheld"))
                    if ended:
                        # The gateway has said it: that nobody hears of it makes it no less owed.
                        continue
                    self._broker.sendall(packet(head, body))
                    # The proof would be the answer to what the gateway sent behind it.
                    ended = is_puback and self._wire.reached("puback.arrived")
        with suppress(OSError):
            self._broker.shutdown(socket.SHUT_WR)

    def _downward(self) -> None:
        """Broker to gateway. Read to the end even when the gateway is gone."""
        reader = PacketReader()
        gone = False
        with suppress(OSError):  # as above
            while data := self._broker.recv(READ_BYTES):
                for head, body in reader.feed(data):
                    site = self._note_downward(head, body)
                    if gone:
                        continue
                    try:
                        self._gateway.sendall(packet(head, body))
                    except OSError:
                        gone = True
                    if site:
                        self._wire.reached(site)
        for end in (self._gateway, self._broker):
            with suppress(OSError):
                # Whoever still reads is woken, which closing alone does not do.
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _note_upward(self, head: int, body: bytes) -> bool:
        """True where it is a PUBACK."""
        book = self._wire.book
        with book.lock:
            kind = head >> 4
            if kind == CONNECT:
                client_id, self._level = client_id_of(body)
                self._conversation = book.conversation(client_id)
            assert self._conversation is not None, "a client begins with CONNECT"
            packet_id = struct.unpack_from(">H", body)[0] if kind in (PUBACK, UNSUBSCRIBE) else 0
            if kind == PUBACK and not self._conversation.acknowledged(packet_id):
                book.strange.append(f"a PUBACK for packet id {packet_id}, which has no message")
            if kind == UNSUBSCRIBE:
                self._conversation.asked(packet_id)
        return kind == PUBACK

    def _note_downward(self, head: int, body: bytes) -> str:
        """The site that it is, if any."""
        book, conversation = self._wire.book, self._conversation
        assert conversation is not None, "a broker answers a CONNECT"
        with book.lock:
            kind = head >> 4
            if kind == CONNACK:
                conversation.connected(present=bool(body[0] & 1))
                return "session.resumed" if body[0] & 1 else ""
            if kind == UNSUBACK:
                conversation.proved(struct.unpack_from(">H", body)[0])
                return "proof.arrived"
            if kind == PUBLISH:
                if head & 0x06 != 0x02:
                    book.strange.append(f"a PUBLISH at QoS {head >> 1 & 3}")
                    return ""
                packet_id, dup, topic, payload = read_publish(head, body, self._level)
                conversation.published(packet_id, dup, topic, payload)
                return "resent.arrived" if dup else ""
        return ""
