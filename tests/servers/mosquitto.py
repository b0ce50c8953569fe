"""A real mosquitto on a free port of the loopback address, for as long as a test needs it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers.cache import ServerMissingError, debian_package

START_TIMEOUT_S = 10.0


def program() -> tuple[Path, dict[str, str]]:
    """mosquitto, and the environment to run it in. Raises ServerMissingError."""
    for folder in (None, "/usr/sbin:/usr/local/sbin"):
        found = shutil.which("mosquitto", path=folder)
        if found:
            return Path(found), dict(os.environ)
    return debian_package("mosquitto", "usr/sbin/mosquitto")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Mosquitto:
    """A broker in `folder`. `stop`, `kill` and `start` as often as wanted, always on the same port.

    Without `persistence` it forgets its sessions when stopped. `max_inflight` 0 is without a limit.
    """

    def __init__(
        self, folder: Path, *, persistence: bool = False, max_inflight: int = 0, settings: tuple[str, ...] = ()
    ) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
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
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self._folder / "mosquitto.log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Returns when it accepts connections."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path, environment = program()
        user = ("user root",) if os.geteuid() == 0 else ()
        file = self._folder / "mosquitto.conf"
        file.write_text("\n".join([f"listener {self.port} 127.0.0.1", *user, *self._settings, ""]), encoding="utf-8")
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([path, "-c", file], env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise ServerMissingError(f"mosquitto ({path}) does not start:\n{self.log[-2000:]}") from None
                time.sleep(0.02)

    def save(self) -> None:
        """Have it write its sessions now (SIGUSR1, mosquitto(8)). Returns when the file is there."""
        assert self._process is not None
        file = self._folder / "mosquitto.db"
        before_ns = file.stat().st_mtime_ns if file.exists() else 0
        self._process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not file.exists() or file.stat().st_mtime_ns == before_ns:
            if time.monotonic() > deadline:
                raise ServerMissingError(f"mosquitto does not save its sessions in {file}:\n{self.log[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """As a service manager stops it: with persistence it saves its sessions."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(timeout=10)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
