"""Paths and addresses as the configuration writes them, and the socket where the daemon is found."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

DEFAULT_SOCKET = Path("/run/edge/edge.sock")

CREDENTIALS = "$CREDENTIALS_DIRECTORY"
"""Where systemd puts credentials (LoadCredential=, systemd.exec(5)). The only variable that is replaced."""


def absolute(path: Path, file: Path) -> Path:
    """`path`, relative to the directory of `file` where it is relative."""
    if path.parts and path.parts[0] == CREDENTIALS:
        path = Path(os.environ.get("CREDENTIALS_DIRECTORY", CREDENTIALS), *path.parts[1:])
    return path if path.is_absolute() else file.absolute().parent / path


def socket_of(file: Path) -> Path | None:
    """The socket that the configuration in `file` names, whatever else is wrong with it. None: it can't be read.

    A command that only asks the daemon needs no more of the configuration than this.
    """
    try:
        node = tomllib.loads(file.read_text(encoding="utf-8")).get("node", {})
    except (OSError, ValueError):
        return None
    named = node.get("socket") if isinstance(node, dict) else None
    return absolute(Path(named), file) if isinstance(named, str) else DEFAULT_SOCKET
