"""The sessions of all clients of one source: who has one, how long it is kept, and what is to be committed of it.

Each persistent session is a part of the source's cursor, named by a hash of the client id, which may be of any length (up
to 65,535 bytes) and of any characters.

At most `limit` persistent sessions; above it the one that was not seen for longest is forgotten and counted. MQTT 5
sessions expire after the time that they asked for, counted while we run: from our start at the earliest.

A forgotten session's part is removed, and may be there again after a repair of the engine. That is a session which has not
expired yet, as it was. It could only harm a client that has begun anew meanwhile, and whoever begins anew replaces the
part: a new session is in the next delivery's `parts`, which ought to be durable before its CONNACK leaves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from drivers.contract import MAX_DELIVERY_BYTES, MAX_PARTS
from drivers.listener.session import MAX_INFLIGHT, Session, SessionError

NEVER_EXPIRES = 0xFFFFFFFF
"""A session expiry in seconds (MQTT 5, 3.1.2.11.2); that of every persistent session of 3.1.1."""

MAX_CHANGED_BYTES = MAX_DELIVERY_BYTES // 2
"""Of sessions in one delivery, roughly: what the `CLIENTS_PER_LOOK` next ones add must fit too."""
CLIENTS_PER_LOOK = 64


def part_name(client_id: str) -> str:
    """The name of a session's part: 32 characters for a client id of any length (up to 65,535 bytes) and content."""
    return hashlib.blake2b(client_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Sessions:
    """All sessions of one source. Times are monotonic seconds, given by the caller."""

    def __init__(self, parts: Mapping[str, bytes], now_s: float, *, max_inflight: int, limit: int = MAX_PARTS) -> None:
        """Go on from what was committed. Raises DriverError."""
        assert 1 <= max_inflight <= MAX_INFLIGHT, max_inflight
        assert 1 <= limit <= MAX_PARTS, limit
        self._limit = limit
        self._max_inflight = max_inflight
        self._dirty: set[Session] = set()
        self._removed: set[str] = set()
        self._seen = 0
        self.forgotten = 0
        """Sessions that the limit took."""
        # The one not seen for longest first.
        self._persistent: dict[str, Session] = {}
        loaded = []
        for name, raw in parts.items():
            session = Session(name, max_inflight, self._dirty)
            session.load(raw)
            session.expires_s = now_s + session.expiry_s
            loaded.append(session)
        for session in sorted(loaded, key=lambda each: each.seen):
            self._persistent[session.name] = session
            self._seen = session.seen
        while len(self._persistent) > limit:
            self._forget_one()

    def __len__(self) -> int:
        """The persistent ones."""
        return len(self._persistent)

    def connect(self, client_id: str, *, clean_start: bool, expiry_s: int) -> tuple[Session, bool]:
        """A client has connected; an earlier connection of it has been ended before. The session, and "session present".

        Raises SessionError where all sessions that there may be are connected.
        """
        name = part_name(client_id)
        session = self._persistent.pop(name, None)
        present = session is not None and not clean_start
        if session is not None and (clean_start or not expiry_s):
            self._remove(name)
        if session is None or clean_start:
            session = Session(name, self._max_inflight, self._dirty)
        if expiry_s:
            while len(self._persistent) >= self._limit:
                self._forget_one()
            self._keep(session)
            if not present or session.expiry_s != expiry_s:
                self._dirty.add(session)
        session.begin(expiry_s)
        return session, present

    def disconnect(self, session: Session, now_s: float, expiry_s: int | None = None) -> None:
        """Its connection has ended. `expiry_s`: as a DISCONNECT of MQTT 5 changed it."""
        session.connected = False
        if self._persistent.get(session.name) is not session:
            return
        if expiry_s is not None and expiry_s != session.expiry_s:
            session.expiry_s = expiry_s
            self._dirty.add(session)
        session.expires_s = now_s + session.expiry_s
        if session.persistent:
            self._keep(session)
        else:
            self._remove(session.name)

    def expire(self, now_s: float) -> None:
        """Remove the sessions whose time is over: one step, to be taken every second or so."""
        over = [
            name
            for name, session in self._persistent.items()
            if session.expires_s <= now_s and not session.connected and session.expiry_s != NEVER_EXPIRES
        ]
        for name in over:
            self._remove(name)

    @property
    def full(self) -> bool:
        """What has changed is as much as one delivery should carry. It takes a while to find out: not to be asked each time."""
        return sum(session.size_bytes for session in self._dirty) > MAX_CHANGED_BYTES

    def parts(self) -> dict[str, bytes]:
        """What has changed since the last call, to be committed with the data that was received until now."""
        parts = dict.fromkeys(self._removed, b"")
        for session in self._dirty:
            if self._persistent.get(session.name) is session:
                parts[session.name] = session.state()
        self._dirty.clear()
        self._removed.clear()
        return parts

    def _keep(self, session: Session) -> None:
        self._seen += 1
        session.seen = self._seen
        self._persistent.pop(session.name, None)
        self._persistent[session.name] = session

    def _remove(self, name: str) -> None:
        self._persistent.pop(name, None)
        self._removed.add(name)

    def _forget_one(self) -> None:
        for name, session in self._persistent.items():
            if not session.connected:
                self._remove(name)
                self.forgotten += 1
                return
        raise SessionError(
            f"{len(self._persistent)} clients with a persistent session are connected: there may be no more"
        )
