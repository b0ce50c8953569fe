"""Topics and properties looked at once: is it a topic, where do its messages go, what do they carry along."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from zlib import crc32

from drivers.listener.packets import Reason
from drivers.listener.properties import NONE, OF_PUBLISH, Properties, Property, read_properties
from drivers.listener.reading import Cursor, MalformedPacketError, decoded
from drivers.listener.run import Label
from drivers.outbox import MAX_STREAMS
from storage.errors import StorageError
from storage.model import MAX_KEY_BYTES, Headers, StreamConfig, check_new_stream

CACHED = 8192
MAX_CACHED_BYTES = 1024
"""Of topic and properties: longer ones are looked at each time."""
MAX_CONTENT_TYPE_CHARACTERS = 255
MAX_USER_PROPERTIES = 200
USER = "mqtt.user."
"""Before the name of a user property in a header's."""
MAX_NAME_BYTES = MAX_KEY_BYTES - len(USER)
"""Of a user property."""

Route = Callable[[str], tuple[str, str]]
"""From a topic to its stream and key."""


class Labels:
    """Makes labels, and remembers the newest."""

    def __init__(self, route: Route, content_type: str = "") -> None:
        self._route = route
        self._content_type = content_type
        self._streams: set[str] = set()
        self._cached = lru_cache(maxsize=CACHED)(self._make)

    def get(self, topic: bytes, properties: bytes = b"") -> Label:
        """The label for a topic and properties, as they are on the wire, their length before them; none: 3.1.1.

        Raises MalformedPacketError where it is no topic name, or the properties are not those of a PUBLISH.
        """
        if len(topic) + len(properties) > MAX_CACHED_BYTES:
            return self._make(topic, properties)
        return self._cached(topic, properties)

    def _make(self, topic: bytes, raw: bytes) -> Label:
        cursor = Cursor(raw)
        found = read_properties(cursor, OF_PUBLISH) if raw else NONE
        return self.make(topic, found)

    def make(self, topic: bytes, found: Properties) -> Label:
        """A label that is not remembered. Raises MalformedPacketError where `topic` is no topic name."""
        name = decoded(topic)
        if not name or "+" in name or "#" in name:
            raise MalformedPacketError(Reason.TOPIC_NAME_INVALID, f"{name[:60]!r} is no topic name")
        stream, key = self._route(name)
        headers = [("mqtt.topic", topic)]
        for which, header in (
            (Property.RESPONSE_TOPIC, "response_topic"),
            (Property.CORRELATION_DATA, "correlation_data"),
        ):
            if which in found.values:
                value = found.values[which]
                headers.append((f"mqtt.{header}", value.encode() if isinstance(value, str) else bytes(value)))
        headers += [(f"{USER}{user}", value.encode()) for user, value in found.user]
        content_type = found.text(Property.CONTENT_TYPE)
        wanted = tuple(headers)
        return Label(
            name,
            _crc(content_type, wanted),
            stream,
            key,
            content_type or self._content_type,
            wanted,
            (wanted[0], ("mqtt.retain", b"1"), *wanted[1:]),
            self._refusal(stream, key, content_type, found),
        )

    def _refusal(self, stream: str, key: str, content_type: str, found: Properties) -> int:
        """Why nothing of it can be stored, 0 where it can."""
        try:
            check_new_stream(stream, StreamConfig())
        except StorageError:
            return Reason.TOPIC_NAME_INVALID
        if len(key.encode()) > MAX_KEY_BYTES:
            return Reason.TOPIC_NAME_INVALID
        too_much = len(content_type) > MAX_CONTENT_TYPE_CHARACTERS or len(found.user) > MAX_USER_PROPERTIES
        if too_much or any(len(name.encode()) > MAX_NAME_BYTES for name, _ in found.user):
            return Reason.QUOTA_EXCEEDED
        if stream not in self._streams and len(self._streams) >= MAX_STREAMS:
            return Reason.QUOTA_EXCEEDED
        self._streams.add(stream)
        return 0


def _crc(content_type: str, headers: Headers) -> int:
    """Of what a client repeats unchanged: a message that is sent again on another connection may not have its topic alias,
    and may expire earlier."""
    crc = crc32(content_type.encode())
    for name, value in headers:
        crc = crc32(value, crc32(b"%s:%d:" % (name.encode(), len(value)), crc))
    return crc
