"""`edge write`: one event per line of standard input, durable when it returns.

While one batch is on its way to the disk the next lines are read, so a batch is as large as the disk is slow: a person
at a keyboard waits for nobody, and a file goes through in large commits.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from edge.cli.options import FAILED, UNREACHABLE, WRONG, Options, Verbs, add_verb, complain, print_json
from edge.client import Client
from edge.errors import DaemonUnreachableError, EdgeError, RequestRefusedError
from storage.model import MAX_EVENT_BYTES

BATCH_EVENTS = 10_000
BATCH_BYTES = 4 << 20
QUEUE_BYTES = 16 << 20
"""Lines read ahead of the disk."""
PIECE_BYTES = 1 << 16
BUSY_S = 60.0
"""So long a daemon that has too much to do is asked again."""
BUSY_PAUSE_S = 0.1


def add(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = add_verb(verbs, "write", write, "store one event per line of standard input; durable when it returns")
    parser.add_argument("stream", metavar="STREAM")
    parser.add_argument("--key", default="", metavar="K", help="routing key: order is kept per key")
    parser.add_argument("--writer", metavar="ID", help="who writes: with it, a repetition is not stored twice")
    parser.add_argument(
        "--number", type=int, metavar="N", help="number of the first line (default: the writer's last and one)"
    )
    parser.add_argument("--content-type", default="", metavar="TYPE", help="MIME type to mark the events with")


@dataclass(slots=True)
class Progress:
    """What is durable so far. `next` is the number that the next line has."""

    first: int
    next: int
    stored: int = 0
    duplicates: int = 0


def write(arguments: argparse.Namespace, options: Options) -> int:
    if arguments.number is not None and (arguments.writer is None or arguments.number < 0):
        complain("--number counts the events of one writer, from 0: name it with --writer ID")
        return WRONG
    client = options.client()
    writer: str = arguments.writer or f"write-{uuid4().hex}"
    first = arguments.number
    if first is None:
        last = client.last_number(arguments.stream, writer)
        first = 0 if last is None else last + 1
    progress = Progress(first, first)
    code = _send(client, arguments, writer, Lines(sys.stdin.fileno()), progress)
    _report(arguments.stream, writer, progress, as_json=options.json)
    return code


def _send(client: Client, arguments: argparse.Namespace, writer: str, lines: Lines, progress: Progress) -> int:
    """Store batch after batch. Says how far it came where it does not come to the end."""
    try:
        while batch := lines.take():
            answer = _write(client, arguments, writer, progress.next, batch)
            progress.next += len(batch)
            progress.stored += answer[0]
            progress.duplicates += answer[1]
    except KeyboardInterrupt:
        complain(f"interrupted; {_how_far(writer, progress)}")
        return FAILED
    except EdgeError as error:
        complain(f"{error}; {_how_far(writer, progress)}")
        return UNREACHABLE if isinstance(error, DaemonUnreachableError) else FAILED
    return 0


def _write(
    client: Client, arguments: argparse.Namespace, writer: str, number: int, batch: Sequence[bytes]
) -> tuple[int, int]:
    """Store one batch; a busy daemon is asked again. Returns how many were stored, and had been before."""
    until_s = time.monotonic() + BUSY_S
    while True:
        try:
            answer = client.write(
                arguments.stream,
                batch,
                key=arguments.key,
                writer=writer,
                number=number,
                content_type=arguments.content_type,
            )
        except RequestRefusedError as error:
            if error.status != 503 or time.monotonic() > until_s:
                raise
            time.sleep(BUSY_PAUSE_S)
            continue
        return answer.stored, answer.duplicates


def _how_far(writer: str, progress: Progress) -> str:
    safe = (
        "nothing is known to be stored" if progress.next == progress.first else f"safe up to number {progress.next - 1}"
    )
    return f"{safe}; send the lines from there again with --writer {writer} --number {progress.next}"


def _report(stream: str, writer: str, progress: Progress, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "stream": stream,
                "writer": writer,
                "first": progress.first,
                "next": progress.next,
                "stored": progress.stored,
                "duplicates": progress.duplicates,
            }
        )
        return
    already = f", {progress.duplicates:,} already stored" if progress.duplicates else ""
    complain(f"{progress.stored:,} stored{already} in {stream}")


class Lines:
    """The lines of a file, read ahead by a thread, handed out in batches of what has come.

    It reads the descriptor itself: a thread that waits inside the interpreter's own standard input can't be left behind
    when the program ends.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._error: EdgeError | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._read, name="lines", daemon=True).start()

    def take(self) -> list[bytes]:
        """The next batch, [] at the end. Raises EdgeError for a line that is too long, after what came before it."""
        with self._changed:
            while not self._lines and not self._ended:
                self._changed.wait(0.2)
            batch: list[bytes] = []
            size = 0
            while (
                self._lines and len(batch) < BATCH_EVENTS and (not batch or size + len(self._lines[0]) <= BATCH_BYTES)
            ):
                line = self._lines.popleft()
                size += len(line)
                batch.append(line)
            self._bytes -= size
            self._changed.notify_all()
            if not batch and self._error is not None:
                raise self._error
            return batch

    def _read(self) -> None:
        rest = b""
        while piece := os.read(self._descriptor, PIECE_BYTES):
            *payloads, rest = (rest + piece).split(b"\n")
            if len(rest) > MAX_EVENT_BYTES or max(map(len, payloads), default=0) > MAX_EVENT_BYTES:
                self._end(EdgeError(f"a line of more than {MAX_EVENT_BYTES:,} bytes: an event has at most that"))
                return
            self._add(payloads)
        self._add([rest] if rest else [])
        self._end(None)

    def _add(self, payloads: Sequence[bytes]) -> None:
        with self._changed:
            while self._bytes > QUEUE_BYTES:
                self._changed.wait()
            self._lines.extend(payloads)
            self._bytes += sum(map(len, payloads))
            self._changed.notify_all()

    def _end(self, error: EdgeError | None) -> None:
        with self._changed:
            self._error = error
            self._ended = True
            self._changed.notify_all()
