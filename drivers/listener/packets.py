"""MQTT control packets as bytes: what clients send, read; what we answer, written. 3.1.1 (version 4) and 5.

PUBLISH has a module of its own (`drivers.listener.publishing`): it is what the listener spends its time with.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from drivers.listener import properties as p
from drivers.listener.properties import NONE, Properties, Property, Value, read_properties, write_properties
from drivers.listener.reading import MALFORMED, PROTOCOL_ERROR, Cursor, MalformedPacketError, variable

V311 = 4
V5 = 5


class Kind(IntEnum):
    """The first four bits of a packet."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


class Reason(IntEnum):
    """MQTT 5's reason codes (section 2.4), as far as we send them."""

    SUCCESS = 0x00
    DISCONNECT_WITH_WILL = 0x04
    NO_SUBSCRIPTION_EXISTED = 0x11
    MALFORMED_PACKET = MALFORMED
    PROTOCOL_ERROR = PROTOCOL_ERROR
    UNSUPPORTED_VERSION = 0x84
    CLIENT_ID_NOT_VALID = 0x85
    BAD_USER_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_ID_NOT_FOUND = 0x92
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    QUOTA_EXCEEDED = 0x97


_CONNACK_311 = {
    Reason.SUCCESS: 0,
    Reason.UNSUPPORTED_VERSION: 1,
    Reason.CLIENT_ID_NOT_VALID: 2,
    Reason.SERVER_UNAVAILABLE: 3,
    Reason.SERVER_BUSY: 3,
    Reason.QUOTA_EXCEEDED: 3,
    Reason.BAD_USER_OR_PASSWORD: 4,
    Reason.NOT_AUTHORIZED: 5,
}
"""CONNECT return codes of MQTT 3.1.1 (section 3.2.2.3). For any other reason the connection is closed without one."""


class Will(NamedTuple):
    """What is to be published when the connection is lost."""

    topic: bytes
    payload: bytes
    qos: int
    retain: bool
    properties: Properties


class Connect(NamedTuple):
    """A request to connect. `clean`: the session begins anew. `session_expiry_s` is MQTT 5's; 3.1.1 keeps one that is not
    clean for as long as we like."""

    version: int
    client_id: str
    clean: bool
    keep_alive_s: int
    will: Will | None
    username: str | None
    password: bytes | None
    session_expiry_s: int
    maximum_packet_bytes: int


NO_END = 0xFFFFFFFF
"""A session expiry that never comes."""


def read_connect(body: bytes) -> Connect:
    """MQTT 3.1.1 and 5, section 3.1. Raises MalformedPacketError."""
    cursor = Cursor(body)
    name = cursor.binary()
    version = cursor.number(1)
    if name != b"MQTT" or version not in (V311, V5):
        raise MalformedPacketError(
            Reason.UNSUPPORTED_VERSION, f"protocol {name[:8]!r}, version {version}: we speak 3.1.1 and 5"
        )
    flags = cursor.number(1)
    keep_alive_s = cursor.number(2)
    has_will, will_qos = bool(flags & 0x04), flags >> 3 & 3
    if flags & 0x01 or will_qos == 3 or (not has_will and flags & 0x38):
        raise MalformedPacketError(Reason.MALFORMED_PACKET, f"connect flags {flags:#04x}")
    if version == V311 and flags & 0x40 and not flags & 0x80:
        raise MalformedPacketError(Reason.MALFORMED_PACKET, "a password without a user name")
    asked = read_properties(cursor, p.OF_CONNECT) if version == V5 else NONE
    if asked.text(Property.AUTHENTICATION_METHOD):
        raise MalformedPacketError(Reason.BAD_AUTHENTICATION_METHOD, "enhanced authentication is not offered")
    client_id = cursor.text()
    will = None
    if has_will:
        described = read_properties(cursor, p.OF_WILL) if version == V5 else NONE
        topic = cursor.binary()
        will = Will(topic, cursor.binary(), will_qos, bool(flags & 0x20), described)
    username = cursor.text() if flags & 0x80 else None
    password = cursor.binary() if flags & 0x40 else None
    cursor.end()
    clean = bool(flags & 0x02)
    return Connect(
        version,
        client_id,
        clean,
        keep_alive_s,
        will,
        username,
        password,
        asked.number(Property.SESSION_EXPIRY) if version == V5 else (0 if clean else NO_END),
        asked.number(Property.MAXIMUM_PACKET_SIZE, NO_END),
    )


class Filters(NamedTuple):
    """A SUBSCRIBE or UNSUBSCRIBE: how many topic filters it names is all that its refusal needs."""

    packet_id: int
    filters: int


def read_subscribe(body: bytes, version: int) -> Filters:
    """Section 3.8. Raises MalformedPacketError."""
    cursor = Cursor(body)
    packet_id = _packet_id(cursor)
    if version == V5:
        read_properties(cursor, p.OF_SUBSCRIBE)
    count = 0
    while cursor.left:
        _filter(cursor)
        options = cursor.number(1)
        forbidden = 0xC0 if version == V5 else 0xFC
        if options & forbidden or options & 3 == 3 or options & 0x30 == 0x30:
            raise MalformedPacketError(Reason.MALFORMED_PACKET, f"subscription options {options:#04x}")
        count += 1
    return _filters(packet_id, count)


def read_unsubscribe(body: bytes, version: int) -> Filters:
    """Section 3.10. Raises MalformedPacketError."""
    cursor = Cursor(body)
    packet_id = _packet_id(cursor)
    if version == V5:
        read_properties(cursor, p.OF_UNSUBSCRIBE)
    count = 0
    while cursor.left:
        _filter(cursor)
        count += 1
    return _filters(packet_id, count)


def _filter(cursor: Cursor) -> None:
    if not cursor.text():
        raise MalformedPacketError(Reason.MALFORMED_PACKET, "an empty topic filter")


def _filters(packet_id: int, count: int) -> Filters:
    if not count:
        raise MalformedPacketError(Reason.PROTOCOL_ERROR, "no topic filter")
    return Filters(packet_id, count)


def read_pubrel(body: bytes, version: int) -> int:
    """The packet id (section 3.6). Raises MalformedPacketError."""
    cursor = Cursor(body)
    packet_id = _packet_id(cursor)
    if version == V5 and cursor.left:
        cursor.number(1)
        if cursor.left:
            read_properties(cursor, p.OF_ANSWER)
    cursor.end()
    return packet_id


class Disconnect(NamedTuple):
    """`with_will`: the will is to be published all the same. `session_expiry_s` None: as the CONNECT said."""

    with_will: bool = False
    session_expiry_s: int | None = None


def read_disconnect(body: bytes, version: int) -> Disconnect:
    """Section 3.14. Raises MalformedPacketError."""
    cursor = Cursor(body)
    if version == V311 or not body:
        cursor.end()
        return Disconnect()
    code = cursor.number(1)
    said = read_properties(cursor, p.OF_DISCONNECT) if cursor.left else NONE
    cursor.end()
    expiry = said.number(Property.SESSION_EXPIRY) if Property.SESSION_EXPIRY in said.values else None
    # Any code but 0x00 is one of an end that is not normal (MQTT 5, 3.1.2.5).
    return Disconnect(code != 0, expiry)


def _packet_id(cursor: Cursor) -> int:
    packet_id = cursor.number(2)
    if not packet_id:
        raise MalformedPacketError(Reason.PROTOCOL_ERROR, "packet id 0")
    return packet_id


# Writing

PINGRESP = bytes([Kind.PINGRESP << 4, 0])
_ANSWERS = {kind: kind << 28 | 2 << 16 for kind in (Kind.PUBACK, Kind.PUBREC, Kind.PUBCOMP)}


def connack(version: int, reason: Reason, *, session_present: bool = False, **said: Value) -> bytes:
    """Section 3.2. Empty where MQTT 3.1.1 has no code for `reason`. `said`: MQTT 5's properties, by name in lower case."""
    if version != V5:
        code = _CONNACK_311.get(reason)
        return b"" if code is None else bytes([Kind.CONNACK << 4, 2, session_present, code])
    body = bytes([session_present, reason]) + write_properties(_named(said))
    return bytes([Kind.CONNACK << 4]) + variable(len(body)) + body


def _named(said: Mapping[str, Value]) -> dict[Property, Value]:
    return {Property[name.upper()]: value for name, value in said.items()}


def answers(kind: Kind, packet_ids: Sequence[int], reason: int = 0) -> bytes:
    """PUBACK, PUBREC or PUBCOMP for each packet id, in order. A `reason` but success is MQTT 5's alone."""
    if reason:
        return b"".join(bytes([kind << 4, 3, packet_id >> 8, packet_id & 0xFF, reason]) for packet_id in packet_ids)
    if len(packet_ids) == 1:
        return (_ANSWERS[kind] | packet_ids[0]).to_bytes(4, "big")
    made = array("I", map(_ANSWERS[kind].__or__, packet_ids))
    if sys.byteorder == "little":
        made.byteswap()
    return made.tobytes()


def suback(version: int, packet_id: int, count: int) -> bytes:
    """All refused: nobody subscribes here (section 3.9)."""
    return _refusal(
        Kind.SUBACK, version, packet_id, bytes([Reason.TOPIC_FILTER_INVALID if version == V5 else 0x80]) * count
    )


def unsuback(version: int, packet_id: int, count: int) -> bytes:
    """There was no such subscription (section 3.11)."""
    codes = bytes([Reason.NO_SUBSCRIPTION_EXISTED]) * count if version == V5 else b""
    return _refusal(Kind.UNSUBACK, version, packet_id, codes)


def _refusal(kind: Kind, version: int, packet_id: int, codes: bytes) -> bytes:
    body = packet_id.to_bytes(2, "big") + (b"\0" if version == V5 else b"") + codes
    return bytes([kind << 4]) + variable(len(body)) + body


def disconnect(version: int, reason: int) -> bytes:
    """Why we end the connection; MQTT 3.1.1 has no such packet from a server."""
    return bytes([Kind.DISCONNECT << 4, 1, reason]) if version == V5 else b""
