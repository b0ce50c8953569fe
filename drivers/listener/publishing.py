"""Reads PUBLISH packets (section 3.3), many at a time: nearly all that a client sends looks like what it sent before."""

from __future__ import annotations

from collections.abc import Callable

from drivers.listener.labels import Labels
from drivers.listener.packets import V5, Reason
from drivers.listener.properties import OF_PUBLISH, Property, read_properties
from drivers.listener.reading import Cursor, MalformedPacketError
from drivers.listener.run import EVENT_BYTES, Label, Run

Allows = Callable[[str], bool]
"""Whether the client may publish on a topic."""

_NOTHING = b"\xff"
"""No packet begins with it."""


class PublishReader:
    """Of one connection. Keeps how the last PUBLISH began: what begins in the same way needs no second look."""

    __slots__ = (
        "_aliases",
        "_allows",
        "_begin",
        "_dup",
        "_id_at",
        "_label",
        "_labels",
        "_most_aliases",
        "_properties",
        "_qos",
        "_refusal",
        "_retain",
        "_size",
        "_version",
    )

    def __init__(self, labels: Labels, version: int, allows: Allows, most_aliases: int) -> None:
        self._labels = labels
        self._version = version
        self._allows = allows
        self._most_aliases = most_aliases
        self._aliases: dict[int, bytes] = {}
        self._begin = _NOTHING
        self._properties = b""
        self._size = 0
        self._qos = 0
        self._dup = self._retain = False
        self._label: Label | None = None
        self._refusal = 0
        self._id_at = 0

    def read_one(self, data: bytes) -> Run | None:
        """The PUBLISH above QoS 0 that `data` is, whole and alone, where it is like the last one and may be stored. None: `read`
        has to look at it."""
        if len(data) != self._size or not self._qos or self._refusal or not data.startswith(self._begin):
            return None
        id_at, properties = self._id_at, self._properties
        packet_id = data[id_at] << 8 | data[id_at + 1]
        if not packet_id or (properties and not data.startswith(properties, id_at + 2)):
            return None
        payload = data[id_at + 2 + len(properties) :]
        size_bytes = len(payload) + len(properties) + EVENT_BYTES
        assert self._label is not None
        return Run(self._label, self._qos, self._dup, self._retain, [payload], [packet_id], size_bytes)

    def read(self, data: bytes, at: int, body: int, stop: int, most: int) -> tuple[Run, int]:
        """The PUBLISH at `at`, whole in `data`, and those alike that follow it: at most `most`, and where they end.

        `body` and `stop` are where its fixed header ends, and it. Raises MalformedPacketError.
        """
        begin = self._begin
        if not data.startswith(begin, at):
            self._look(data, at, body, stop)
            begin = self._begin
        label, properties, size = self._label, self._properties, self._size
        assert label is not None
        qos = self._qos
        begins, between = len(begin), len(properties) + (2 if qos else 0)
        payload_at = begins + between
        payloads: list[bytes] = []
        packet_ids: list[int] = []
        end = len(data)
        if qos:
            while True:
                packet_id_at = at + begins
                if not data.startswith(properties, packet_id_at + 2):
                    if not payloads:
                        self._look(data, at, body, stop)
                        return self.read(data, at, body, stop, most)
                    break
                packet_ids.append(data[packet_id_at] << 8 | data[packet_id_at + 1])
                stop = at + size
                payloads.append(data[at + payload_at : stop])
                at = stop
                if len(payloads) >= most or at + size > end or not data.startswith(begin, at):
                    break
            if 0 in packet_ids:
                raise MalformedPacketError(Reason.PROTOCOL_ERROR, "a PUBLISH with packet id 0")
        else:
            while True:
                if not data.startswith(properties, at + begins):
                    if not payloads:
                        self._look(data, at, body, stop)
                        return self.read(data, at, body, stop, most)
                    break
                stop = at + size
                payloads.append(data[at + payload_at : stop])
                at = stop
                if at + size > end or not data.startswith(begin, at):
                    break
        size_bytes = sum(map(len, payloads)) + (EVENT_BYTES + len(properties)) * len(payloads)
        return Run(label, qos, self._dup, self._retain, payloads, packet_ids, size_bytes, self._refusal), at

    def _look(self, data: bytes, at: int, body: int, stop: int) -> None:
        """Look at one PUBLISH as a whole, and keep how it begins."""
        first = data[at]
        qos = first >> 1 & 3
        if qos == 3 or (first & 0x08 and not qos):
            raise MalformedPacketError(Reason.MALFORMED_PACKET, f"a PUBLISH with flags {first & 0x0F:#03x}")
        cursor = Cursor(data[body:stop])
        topic = cursor.binary()
        begin_end = stop - cursor.left
        if qos:
            cursor.number(2)
        properties = b""
        if self._version == V5:
            begins = stop - cursor.left
            cursor.take(cursor.variable())
            properties = data[begins : stop - cursor.left]
            topic = self._aliased(topic, properties)
        self._label = label = self._labels.get(topic, properties)
        self._refusal = label.refusal or (0 if self._allows(label.topic) else Reason.NOT_AUTHORIZED)
        self._qos, self._dup, self._retain = qos, bool(first & 0x08), bool(first & 0x01)
        self._begin, self._properties, self._size = data[at:begin_end], properties, stop - at
        self._id_at = begin_end - at

    def _aliased(self, topic: bytes, properties: bytes) -> bytes:
        """The topic that a topic alias stands for, or `topic`, which may become one (MQTT 5, 3.3.2.3.4)."""
        if len(properties) < 4:
            if not topic:
                raise MalformedPacketError(Reason.PROTOCOL_ERROR, "neither a topic nor a topic alias")
            return topic
        alias = read_properties(Cursor(properties), OF_PUBLISH).values.get(Property.TOPIC_ALIAS)
        if alias is None:
            if not topic:
                raise MalformedPacketError(Reason.PROTOCOL_ERROR, "neither a topic nor a topic alias")
            return topic
        assert isinstance(alias, int)
        if not 1 <= alias <= self._most_aliases:
            raise MalformedPacketError(Reason.TOPIC_ALIAS_INVALID, f"topic alias {alias}: 1 to {self._most_aliases}")
        if topic:
            self._aliases[alias] = topic
            return topic
        known = self._aliases.get(alias)
        if known is None:
            raise MalformedPacketError(Reason.PROTOCOL_ERROR, f"topic alias {alias} stands for nothing yet")
        return known
