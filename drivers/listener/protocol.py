"""One client's connection as a state machine: bytes in, and out comes what is to be written and what is to be stored.

It does no IO, knows no clock and no store. Whoever has the socket feeds it (`receive`), writes what `take_output` gives,
and looks at `connect`, `received` and `ended` after each of these:

1. `connect` is what the client asks for. Nothing behind it is read until `accept` or `refuse` has answered.
2. `received` is what is to be made durable, in order. `acknowledge` answers it, in the same order, when it is.
3. `ended` says that the connection is over: what is left in `take_output` is still to be written, then it is closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from drivers.listener.labels import Labels
from drivers.listener.packets import (
    PINGRESP,
    V5,
    V311,
    Connect,
    Kind,
    Reason,
    Will,
    answers,
    connack,
    disconnect,
    read_connect,
    read_disconnect,
    read_pubrel,
    read_subscribe,
    read_unsubscribe,
    suback,
    unsuback,
)
from drivers.listener.properties import Value
from drivers.listener.publishing import Allows, PublishReader
from drivers.listener.reading import MalformedPacketError
from drivers.listener.run import Items, Release

MAX_FIXED_HEADER_BYTES = 5
MAX_CONNECT_BYTES = 320 << 10
"""Its five fields are at most 64 KiB each. Who is not let in yet sends nothing larger."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client has to keep to."""

    max_packet_bytes: int
    max_inflight: int
    max_keepalive_s: int = 3600
    max_waiting_bytes: int = 4 << 20
    max_topic_aliases: int = 32


class End(NamedTuple):
    """Why a connection is over. `code` is a reason code, SUCCESS where the client took its leave."""

    code: int
    what: str


_ANSWERED_BY = {1: Kind.PUBACK, 2: Kind.PUBREC}
"""By QoS."""
_FLAGS = {Kind.PUBREL: 2, Kind.SUBSCRIBE: 2, Kind.UNSUBSCRIBE: 2}
"""The four bits beside the kind, where they are not 0 (section 2.1.3)."""


class Connection:
    """What one client says, and what it is answered. See the module's docstring."""

    __slots__ = (
        "_answered",
        "_labels",
        "_limits",
        "_missing",
        "_publishes",
        "connect",
        "ended",
        "keep_alive_s",
        "output",
        "received",
        "rest",
        "subscribes_refused",
        "unanswered",
        "version",
        "waiting_bytes",
        "will",
    )

    def __init__(self, limits: Limits, labels: Labels) -> None:
        self._limits = limits
        self._labels = labels
        self._publishes: PublishReader | None = None
        self._answered = False
        self.rest: list[bytes] = []
        self._missing = 0
        self.output: list[bytes] = []
        self.version = V311
        self.keep_alive_s = 0
        """Silence of one and a half times as long means that the client is gone (MQTT 5, 3.1.2.10); 0: of any length does not."""
        self.connect: Connect | None = None
        self.received: Items = []
        self.unanswered = 0
        """Messages above QoS 0 that wait for their answer."""
        self.waiting_bytes = 0
        """What was received and is not durable yet takes in memory."""
        self.will: Will | None = None
        """What is to be published when the connection is over."""
        self.ended: End | None = None
        self.subscribes_refused = 0

    # Answers

    @property
    def accepted(self) -> bool:
        return self._publishes is not None

    @property
    def full(self) -> bool:
        """It has as much under way as it may: nothing more should be read of it. Under MQTT 5 it was told how many it may.

        A client that sends more all the same might be disconnected (MQTT 5, 4.9). But widespread ones (paho, mqtt.js) do,
        and would connect, send too much and be disconnected for ever.
        """
        limits = self._limits
        return self.unanswered >= limits.max_inflight or self.waiting_bytes >= limits.max_waiting_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes of packets that are not complete, or not read yet."""
        return sum(map(len, self.rest))

    def accept(self, allows: Allows, *, session_present: bool, **said: Value) -> None:
        """Let the client in. `said`: properties for the CONNACK under MQTT 5. Goes on with what came behind its CONNECT."""
        asked = self.connect
        assert asked is not None and not self._answered
        self._answered = True
        self.will = asked.will
        limits = self._limits
        self.keep_alive_s = asked.keep_alive_s
        if self.version == V5:
            if not 0 < asked.keep_alive_s <= limits.max_keepalive_s:
                self.keep_alive_s = said["server_keep_alive"] = limits.max_keepalive_s
            said |= {
                "receive_maximum": limits.max_inflight,
                "maximum_packet_size": limits.max_packet_bytes,
                "topic_alias_maximum": limits.max_topic_aliases,
                "wildcard_subscriptions": 0,
                "subscription_identifiers": 0,
                "shared_subscriptions": 0,
            }
        self.output.append(connack(self.version, Reason.SUCCESS, session_present=session_present, **said))
        self._publishes = PublishReader(self._labels, self.version, allows, limits.max_topic_aliases)
        self.resume()

    def refuse(self, reason: Reason, what: str) -> None:
        """Do not let the client in."""
        self._answered = True
        self.output.append(connack(self.version, reason))
        self.ended = End(reason, what)

    def acknowledge(self, items: Items) -> None:
        """`items`, of what was received, are on disk, or refused for good."""
        for item in items:
            if isinstance(item, Release):
                self._complete(item)
                continue
            self.waiting_bytes -= item.size_bytes
            if item.qos:
                self.unanswered -= len(item.packet_ids)
                self.output.append(answers(_ANSWERED_BY[item.qos], item.answered, item.refusal))

    def _complete(self, release: Release) -> None:
        """PUBCOMP, which says under MQTT 5 where there was nothing to release."""
        if self.version != V5 or not release.unknown:
            self.output.append(answers(Kind.PUBCOMP, release.packet_ids))
            return
        for packet_id in release.packet_ids:
            reason = Reason.PACKET_ID_NOT_FOUND if packet_id in release.unknown else Reason.SUCCESS
            self.output.append(answers(Kind.PUBCOMP, [packet_id], reason))

    def end(self, code: int, what: str) -> None:
        """End it, for a reason of ours."""
        if self.ended is None:
            self.ended = End(code, what)
            if self._publishes is not None and code:
                self.output.append(disconnect(self.version, code))
            elif not self._answered and self.connect is None and code == Reason.UNSUPPORTED_VERSION:
                self.output.append(connack(self.version, Reason.UNSUPPORTED_VERSION))

    def take_output(self) -> bytes:
        """What is to be written now."""
        output, self.output = self.output, []
        return b"".join(output) if len(output) != 1 else output[0]

    # Bytes

    def receive(self, data: bytes) -> None:
        """Take what came in. Does nothing once the connection is over."""
        if self.ended is not None:
            return
        if self._publishes is not None and not self.rest and self.unanswered < self._limits.max_inflight:
            # One message like the last is nearly all that most clients ever send.
            run = self._publishes.read_one(data)
            if run is not None:
                self.unanswered += 1
                self.waiting_bytes += run.size_bytes
                self.received.append(run)
                return
        if self.rest:
            self.rest.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = b"".join(self.rest)
            self.rest = []
        self._parse(data)

    def resume(self) -> None:
        """Go on with what was received and not looked at, because the connection was full or not accepted."""
        if self.rest and self._missing <= 0:
            self.receive(b"")

    def _parse(self, data: bytes) -> None:
        try:
            at = self._read(data)
        except MalformedPacketError as error:
            self._missing = 0
            self.end(error.code, str(error))
            return
        if at < len(data) and self.ended is None:
            self.rest = [data[at:]]

    def _read(self, data: bytes) -> int:
        """Read packet after packet. Returns where the first begins that is not read; `_missing` says what it lacks."""
        at, end = 0, len(data)
        self._missing = 0
        limit = self._limits.max_packet_bytes
        if self._publishes is None:
            limit = min(limit, MAX_CONNECT_BYTES)
        while at < end and self.ended is None and (self._publishes is not None or self.connect is None):
            body, length = at + 2, data[at + 1] if at + 1 < end else 0x80
            if length & 0x80:
                body, length = _long_length(data, at, end)
                if not body:
                    self._missing = 1
                    break
            stop = body + length
            if stop - at > limit:
                raise MalformedPacketError(Reason.PACKET_TOO_LARGE, f"a packet of {stop - at} bytes: at most {limit}")
            if stop > end:
                self._check_first(data[at])
                self._missing = stop - end
                break
            if data[at] & 0xF0 == 0x30 and self._publishes is not None:
                stop = self._publish(self._publishes, data, at, body, stop)
                if stop == at:
                    break
            else:
                self._packet(data[at], data[body:stop])
            at = stop
        return at

    def _publish(self, publishes: PublishReader, data: bytes, at: int, body: int, stop: int) -> int:
        """PUBLISHes from `at` on. Returns where they end: at `at` itself where there may be none now."""
        room = self._limits.max_inflight - self.unanswered
        if room <= 0 and data[at] & 0x06:
            return at
        run, stop = publishes.read(data, at, body, stop, room)
        if run.refusal and self.version != V5 and run.qos:
            # MQTT 3.1.1 has no answer but "it is safe", and it is not (3.3.5).
            raise MalformedPacketError(run.refusal, f"it may not publish on {run.label.topic[:60]!r}")
        self.unanswered += len(run.packet_ids)
        self.waiting_bytes += run.size_bytes
        self.received.append(run)
        return stop

    def _check_first(self, first: int) -> None:
        """Of a packet that is not complete: what can't become one is not waited for."""
        kind = first >> 4
        if (kind == Kind.CONNECT) != (self.connect is None):
            raise MalformedPacketError(Reason.PROTOCOL_ERROR, "the first packet, and it alone, has to be CONNECT")
        if kind != Kind.PUBLISH and first & 0x0F != _FLAGS.get(Kind(kind) if kind else Kind.CONNECT, 0):
            raise MalformedPacketError(Reason.MALFORMED_PACKET, f"a packet that begins with {first:#04x}")

    def _packet(self, first: int, body: bytes) -> None:
        self._check_first(first)
        kind = first >> 4
        version = self.version
        if kind == Kind.PINGREQ:
            if body:
                raise MalformedPacketError(Reason.MALFORMED_PACKET, "a PINGREQ with a body")
            self.output.append(PINGRESP)
        elif kind == Kind.PUBREL:
            self._release(read_pubrel(body, version))
        elif kind == Kind.SUBSCRIBE:
            asked = read_subscribe(body, version)
            self.subscribes_refused += 1
            self.output.append(suback(version, asked.packet_id, asked.filters))
        elif kind == Kind.UNSUBSCRIBE:
            asked = read_unsubscribe(body, version)
            self.output.append(unsuback(version, asked.packet_id, asked.filters))
        elif kind == Kind.DISCONNECT:
            self._leave(body)
        elif kind == Kind.CONNECT:
            self._ask(body)
        else:
            raise MalformedPacketError(Reason.PROTOCOL_ERROR, f"packet type {kind} is not for us")

    def _release(self, packet_id: int) -> None:
        last = self.received[-1] if self.received else None
        if isinstance(last, Release):
            last.packet_ids.append(packet_id)
        else:
            self.received.append(Release([packet_id]))

    def _ask(self, body: bytes) -> None:
        if len(body) > 6 and body[6] == V5:
            self.version = V5
        try:
            asked = read_connect(body)
            if asked.will is not None:
                self._labels.make(asked.will.topic, asked.will.properties)
        except MalformedPacketError as error:
            self.refuse(Reason(error.code), str(error))
            return
        self.connect = asked

    def _leave(self, body: bytes) -> None:
        said = read_disconnect(body, self.version)
        asked = self.connect
        assert asked is not None
        if said.session_expiry_s is not None:
            if said.session_expiry_s and not asked.session_expiry_s:
                raise MalformedPacketError(Reason.PROTOCOL_ERROR, "a session that was to end with the connection")
            self.connect = asked._replace(session_expiry_s=said.session_expiry_s)
        if not said.with_will:
            self.will = None
        self.ended = End(Reason.SUCCESS, "disconnected")


def _long_length(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Where the body begins and how long it is; (0, 0) where the fixed header is not complete (section 2.1.4)."""
    length = 0
    for place in range(1, MAX_FIXED_HEADER_BYTES):
        if at + place >= end:
            return 0, 0
        digit = data[at + place]
        length |= (digit & 0x7F) << 7 * (place - 1)
        if not digit & 0x80:
            return at + place + 1, length
    raise MalformedPacketError(Reason.MALFORMED_PACKET, "a length of more than four bytes")
