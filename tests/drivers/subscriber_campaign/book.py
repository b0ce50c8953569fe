"""What came to the gateway and what it answered, message by message: the rules of the package, over packets."""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass, field

from tests.drivers.judging import Sent

REUSED_WITHIN = 10_000
"""A packet id that comes again after more messages than this comes long after the proof of the first is on disk."""


@dataclass(eq=False, slots=True)
class Message:
    """One message of the broker to one session, however often it was sent."""

    place: int
    topic: str
    payload: bytes
    acknowledged: bool = False
    """Our PUBACK left the gateway."""
    closed: bool = False
    """The broker has shown that it got the PUBACK: it may not send this again."""
    optional: bool = False
    """The protocol does not say whether it can be told from the one before it."""
    reuses: bool = False
    """Shortly before, the same packet id had a message of the same bytes."""


@dataclass
class Counts:
    """What a session has seen."""

    redelivered: int = 0
    """Sent again with DUP."""
    after_puback: int = 0
    """Of those, what had its PUBACK before: only a candidate on disk tells."""
    forgotten: int = 0
    ambiguous: int = 0
    new_sessions: int = 0


class Session:
    """All connections of one client id."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.counts = Counts()
        self._by_id: dict[int, Message] = {}
        self._by_bytes: dict[tuple[int, str, bytes], Message] = {}

    def sent(self, topic: str) -> list[Sent]:
        """What was sent on `topic`, and whether it must be stored."""
        of_topic = [message for message in self.messages if message.topic == topic]
        return [Sent(message.payload, message.acknowledged and not message.optional) for message in of_topic]

    def began(self, *, present: bool) -> list[Message]:
        """The broker let the client in. Returns what it may send again though it has our PUBACK."""
        if not present:
            self.counts.new_sessions += 1
            self._by_id.clear()
            self._by_bytes.clear()
        return [message for message in self._by_id.values() if message.acknowledged and not message.closed]

    def published(self, packet_id: int, dup: bool, topic: str, payload: bytes) -> Message:
        """A PUBLISH came: of a new message, or of one that came before."""
        known = self._by_bytes.get((packet_id, topic, payload))
        if not dup or known is None:
            return self._add(packet_id, topic, payload, reuses=known)
        self.counts.redelivered += 1
        if known.closed:
            self.counts.forgotten += 1
            again = self._add(packet_id, topic, payload)
            again.optional = True
            return again
        if known.acknowledged:
            self.counts.after_puback += 1
        elif known.reuses and not known.optional:
            known.optional = True
            self.counts.ambiguous += 1
        return known

    def _add(self, packet_id: int, topic: str, payload: bytes, *, reuses: Message | None = None) -> Message:
        message = Message(len(self.messages), topic, payload)
        message.reuses = reuses is not None and message.place - reuses.place < REUSED_WITHIN
        before = self._by_id.get(packet_id)
        if before is not None:
            # The id is free again, so the broker has the PUBACK (MQTT 3.1.1, 2.3.1).
            before.closed = True
        self.messages.append(message)
        self._by_id[packet_id] = message
        self._by_bytes[packet_id, topic, payload] = message
        return message


@dataclass
class Conversation:
    """One connection: PUBACKs answer PUBLISHes of the same connection, and UNSUBACKs prove what went before."""

    session: Session
    _open: dict[int, Message] = field(default_factory=dict)
    _answered: list[Message] = field(default_factory=list)
    _asked: dict[int, int] = field(default_factory=dict)
    _earlier: list[Message] = field(default_factory=list)

    def connected(self, *, present: bool) -> None:
        self._earlier = self.session.began(present=present)

    def published(self, packet_id: int, dup: bool, topic: str, payload: bytes) -> None:
        self._open[packet_id] = self.session.published(packet_id, dup, topic, payload)

    def acknowledged(self, packet_id: int) -> bool:
        """A PUBACK left the gateway. False where there was nothing to answer."""
        message = self._open.pop(packet_id, None)
        if message is None:
            return False
        message.acknowledged = True
        self._answered.append(message)
        return True

    def asked(self, packet_id: int) -> None:
        """An UNSUBSCRIBE left the gateway, behind all PUBACKs before it."""
        self._asked[packet_id] = len(self._answered)

    def proved(self, packet_id: int) -> None:
        """The broker answered it: it has those PUBACKs, and has sent again what it had to of earlier connections."""
        for message in self._answered[: self._asked.pop(packet_id, 0)]:
            message.closed = True
        sent_again = {id(message) for message in self._open.values()} | {id(message) for message in self._answered}
        for message in self._earlier:
            message.closed |= id(message) not in sent_again
        self._earlier = []


class Book:
    """Sessions by client id. A proxy's threads write, each for its connection."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.sessions: dict[str, Session] = {}
        self.strange: list[str] = []
        """What nobody should have sent."""

    def conversation(self, client_id: str) -> Conversation:
        return Conversation(self.sessions.setdefault(client_id, Session()))


def client_id_of(connect: bytes) -> tuple[str, int]:
    """Client id and protocol level of a CONNECT's body (MQTT 3.1.1, 3.1; MQTT 5, 3.1)."""
    level = connect[6]
    place = 10
    if level == 5:
        length, place = variable_length(connect, place)
        place += length
    size = struct.unpack_from(">H", connect, place)[0]
    return connect[place + 2 : place + 2 + size].decode(), level


def read_publish(head: int, body: bytes, level: int) -> tuple[int, bool, str, bytes]:
    """Packet id, DUP, topic and payload of a PUBLISH at QoS 1 (3.3)."""
    topic_end = 2 + int(struct.unpack_from(">H", body)[0])
    packet_id = int(struct.unpack_from(">H", body, topic_end)[0])
    place = topic_end + 2
    if level == 5:
        length, place = variable_length(body, place)
        place += length
    return packet_id, bool(head & 0x08), body[2:topic_end].decode(), body[place:]


def variable_length(data: bytes, place: int) -> tuple[int, int]:
    """A Variable Byte Integer at `place` (MQTT 5, 1.5.5), and where it ends."""
    value = shift = 0
    while True:
        digit = data[place]
        place += 1
        value |= (digit & 0x7F) << shift
        shift += 7
        if not digit & 0x80:
            return value, place
