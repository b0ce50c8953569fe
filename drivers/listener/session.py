"""What one client's session remembers, so that a message sent again is recognised. Pure: no clock, no connection.

Words
    A *persistent* session outlives its connection: 3.1.1 clean_session = 0, MQTT 5 session expiry above 0. What it
    remembers is a part of the source's cursor, committed in the same write as the messages. Of any other session it is
    kept for as long as the connection lasts.
    *Under way*: taken in, and in a delivery that is not durable yet.

Answers
    PUBACK, PUBREC and PUBCOMP leave only once everything that the driver took in before them is durable, in the order in
    which the packets came (MQTT 3.1.1, 4.6). So what was taken over an earlier connection and is under way needs no rule
    of its own: it is recognised like what is on disk, and its answer waits for it.

QoS 1
    The packet id and a digest of the newest `max_inflight` messages, at least, the newest entry of an id being the one
    that counts. A PUBLISH with DUP whose id and digest are there is a duplicate: not stored, and acknowledged, but for
    one that is under way on this very connection, whose PUBACK answers both (a second one could be taken for the answer
    to the next message of that id). Without DUP it is new: the client had its PUBACK before it used the id again
    (MQTT 3.1.1, 2.3.1; MQTT 5, 2.2.1), or it has forgotten everything in a crash. With DUP and not there it is new too:
    the connection was lost before it was stored.

QoS 2
    The packet id and digest of what has come and was not released by a PUBREL, at most 5,000 of a client: one that leaves
    more open breaks 4.3.3 and is disconnected. A PUBLISH with DUP whose id and digest are there is a duplicate and gets
    its PUBREC again. Without DUP it is new: the client has lost its state, or breaks 3.3.1.1. PUBREL removes the id and
    gets a PUBCOMP, also where the id is not known (3.1.1: 4.3.3; 5: with reason 0x92). The PUBCOMP, too, waits for the
    commit that holds the removal. Were it sent before, the client might use the id at once for an equal message; that
    first sending comes without DUP, but if we are killed before it is stored, it comes again with DUP, and the entry that
    we still had on disk would make a duplicate of it.

Refused
    What the store refuses for good after it was taken in (its stream was sealed meanwhile) is forgotten: its packet id is
    free, and it is new if it is sent again.

How far it goes
    1. QoS 1 has no third packet, so there it can't be told whether a PUBACK arrived. A client that uses a packet id again
       for a message equal byte for byte, whose first sending is lost in a crash of ours, repeats it with DUP, and it is
       taken for the one before. Clients that count packet ids up (paho, mosquitto) come back to an id after 65,535
       messages, and are far outside of what is remembered. Where equal readings matter under one packet id: QoS 2.
    2. A client with more than `max_inflight` QoS 1 messages unacknowledged (more than MQTT 5 told it, or under 3.1.1) repeats
       some that are not remembered any more, and these are stored twice.
    3. A client without a persistent session that repeats with DUP on a new connection is believed: stored, and counted as
       `repeats`. A reading that is there twice can be found; one that is missing can't.

On disk (little endian)
    format u8 = 1, expiry u32 (s), seen u64, count of QoS 1 u16, of QoS 2 u16; then of each the ids (u16) and the digests
    (u32). `seen` orders sessions by when they were last seen (`drivers.listener.sessions`).
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple, Protocol

from drivers.contract import DriverError

MAX_INFLIGHT = 5_000
"""The most that `max_inflight` may be: a part has 64 KiB."""
MAX_UNRELEASED = 5_000
_FORMAT = 1
_HEAD = struct.Struct("<BIQHH")


class SessionError(DriverError):
    """A session can't go on, or can't begin: the client is disconnected."""


class Run(Protocol):
    """Consecutive PUBLISHes of one QoS above 0, all with DUP or all without. `digests`: 32 bits of each."""

    @property
    def qos(self) -> int: ...

    @property
    def dup(self) -> bool: ...

    @property
    def packet_ids(self) -> Sequence[int]: ...

    @property
    def digests(self) -> Sequence[int]: ...


class Taken(NamedTuple):
    """What becomes of a run."""

    stored: Sequence[int] | None
    """Which messages are to be stored, as indices into the run; None: all."""
    answered: Sequence[int]
    """Packet ids to be answered for, in order."""
    upto: int
    """For `Session.answered`, once the answers have been written."""
    duplicates: int = 0
    repeats: int = 0


class Session:
    """One client's. `expiry_s` 0: it ends with the connection."""

    def __init__(self, name: str, max_inflight: int, dirty: set[Session]) -> None:
        self.name = name
        self.expiry_s = 0
        self.connected = False
        self.seen = 0
        self.expires_s = 0.0
        self._max_inflight = max_inflight
        self._dirty = dirty
        # The newest QoS 1 messages. `_total` counts all that were ever appended.
        self._ids = array("H")
        self._digests = array("I")
        self._total = 0
        self._answered_upto = 0
        self._unreleased: dict[int, int] = {}

    @property
    def persistent(self) -> bool:
        return self.expiry_s > 0

    def begin(self, expiry_s: int) -> None:
        """A connection begins. What is remembered came over earlier ones."""
        self.connected = True
        self.expiry_s = expiry_s
        self._answered_upto = self._total

    def received_new(self, run: Run) -> int:
        """A run of QoS 1 without DUP was taken in, which no client repeats: all of it is new. What `Taken.upto` is."""
        if self.expiry_s:
            self._dirty.add(self)
        self._remember(1, run.packet_ids, run.digests)
        return self._total

    def received(self, run: Run) -> Taken:
        """A run was taken in. Raises SessionError where the client leaves too much open."""
        if run.qos == 2:
            self._check_unreleased(run.packet_ids)
        if self.expiry_s:
            self._dirty.add(self)
        if run.dup:
            return self._sort_out(run)
        self._remember(run.qos, run.packet_ids, run.digests)
        return Taken(None, run.packet_ids, self._total)

    def forget(self, run: Run) -> None:
        """A run that was taken in is not on disk, and never will be: if it is sent again, it is new. Its packet ids are free
        (MQTT 5, 4.3.3)."""
        if self.expiry_s:
            self._dirty.add(self)
        for packet_id, digest in zip(run.packet_ids, run.digests, strict=True):
            if run.qos == 2:
                if self._unreleased.get(packet_id) == digest:
                    del self._unreleased[packet_id]
            elif (at := self._find(packet_id)) is not None and self._digests[at] == digest:
                # Others are counted from the end: it stays in its place, as one that nothing is equal to.
                self._digests[at] ^= 0xFFFFFFFF

    def answered(self, upto: int) -> None:
        """The answers to a run have been written; those to all runs before it too."""
        self._answered_upto = max(self._answered_upto, upto)

    def released(self, packet_ids: Sequence[int]) -> list[int]:
        """PUBRELs came. Their PUBCOMPs leave like any other answer. Returns the ids that were not known."""
        unknown = [packet_id for packet_id in packet_ids if self._unreleased.pop(packet_id, None) is None]
        if self.persistent and len(unknown) < len(packet_ids):
            self._dirty.add(self)
        return unknown

    def _sort_out(self, run: Run) -> Taken:
        """With DUP: each is looked up."""
        stored: list[int] = []
        answered: list[int] = []
        for index, (packet_id, digest) in enumerate(zip(run.packet_ids, run.digests, strict=True)):
            if run.qos == 2:
                known, answer = self._unreleased.get(packet_id) == digest, True
            else:
                at = self._find(packet_id)
                known = at is not None and self._digests[at] == digest
                oldest = self._total - len(self._ids)
                answer = at is None or not known or oldest + at < self._answered_upto
            if not known:
                self._remember(run.qos, (packet_id,), (digest,))
                stored.append(index)
            if answer:
                answered.append(packet_id)
        repeats = 0 if self.persistent else len(stored)
        return Taken(stored, answered, self._total, len(run.packet_ids) - len(stored), repeats)

    def _remember(self, qos: int, packet_ids: Sequence[int], of: Sequence[int]) -> None:
        if qos == 2:
            self._unreleased.update(zip(packet_ids, of, strict=True))
            return
        ids = self._ids
        ids.extend(packet_ids)
        self._digests.extend(of)
        self._total += len(packet_ids)
        # Twice as many, so that it is not cut with every run.
        if len(ids) > 2 * self._max_inflight:
            surplus = len(ids) - self._max_inflight
            del ids[:surplus]
            del self._digests[:surplus]

    def _find(self, packet_id: int) -> int | None:
        """Where the newest entry of `packet_id` stands."""
        ids, wanted = self._ids.tobytes(), array("H", [packet_id]).tobytes()
        at = ids.rfind(wanted)
        while at % 2 == 1 and at > 0:
            at = ids.rfind(wanted, 0, at + 1)
        return at // 2 if at >= 0 else None

    def _check_unreleased(self, packet_ids: Sequence[int]) -> None:
        known = self._unreleased
        if len(known) + len(packet_ids) > MAX_UNRELEASED and len(known.keys() | set(packet_ids)) > MAX_UNRELEASED:
            raise SessionError(
                f"the client leaves more than {MAX_UNRELEASED} QoS 2 messages without their PUBREL: it breaks MQTT 4.3.3, "
                "mend it or use QoS 1"
            )

    @property
    def size_bytes(self) -> int:
        """Of the `state`."""
        return _HEAD.size + 6 * (min(len(self._ids), self._max_inflight) + len(self._unreleased))

    def state(self) -> bytes:
        """What is to be committed with all that was received so far."""
        newest = self._max_inflight
        ids, unreleased = self._ids[-newest:], self._unreleased
        pieces = [
            _HEAD.pack(_FORMAT, self.expiry_s, self.seen, len(ids), len(unreleased)),
            _little_endian(ids),
            _little_endian(self._digests[-newest:]),
        ]
        if unreleased:
            pieces += [
                _little_endian(array("H", unreleased.keys())),
                _little_endian(array("I", unreleased.values())),
            ]
        return b"".join(pieces)

    def load(self, raw: bytes) -> None:
        """Take over a `state`. Raises DriverError where it was written by a newer program, or is damaged."""
        try:
            version, self.expiry_s, self.seen, count, unreleased = _HEAD.unpack_from(raw)
        except struct.error:
            version = count = unreleased = 0
        if version != _FORMAT or len(raw) != _HEAD.size + 6 * (count + unreleased):
            raise DriverError(
                f"an MQTT session of this source can't be read (format {version}, {len(raw)} bytes): it was written by a "
                "newer version; install that one, or give the source another name"
            )
        ends = list(accumulate((2 * count, 4 * count, 2 * unreleased, 4 * unreleased), initial=_HEAD.size))
        kinds = zip("HIHI", pairwise(ends), strict=True)
        self._ids, self._digests, ids, of_ids = (_from_little_endian(kind, raw[a:b]) for kind, (a, b) in kinds)
        self._total = count
        self._unreleased = dict(zip(ids, of_ids, strict=True))


def _little_endian(values: array[int]) -> bytes:
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _from_little_endian(kind: str, raw: bytes) -> array[int]:
    values = array(kind, raw)
    if sys.byteorder == "big":
        values.byteswap()
    return values
