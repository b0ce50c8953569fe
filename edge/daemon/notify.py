"""Telling systemd: the datagrams of sd_notify(3), which need no library."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends to the socket that NOTIFY_SOCKET names. Without one, and when it fails, nothing happens: telling a
    supervisor must not be able to stop what is supervised.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._status = ""

    @property
    def listening(self) -> bool:
        """Whether anybody is told."""
        return bool(self._address)

    def send(self, **fields: str) -> None:
        """One datagram of `NAME=value` lines."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        text = "\n".join(f"{name}={value}" for name, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(text.encode(), address)
        except OSError:
            return

    def ready(self, status: str) -> None:
        self.send(READY="1", STATUS=_line(status), MAINPID=str(os.getpid()))

    def status(self, status: str) -> None:
        """What `systemctl status` shows. Sent only when it changed."""
        if status != self._status:
            self._status = status
            self.send(STATUS=_line(status))

    def alive(self) -> None:
        self.send(WATCHDOG="1")

    def stopping(self) -> None:
        self.send(STOPPING="1")


def _line(text: str) -> str:
    return " ".join(text.split())
