"""Which packet ids the broker may send again though we have their message on disk. Pure: no clock, no connection."""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Self

from drivers.contract import DriverError

DIGEST_BYTES = 4
"""Compared only with a message of the same packet id that is sent again, so 32 bits are plenty; they are in each commit."""
_FORMAT = 1
_HEAD = struct.Struct(">BII")


class Verdict(Enum):
    NEW = "new"
    """Store it."""
    DUPLICATE = "duplicate"
    """It is on disk: acknowledge it."""
    UNDER_WAY = "under way"
    """It came on this connection already and waits for its commit, whose PUBACK answers this one too."""


@dataclass(frozen=True, slots=True)
class SessionState:
    """What a source commits with its data: which session this is, what it subscribed, and the candidates."""

    session: str
    topics: tuple[str, ...] = ()
    candidates: Mapping[int, bytes] = field(default_factory=dict)
    """There may be tens of thousands, in each commit: nothing is done for one of them alone."""

    def to_bytes(self) -> bytes:
        described = json.dumps({"session": self.session, "topics": self.topics}).encode()
        packet_ids = _big_endian(array("H", self.candidates.keys()))
        head = _HEAD.pack(_FORMAT, len(described), len(packet_ids))
        return b"".join([head, described, packet_ids.tobytes(), *self.candidates.values()])

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Raises DriverError where `raw` was written by a newer program, or is damaged."""
        try:
            version, described_bytes, count = _HEAD.unpack_from(raw)
            start = _HEAD.size + described_bytes
            digests_at = start + 2 * count
            if version != _FORMAT or len(raw) != digests_at + DIGEST_BYTES * count:
                raise ValueError(f"format {version}, {len(raw)} bytes")
            described = json.loads(raw[_HEAD.size : start])
            packet_ids = _big_endian(array("H", raw[start:digests_at]))
            digests = [raw[at : at + DIGEST_BYTES] for at in range(digests_at, len(raw), DIGEST_BYTES)]
            return cls(
                str(described["session"]), tuple(described["topics"]), dict(zip(packet_ids, digests, strict=True))
            )
        except (struct.error, ValueError, KeyError, TypeError) as error:
            raise DriverError(
                f"the MQTT session state of this source can't be read ({error}): it was written by a newer version; "
                "install that one, or give the source another name"
            ) from error


def _big_endian(values: array[int]) -> array[int]:
    """To or from big endian."""
    if sys.byteorder == "little":
        values.byteswap()
    return values


class Redelivery:
    """One connection's view of packet ids: each is under way, acknowledged, or left from an earlier connection."""

    def __init__(self, candidates: Mapping[int, bytes] | None = None) -> None:
        """`candidates` are those committed by earlier connections of the same session; none in a new session."""
        self._earlier = dict(candidates or {})
        self._under_way: dict[int, bytes] = {}
        self._acknowledged: dict[int, bytes] = {}
        self._asked: set[int] | None = None

    def received(self, packet_id: int, dup: bool, digest: bytes) -> Verdict:
        """A PUBLISH came."""
        if self._under_way.get(packet_id) == digest and dup:
            return Verdict.UNDER_WAY
        known = self._acknowledged.get(packet_id, self._earlier.get(packet_id))
        self._forget(packet_id)
        self._under_way[packet_id] = digest
        return Verdict.DUPLICATE if dup and known == digest else Verdict.NEW

    def acknowledged(self, packet_ids: Iterable[int]) -> None:
        """PUBACKs were written; the messages are on disk."""
        for packet_id in packet_ids:
            digest = self._under_way.pop(packet_id, None)
            if digest is not None:
                self._acknowledged[packet_id] = digest

    @property
    def unproved(self) -> int:
        """PUBACKs written on this connection that no proof covers."""
        return len(self._acknowledged)

    @property
    def asking(self) -> bool:
        """A request for a proof is under way."""
        return self._asked is not None

    def ask(self, *, resent: bool) -> None:
        """A request goes out, behind all PUBACKs written so far.

        `resent`: the broker has had its time to send again what earlier connections left open.
        """
        assert self._asked is None, "one request at a time"
        self._asked = set(self._acknowledged)
        if resent:
            self._asked |= set(self._earlier)

    def answered(self) -> bool:
        """The answer came: what was acknowledged before the request can't come again. True if that was any."""
        asked, self._asked = self._asked or set(), None
        for packet_id in asked:
            self._acknowledged.pop(packet_id, None)
            self._earlier.pop(packet_id, None)
        return bool(asked)

    @property
    def left_from_earlier(self) -> int:
        return len(self._earlier)

    def candidates(self) -> dict[int, bytes]:
        """What would be candidates after a crash once all that was received so far is on disk."""
        return self._earlier | self._acknowledged | self._under_way

    def _forget(self, packet_id: int) -> None:
        self._earlier.pop(packet_id, None)
        self._acknowledged.pop(packet_id, None)
        if self._asked is not None:
            self._asked.discard(packet_id)
