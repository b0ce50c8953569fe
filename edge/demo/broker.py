"""A mosquitto of our own, for as long as the demo takes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from edge.demo.nodes import NodeError, free_port

START_TIMEOUT_S = 5.0
# Debian keeps it where a person's PATH does not reach.
_MORE_PLACES = "/usr/sbin:/usr/local/sbin"


def find_mosquitto() -> str | None:
    """The program on the PATH, or where Debian puts it."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=_MORE_PLACES)


class Broker:
    """mosquitto in `folder` on a loopback port. Raises NodeError where it does not start."""

    def __init__(self, program: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        config = folder / "mosquitto.conf"
        settings = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "max_queued_messages 0"]
        if os.geteuid() == 0:
            # Started as root it would become a user that can't read a temporary folder.
            settings.append("user root")
        config.write_text("\n".join([*settings, "max_inflight_messages 0", ""]), encoding="utf-8")
        log = folder / "mosquitto.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen([program, "-c", str(config)], stdout=output, stderr=output)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.close()
                said = log.read_text(encoding="utf-8", errors="replace")[-300:].strip()
                raise NodeError(f"{program} does not start: {said or 'it says nothing'}")
            time.sleep(0.02)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
