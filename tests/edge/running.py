"""Nodes as a user runs them: `python -m edge` in a process of its own, in a directory of its own; or one in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edge import Client, EdgeError
from edge.config import load
from edge.daemon import node as daemon
from storage import FakeClock
from storage.trace import no_trace
from tests.waiting import until

DEADLINE_S = 30.0


@dataclass
class Finished:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


@dataclass
class Node:
    """A daemon that runs. Its log goes to `log`."""

    config: Path
    socket: Path
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def client(self) -> Client:
        return Client(self.socket)

    def edge(self, *arguments: str, stdin: bytes = b"") -> Finished:
        return edge("--config", str(self.config), *arguments, stdin=stdin)


def edge(*arguments: str, stdin: bytes = b"") -> Finished:
    """Run the command `edge` to its end."""
    forking = _forking()
    assert forking.stdin is not None
    assert forking.stdout is not None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "0").write_bytes(stdin)
        try:
            forking.stdin.write(json.dumps([arguments, name]) + "\n")
            forking.stdin.flush()
            code = int(forking.stdout.readline())
        except BaseException:
            # A command that was given up on must not answer for the next one.
            forking.kill()
            _forking.cache_clear()
            raise
        return Finished(code, (folder / "1").read_text(), (folder / "2").read_text())


@cache
def _forking() -> subprocess.Popen[str]:
    """Starting Python anew takes most of the time of a command. It ends with this process, which holds its input."""
    command = [sys.executable, "-m", "tests.edge.forking"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def write_config(directory: Path, name: str = "pump-7", more: str = "") -> Path:
    """A configuration whose data and socket are in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "edge.toml"
    path.write_text(f'[node]\nname = "{name}"\ndata_dir = "data"\nsocket = "edge.sock"\n{more}')
    return path


@contextmanager
def running(config: Path, environment: dict[str, str] | None = None) -> Iterator[Node]:
    """A daemon that answers at its socket. Stopped at the end, if it still runs."""
    log = config.with_suffix(".log")
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge", "--config", str(config), "run"],
            stdout=out,
            stderr=out,
            env=os.environ | (environment or {}),
        )
    node = Node(config, config.parent / "edge.sock", log, process)
    try:
        until(lambda: answers(node.socket) or process.poll() is not None, f"an answer; the log: {log}")
        assert process.poll() is None, log.read_text()
        yield node
    finally:
        stop(process)


@contextmanager
def node_of(config: Path, clock: FakeClock) -> Iterator[daemon.Node]:
    """A node in this process, on a clock that the test moves."""
    node = daemon.Node(load(config), clock, no_trace, lambda: None)
    try:
        node.start()
        yield node
    finally:
        node.stop()


def answers(path: Path) -> bool:
    """Whether a daemon is there. A socket may be left over from one that was killed."""
    try:
        return Client(path).status().pid > 0
    except EdgeError:
        return False


def stop(process: subprocess.Popen[bytes]) -> int:
    """Ask it to stop, and wait for it."""
    process.terminate()
    try:
        return process.wait(DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def lines_of(texts: Sequence[str]) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()
