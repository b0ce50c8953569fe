"""Who is let in: by password, by certificate, or because nobody is asked; and as whom."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from typing import NamedTuple, cast

from drivers.listener.config import ListenerConfig
from drivers.listener.packets import Connect, Reason
from drivers.listener.passwords import Passwords, Verdict
from drivers.listener.peer import Peer
from drivers.listener.permissions import Allows, Permissions

_REFUSED = {
    Verdict.WRONG: (Reason.BAD_USER_OR_PASSWORD, "wrong user name or password"),
    Verdict.BUSY: (Reason.SERVER_BUSY, "too many passwords wait to be checked; it is to come again"),
}


_Subject = tuple[tuple[tuple[str, str], ...], ...]


class Refused(NamedTuple):
    reason: Reason
    what: str


class Admission:
    """`decide` answers at once, or says None: later, after a `step`."""

    def __init__(self, config: ListenerConfig, source: str, now_s: Callable[[], float]) -> None:
        """Raises DriverConfigError, and DeviceLostError where the file of passwords can't be used."""
        self._permissions = Permissions(config.allow, source)
        self._passwords = (
            None if config.passwords is None else Passwords(config.passwords, source, now_s, os.urandom(32))
        )
        self._certificates = config.client_ca is not None
        self._anonymous = config.allow_anonymous or not (self._passwords or self._certificates)

    def decide(self, asked: Connect, peer: Peer) -> Allows | Refused | None:
        """On which topics the client may publish, or why it is not let in."""
        user = None
        if self._passwords is not None and asked.username is not None:
            verdict = self._passwords.check(asked.username, asked.password or b"")
            if verdict is Verdict.LATER:
                return None
            if verdict in _REFUSED:
                return Refused(*_REFUSED[verdict])
            user = asked.username
        elif self._certificates:
            user = _common_name(peer)
            if user is None:
                return Refused(Reason.NOT_AUTHORIZED, "its certificate has no common name")
        elif not self._anonymous:
            return Refused(Reason.NOT_AUTHORIZED, "no user name; the configuration asks for one")
        allows = self._permissions.of(user, asked.client_id)
        if asked.will is not None and not allows(asked.will.topic.decode()):
            return Refused(Reason.NOT_AUTHORIZED, "it may not publish on the topic of its will")
        return allows

    def step(self) -> bool:
        """Check one password that waits, if it is time. True: who waits may be asked again."""
        return self._passwords is not None and self._passwords.step()

    @property
    def due_in_s(self) -> float | None:
        """When the next step is to be taken; None: nobody waits."""
        return None if self._passwords is None else self._passwords.due_in_s


def _common_name(peer: Peer) -> str | None:
    """Of the certificate that TLS has verified."""
    certificate = peer.sock.getpeercert() if isinstance(peer.sock, ssl.SSLSocket) else None
    subject = cast(_Subject, (certificate or {}).get("subject", ()))
    return next((name for names in subject for kind, name in names if kind == "commonName"), None)
