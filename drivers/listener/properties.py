"""MQTT 5 properties (section 2.2.2): which there are, where each may be, and how they are read and written."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from drivers.listener.reading import MALFORMED, PROTOCOL_ERROR, Cursor, MalformedPacketError, utf8, variable

Value = int | bytes | str


class Property(IntEnum):
    PAYLOAD_FORMAT = 0x01
    MESSAGE_EXPIRY = 0x02
    CONTENT_TYPE = 0x03
    RESPONSE_TOPIC = 0x08
    CORRELATION_DATA = 0x09
    SUBSCRIPTION_IDENTIFIER = 0x0B
    SESSION_EXPIRY = 0x11
    ASSIGNED_CLIENT_ID = 0x12
    SERVER_KEEP_ALIVE = 0x13
    AUTHENTICATION_METHOD = 0x15
    AUTHENTICATION_DATA = 0x16
    REQUEST_PROBLEM_INFORMATION = 0x17
    WILL_DELAY = 0x18
    REQUEST_RESPONSE_INFORMATION = 0x19
    REASON_STRING = 0x1F
    RECEIVE_MAXIMUM = 0x21
    TOPIC_ALIAS_MAXIMUM = 0x22
    TOPIC_ALIAS = 0x23
    USER = 0x26
    MAXIMUM_PACKET_SIZE = 0x27
    WILDCARD_SUBSCRIPTIONS = 0x28
    SUBSCRIPTION_IDENTIFIERS = 0x29
    SHARED_SUBSCRIPTIONS = 0x2A


BYTE, TWO_BYTES, FOUR_BYTES, VARIABLE, BINARY, TEXT, PAIR = range(7)

_KINDS = {
    Property.PAYLOAD_FORMAT: BYTE,
    Property.MESSAGE_EXPIRY: FOUR_BYTES,
    Property.CONTENT_TYPE: TEXT,
    Property.RESPONSE_TOPIC: TEXT,
    Property.CORRELATION_DATA: BINARY,
    Property.SUBSCRIPTION_IDENTIFIER: VARIABLE,
    Property.SESSION_EXPIRY: FOUR_BYTES,
    Property.ASSIGNED_CLIENT_ID: TEXT,
    Property.SERVER_KEEP_ALIVE: TWO_BYTES,
    Property.AUTHENTICATION_METHOD: TEXT,
    Property.AUTHENTICATION_DATA: BINARY,
    Property.REQUEST_PROBLEM_INFORMATION: BYTE,
    Property.WILL_DELAY: FOUR_BYTES,
    Property.REQUEST_RESPONSE_INFORMATION: BYTE,
    Property.REASON_STRING: TEXT,
    Property.RECEIVE_MAXIMUM: TWO_BYTES,
    Property.TOPIC_ALIAS_MAXIMUM: TWO_BYTES,
    Property.TOPIC_ALIAS: TWO_BYTES,
    Property.USER: PAIR,
    Property.MAXIMUM_PACKET_SIZE: FOUR_BYTES,
    Property.WILDCARD_SUBSCRIPTIONS: BYTE,
    Property.SUBSCRIPTION_IDENTIFIERS: BYTE,
    Property.SHARED_SUBSCRIPTIONS: BYTE,
}
_BOOLEAN = {Property.PAYLOAD_FORMAT, Property.REQUEST_PROBLEM_INFORMATION, Property.REQUEST_RESPONSE_INFORMATION}
_NOT_ZERO = {Property.RECEIVE_MAXIMUM, Property.MAXIMUM_PACKET_SIZE, Property.SUBSCRIPTION_IDENTIFIER}

OF_MESSAGE = frozenset(
    {
        Property.PAYLOAD_FORMAT,
        Property.MESSAGE_EXPIRY,
        Property.CONTENT_TYPE,
        Property.RESPONSE_TOPIC,
        Property.CORRELATION_DATA,
        Property.USER,
    }
)
OF_PUBLISH = OF_MESSAGE | {Property.TOPIC_ALIAS}
OF_WILL = OF_MESSAGE | {Property.WILL_DELAY}
OF_CONNECT = frozenset(
    {
        Property.SESSION_EXPIRY,
        Property.RECEIVE_MAXIMUM,
        Property.MAXIMUM_PACKET_SIZE,
        Property.TOPIC_ALIAS_MAXIMUM,
        Property.REQUEST_RESPONSE_INFORMATION,
        Property.REQUEST_PROBLEM_INFORMATION,
        Property.USER,
        Property.AUTHENTICATION_METHOD,
        Property.AUTHENTICATION_DATA,
    }
)
OF_ANSWER = frozenset({Property.REASON_STRING, Property.USER})
OF_DISCONNECT = OF_ANSWER | {Property.SESSION_EXPIRY}
OF_SUBSCRIBE = frozenset({Property.SUBSCRIPTION_IDENTIFIER, Property.USER})
OF_UNSUBSCRIBE = frozenset({Property.USER})


class Properties(NamedTuple):
    """What a packet carries: each property once at most, and the user's pairs in their order."""

    values: Mapping[Property, Value] = {}
    user: tuple[tuple[str, str], ...] = ()

    def number(self, which: Property, otherwise: int = 0) -> int:
        value = self.values.get(which, otherwise)
        assert isinstance(value, int)
        return value

    def text(self, which: Property) -> str:
        value = self.values.get(which, "")
        assert isinstance(value, str)
        return value

    def binary(self, which: Property) -> bytes:
        value = self.values.get(which, b"")
        assert isinstance(value, bytes)
        return value


NONE = Properties()


def read_properties(cursor: Cursor, allowed: frozenset[Property]) -> Properties:
    """The properties at `cursor`, which is moved behind them. Raises MalformedPacketError."""
    length = cursor.variable()
    if not length:
        return NONE
    inner = Cursor(cursor.take(length))
    values: dict[Property, Value] = {}
    user: list[tuple[str, str]] = []
    while inner.left:
        number = inner.variable()
        which = _KNOWN.get(number)
        if which is None or which not in allowed:
            raise MalformedPacketError(MALFORMED if which is None else PROTOCOL_ERROR, f"property {number:#04x} here")
        if which is Property.USER:
            user.append((inner.text(), inner.text()))
            continue
        if which in values:
            raise MalformedPacketError(PROTOCOL_ERROR, f"property {which.name} twice")
        value = _read(inner, _KINDS[which])
        if (which in _BOOLEAN and value not in (0, 1)) or (which in _NOT_ZERO and value == 0):
            raise MalformedPacketError(PROTOCOL_ERROR, f"property {which.name} is {value!r}")
        values[which] = value
    return Properties(values, tuple(user))


_KNOWN = {int(which): which for which in Property}


def _read(cursor: Cursor, kind: int) -> Value:
    if kind == BYTE:
        return cursor.number(1)
    if kind == TWO_BYTES:
        return cursor.number(2)
    if kind == FOUR_BYTES:
        return cursor.number(4)
    if kind == VARIABLE:
        return cursor.variable()
    return cursor.binary() if kind == BINARY else cursor.text()


def write_properties(values: Mapping[Property, Value]) -> bytes:
    """The length and what is in `values`."""
    made = b"".join(bytes([which]) + _write(value, _KINDS[which]) for which, value in values.items())
    return variable(len(made)) + made


def _write(value: Value, kind: int) -> bytes:
    if isinstance(value, int):
        return value.to_bytes({BYTE: 1, TWO_BYTES: 2, FOUR_BYTES: 4}[kind], "big")
    return utf8(value) if isinstance(value, str) else len(value).to_bytes(2, "big") + value
