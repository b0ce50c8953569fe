"""`edge mqtt-password`: from a script by standard input, from a terminal by two prompts without an echo."""

from __future__ import annotations

import json
import os
import pty
import sys
from pathlib import Path

import pytest

from drivers.listener.passwords import read_users
from tests.edge.running import edge


@pytest.mark.long
def test_one_line_of_standard_input_is_the_password(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    added = edge("mqtt-password", str(file), "pump", stdin=b" one \xff\r\nmore\n")
    assert (added.code, added.out, added.err) == (0, "", f"edge: {file}: pump was added\n")
    assert read_users(file)["pump"].is_of(b" one \xff")
    changed = edge("--json", "mqtt-password", str(file), "pump", stdin=b"two\n")
    assert json.loads(changed.out) == {"file": str(file), "name": "pump", "new": False}
    assert read_users(file)["pump"].is_of(b"two")


@pytest.mark.long
def test_what_can_not_be_kept_is_said(tmp_path: Path) -> None:
    refused = edge("mqtt-password", str(tmp_path / "passwords"), "a:b", stdin=b"x\n")
    assert refused.code == 1
    assert "can't be a user's name" in refused.err
    assert list(tmp_path.iterdir()) == []


def at_a_terminal(file: Path, *typed: bytes) -> tuple[int, bytes]:
    """The exit code, and all that was to be seen, of somebody who types."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "edge", "mqtt-password", str(file), "pump"])
    seen = b""
    for prompt, line in zip((b"Password: ", b"Again: "), typed, strict=True):
        while not seen.endswith(prompt):
            seen += os.read(terminal, 1024)
        os.write(terminal, line + b"\n")
    while True:
        try:
            more = os.read(terminal, 1024)
        except OSError:
            break
        if not more:
            break
        seen += more
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen


@pytest.mark.long
def test_at_a_terminal_it_is_asked_for_twice_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    code, seen = at_a_terminal(file, b"secret", b"secret")
    assert code == 0
    assert b"secret" not in seen
    assert read_users(file)["pump"].is_of(b"secret")
    code, seen = at_a_terminal(file, b"other", b"othre")
    assert code == 2
    assert b"differ" in seen
    assert read_users(file)["pump"].is_of(b"secret")
