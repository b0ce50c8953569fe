"""`python -m tests.oracle.node --hits FILE [--kill-at STEP:N] [--aim FILE] [--generation-bytes B] -- EDGE-ARGUMENTS`

`edge`, with a trace that counts visits of the named steps and kills its own process at the N-th visit of STEP. After
SIGUSR1 the step and N are read from the file of `--aim`, and visits count from there.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

import storage.committer
from edge.cli import main as edge_main
from tests.oracle.steps import ALL_STEPS, Hits


class Executioner:
    """The trace."""

    def __init__(self, hits: Hits) -> None:
        self._hits = hits
        self._lock = threading.Lock()
        self._step: str | None = None
        self._left = 0

    def aim(self, where: str) -> None:
        """`STEP:N`."""
        step, _, count = where.strip().partition(":")
        if step not in ALL_STEPS:
            raise ValueError(f"there is no step {step!r}")
        with self._lock:
            self._step, self._left = step, int(count)

    def __call__(self, step: str, details: dict[str, object]) -> None:
        if step not in ALL_STEPS:
            return
        self._hits.visited(step)
        if step != self._step:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._hits.killed(step)
                os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hits", type=Path, required=True)
    parser.add_argument("--kill-at", metavar="STEP:N")
    parser.add_argument("--aim", type=Path)
    parser.add_argument("--generation-bytes", type=int)
    own, edge = sys.argv[1:], []
    if "--" in own:
        place = own.index("--")
        own, edge = own[:place], own[place + 1 :]
    arguments = parser.parse_args(own)
    executioner = Executioner(Hits(arguments.hits))
    if arguments.kill_at is not None:
        executioner.aim(arguments.kill_at)
    if arguments.aim is not None:
        file: Path = arguments.aim

        def take_aim(number: int, frame: FrameType | None) -> None:
            executioner.aim(file.read_text(encoding="ascii"))

        signal.signal(signal.SIGUSR1, take_aim)
    if arguments.generation_bytes is not None:
        storage.committer.GENERATION_BYTES = arguments.generation_bytes
    return edge_main(edge, trace=executioner)


if __name__ == "__main__":
    sys.exit(main())
