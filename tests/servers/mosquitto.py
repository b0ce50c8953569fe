"""A real mosquitto on a free port of the loopback address, for as long as a test needs it."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers.cache import ServerMissingError, debian_package
from tests.servers.process import START_TIMEOUT_S, ServerProcess


def program() -> tuple[Path, dict[str, str]]:
    """mosquitto, and the environment to run it in. Raises ServerMissingError."""
    for folder in (None, "/usr/sbin:/usr/local/sbin"):
        found = shutil.which("mosquitto", path=folder)
        if found:
            return Path(found), dict(os.environ)
    return debian_package("mosquitto", "usr/sbin/mosquitto")


class Mosquitto(ServerProcess):
    """A broker in `folder`. When stopped, not killed, it saves its sessions first, with persistence.

    Without `persistence` it forgets its sessions when stopped. `max_inflight` 0 is without a limit.
    """

    name = "mosquitto"

    def __init__(
        self, folder: Path, *, persistence: bool = False, max_inflight: int = 0, settings: tuple[str, ...] = ()
    ) -> None:
        super().__init__(folder)
        self._settings = (
            f"persistence {'true' if persistence else 'false'}",
            f"persistence_location {folder}/",
            f"max_inflight_messages {max_inflight}",
            "max_queued_messages 0",
            "allow_anonymous true",
            "set_tcp_nodelay true",
            "log_dest stderr",
            "log_type all",
            *settings,
        )

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def command(self) -> tuple[Sequence[str | Path], Mapping[str, str]]:
        path, environment = program()
        user = ("user root",) if os.geteuid() == 0 else ()
        file = self.folder / "mosquitto.conf"
        file.write_text("\n".join([f"listener {self.port} 127.0.0.1", *user, *self._settings, ""]), encoding="utf-8")
        return [path, "-c", file], environment

    def save(self) -> None:
        """Have it write its sessions now (SIGUSR1, mosquitto(8)). Returns when the file is there."""
        assert self._process is not None
        file = self.folder / "mosquitto.db"
        before_ns = file.stat().st_mtime_ns if file.exists() else 0
        self._process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not file.exists() or file.stat().st_mtime_ns == before_ns:
            if time.monotonic() > deadline:
                raise ServerMissingError(f"mosquitto does not save its sessions in {file}:\n{self.log[-2000:]}")
            time.sleep(0.02)
