"""What a client sent that is to be made durable, as the protocol hands it on and the session looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from zlib import crc32

from storage.model import Headers

EVENT_BYTES = 64
"""What an event waiting in memory takes beside its payload, roughly."""


@dataclass(frozen=True, slots=True)
class Label:
    """A topic and the MQTT 5 properties of messages on it, looked at once for all that share them.

    `refusal` is the reason code for what can't be stored at all, 0 where it can. `crc` is that of topic, type and headers.
    """

    topic: str
    crc: int
    stream: str = ""
    key: str = ""
    content_type: str = ""
    headers: Headers = ()
    retained_headers: Headers = ()
    refusal: int = 0


@dataclass(slots=True)
class Run:
    """Consecutive PUBLISHes of one client that share first byte, topic and properties.

    `packet_ids` are empty at QoS 0. `size_bytes` is what it takes in memory, properties included, roughly. `refusal` is the
    reason code with which all of it is answered and none of it stored. `answered` are the packet ids that get an answer,
    `upto` what the session is told then.
    """

    label: Label
    qos: int
    dup: bool
    retain: bool
    payloads: list[bytes]
    packet_ids: list[int]
    size_bytes: int
    refusal: int = 0
    answered: Sequence[int] = ()
    upto: int = 0

    @property
    def digests(self) -> list[int]:
        """CRC-32 of topic, properties and payload of each."""
        crc, payloads = self.label.crc, self.payloads
        if len(payloads) == 1:
            return [crc32(payloads[0], crc)]
        return [crc32(payload, crc) for payload in payloads]


@dataclass(slots=True)
class Release:
    """PUBRELs: the client will not send these packet ids again, and is told so (PUBCOMP) once that is on disk.

    `unknown` are those among them that the session knows nothing of.
    """

    packet_ids: list[int]
    unknown: Sequence[int] = field(default=())
    size_bytes: int = 0
    upto: int = 0


Items = list[Run | Release]
