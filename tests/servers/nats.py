"""A real NATS server with JetStream and MQTT: a broker that can be told to acknowledge only after an fsync."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers.cache import FETCH_TIMEOUT_S, ServerMissingError, cache_dir, locked
from tests.servers.process import ServerProcess, free_port

VERSION = "v2.15.2"
MODULE = "github.com/nats-io/nats-server/v2"


def program() -> Path:
    """nats-server, built by Go into the cache when it is not there. Raises ServerMissingError.

    One on the PATH is not taken: distributions have versions that know no `sync_interval: always`.
    """
    built = cache_dir() / f"nats-{VERSION}" / "nats-server"
    with locked(built.parent):
        if built.exists():
            return built
        go = shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")
        if go is None:
            raise ServerMissingError(f"nats-server {VERSION} is built with Go, and there is no `go`: install Go")
        environment = {**os.environ, "GOBIN": str(built.parent), "GOFLAGS": "-modcacherw"}
        try:
            subprocess.run(
                [go, "install", f"{MODULE}@{VERSION}"],
                check=True,
                capture_output=True,
                text=True,
                timeout=FETCH_TIMEOUT_S,
                env=environment,
            )
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or str(error)
            raise ServerMissingError(
                f"nats-server {VERSION} can't be built by {go} into {built.parent}: give this machine access to a Go "
                f"module proxy. go said: {said.strip()[-500:]}"
            ) from error
    return built


class Nats(ServerProcess):
    """JetStream in `folder`. `sync_interval` "always": an acknowledgement means fsynced."""

    name = "nats-server"

    def __init__(self, folder: Path, *, sync_interval: str = "always") -> None:
        super().__init__(folder)
        self._settings = {
            "server_name": "bench",  # MQTT refuses to be without a name
            "listen": f"127.0.0.1:{free_port()}",
            "jetstream": {"store_dir": str(folder / "store"), "sync_interval": sync_interval},
            "mqtt": {"listen": f"127.0.0.1:{self.port}"},
        }

    def command(self) -> tuple[Sequence[str | Path], Mapping[str, str]]:
        path = program()
        file = self.folder / "nats.conf"
        # NATS reads JSON as its own configuration language.
        file.write_text(json.dumps(self._settings), encoding="utf-8")
        return [path, "--config", file], os.environ
