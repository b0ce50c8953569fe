"""What systemd is told, and the unit that asks for it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edge.daemon.notify import Notifier
from tests.edge.running import running, stop, write_config
from tests.waiting import until

UNIT = Path(__file__).parents[2] / "systemd" / "edge.service"


@pytest.fixture
def told(tmp_path: Path) -> socket.socket:
    """A socket as systemd would have one."""
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(str(tmp_path / "notify"))
    receiver.settimeout(30)
    return receiver


def test_fields_arrive_as_lines(told: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": told.getsockname()})
    notifier.ready("all\nwell")
    lines = told.recv(4096).decode().splitlines()
    assert lines[:2] == ["READY=1", "STATUS=all well"]


def test_an_abstract_socket_works_too() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0edge-test-notify")
        receiver.settimeout(10)
        Notifier({"NOTIFY_SOCKET": "@edge-test-notify"}).alive()
        assert receiver.recv(4096) == b"WATCHDOG=1"


def test_the_status_is_sent_when_it_changed(told: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": told.getsockname()})
    for status in ("a", "a", "b"):
        notifier.status(status)
    assert [told.recv(4096), told.recv(4096)] == [b"STATUS=a", b"STATUS=b"]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_without_systemd_nothing_happens(environment: dict[str, str]) -> None:
    Notifier(environment).alive()


@pytest.mark.long
def test_a_daemon_says_ready_feeds_the_watchdog_and_says_when_it_stops(tmp_path: Path, told: socket.socket) -> None:
    with running(write_config(tmp_path), {"NOTIFY_SOCKET": told.getsockname()}) as node:
        first = told.recv(4096).decode().splitlines()
        assert first[0] == "READY=1"
        assert first[1] == "STATUS=Safe: all 0 events on disk; no upstream is configured."
        assert first[2] == f"MAINPID={node.process.pid}"
        until(lambda: told.recv(4096) == b"WATCHDOG=1", "the watchdog to be fed")
        assert stop(node.process) == 0
        until(lambda: told.recv(4096) == b"STOPPING=1", "STOPPING=1")


def test_the_unit_is_one(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "edge.service"
    unit.write_text(UNIT.read_text().replace("/usr/bin/edge ", f"{sys.executable} -m edge "))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_waits_for_no_network_and_is_watched() -> None:
    lines = UNIT.read_text().splitlines()
    ordered = [line for line in lines if line.startswith(("After=", "Wants=", "Requires="))]
    assert not any("network" in line for line in ordered)
    assert {"Type=notify", "Restart=always", "WatchdogSec=60s"} <= set(lines)
