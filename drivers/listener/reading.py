"""MQTT's data representations (MQTT 5, section 1.5): numbers, text, bytes behind their length."""

from __future__ import annotations

import re

MALFORMED = 0x81
PROTOCOL_ERROR = 0x82
MAX_VARIABLE = 268_435_455

_FORBIDDEN = re.compile("[\0\ud800-\udfff]")


class MalformedPacketError(Exception):
    """A client does not keep to the protocol: its connection ends. `code` is MQTT 5's reason code."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(what)
        self.code = code


class Cursor:
    """Reads the body of a packet from its begin to its end. Every method raises MalformedPacketError where it ends before."""

    __slots__ = ("_at", "_raw")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._raw) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise MalformedPacketError(MALFORMED, f"the packet ends {count - self.left} bytes too early")
        self._at += count
        return self._raw[self._at - count : self._at]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def variable(self) -> int:
        """A variable byte integer (MQTT 5, 1.5.5)."""
        value = 0
        for place in range(4):
            digit = self.number(1)
            value |= (digit & 0x7F) << 7 * place
            if not digit & 0x80:
                return value
        raise MalformedPacketError(MALFORMED, "a length of more than four bytes")

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def text(self) -> str:
        return decoded(self.binary())

    def rest(self) -> bytes:
        return self.take(self.left)

    def end(self) -> None:
        """The packet must end here."""
        if self.left:
            raise MalformedPacketError(MALFORMED, f"{self.left} bytes behind the end of the packet")


def decoded(raw: bytes) -> str:
    """Text (MQTT 5, 1.5.4). Raises MalformedPacketError where it is no UTF-8, or holds what text must not hold."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise MalformedPacketError(MALFORMED, f"text that is no UTF-8: {raw[:20]!r}") from error
    if _FORBIDDEN.search(text):
        raise MalformedPacketError(MALFORMED, "text with the character U+0000")
    return text


def variable(value: int) -> bytes:
    """A variable byte integer."""
    made = bytearray()
    while True:
        value, digit = value >> 7, value & 0x7F
        made.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(made)


def utf8(text: str) -> bytes:
    """Text behind its length. It must be below 64 KiB."""
    raw = text.encode()
    return len(raw).to_bytes(2, "big") + raw
