"""The capturing process as the driver sees it: started, listened to, ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import sys
from collections.abc import Sequence

from drivers.camera.config import Job
from drivers.camera.records import Records

PIPE_BYTES = 1 << 20
"""What the kernel keeps between the two processes. When it is full the camera has to wait."""
READ_BYTES = 1 << 18
SMALL_BYTES = PIPE_BYTES // 4
"""After so little at once, what comes next may wait."""
MAX_READ_BYTES = 8 << 20
"""Taken over in one poll."""
GOODBYE_S = 1.5
"""A process that was asked to end is killed after this."""
KILL_S = 2.0


class Child:
    """One capturing process. It ends when this object's process does, however that ends."""

    def __init__(self, job: Job) -> None:
        """Raises OSError where no process can be started."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "drivers.camera.capture"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._input, self._output, self._errors = self._process.stdin, self._process.stdout, self._process.stderr
        self._job = job
        self._small = False
        self._records = Records()
        os.set_blocking(self._output.fileno(), False)
        with contextlib.suppress(PermissionError):
            # A user with very many pipes gets small ones (pipe(7)): slower, and nothing is lost.
            fcntl.fcntl(self._output.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._input.write(job.to_json() + b"\n")

    @property
    def pid(self) -> int:
        return self._process.pid

    def records(self, timeout_s: float) -> Sequence[tuple[bytes, bytes]]:
        """What has come in, waiting at most `timeout_s`. Raises EOFError when it has ended, ValueError for nonsense."""
        if self._small and timeout_s > 0:
            # Between two batches there is no hurry: each poll that finds something costs a wake-up and a step.
            self._small = bool(select.select([self._errors], [], [], timeout_s)[0])
            timeout_s = 0.0
        ready, _, _ = select.select([self._output], [], [], timeout_s)
        found: list[tuple[bytes, bytes]] = []
        taken = 0
        while ready and taken < MAX_READ_BYTES:
            try:
                data = os.read(self._output.fileno(), READ_BYTES)
            except BlockingIOError:
                break
            if not data:
                if not found:
                    raise EOFError
                break
            found += self._records.feed(data)
            taken += len(data)
            if len(data) < READ_BYTES:
                break
        self._small = 0 < taken < SMALL_BYTES
        return found

    def how_it_ended(self) -> str:
        """For a message, where it has not said why itself."""
        try:
            code = self._process.wait(KILL_S)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        said = self._job.redacted(self._errors.read().decode(errors="replace").strip()).splitlines()
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        return f"{how}: {said[-1][:500]}" if said else how

    def close(self, *, hangs: bool = False) -> None:
        """Let it take leave of the camera, or kill it at once where it `hangs`."""
        self._input.close()
        try:
            if not hangs:
                self._process.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            hangs = True
        if hangs:
            self._process.kill()
        self._output.close()
        self._errors.close()
        try:
            self._process.wait(KILL_S)
        except subprocess.TimeoutExpired:
            # In the kernel, in a device's driver: killed already, it ends when that lets go of it.
            return
