"""A client that was let in: its connection, who it is, and its session."""

from __future__ import annotations

from drivers.listener.packets import Connect
from drivers.listener.peer import Peer
from drivers.listener.publishing import Allows
from drivers.listener.session import Session


class Client:
    """`session` is None until its CONNECT has come to its turn. `said` goes into its CONNACK."""

    __slots__ = ("allows", "asked", "expiry_s", "peer", "said", "session")

    def __init__(self, peer: Peer, asked: Connect, allows: Allows, said: dict[str, int | str]) -> None:
        self.peer = peer
        self.asked = asked
        self.allows = allows
        self.said = said
        self.session: Session | None = None
        self.expiry_s = asked.session_expiry_s
        """How long its session is to be kept after its connection."""

    def __str__(self) -> str:
        return f"client {self.asked.client_id[:60]!r} at {self.peer.address}"
