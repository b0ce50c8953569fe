"""What is put into directories and logs, and what has to come of it."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.drivers.judging import Sent

AGAIN = "again.csv"
"""A name that is used again and again, each time the file before it has gone."""
LARGE_ROWS = 30_000
"""Of a file that takes several deliveries."""
MAX_ROTATED = 90
EVERY_S = 0.1
ROTATED_EVERY_S = 1.5


@dataclass
class Put:
    """A file that was put: what it held, and whether all of it can be read."""

    content: bytes
    good: bool


@dataclass
class Directory:
    """A watched directory, where its files go, and what was put into it, by name in that order."""

    folder: Path
    completed: Path
    put: dict[str, list[Put]] = field(default_factory=dict)
    sent: dict[str, list[Sent]] = field(default_factory=dict)

    def left_behind(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if path.is_file())


@dataclass
class Log:
    """A log that is rotated, and the lines that were written to it."""

    path: Path
    copies: bool
    lines: list[Sent] = field(default_factory=list)

    def write(self, count: int) -> None:
        with self.path.open("ab") as file:
            self.write_to(file.fileno(), count)

    def write_to(self, descriptor: int, count: int) -> None:
        for _ in range(count):
            line = f"{self.path.stem} line {len(self.lines)}".encode()
            os.write(descriptor, line + b"\n")
            self.lines.append(Sent(line, owed=True))

    def rotate(self, more: int) -> None:
        """As logrotate does. `more` lines come to the old file while it has its new name."""
        for number in range(MAX_ROTATED, 0, -1):
            old = self._rotated(number)
            if old.exists():
                old.rename(self._rotated(number + 1))
        if self.copies:
            shutil.copyfile(self.path, self._rotated(1))
            os.truncate(self.path, 0)
            return
        with self.path.open("ab") as file:
            self.path.rename(self._rotated(1))
            self.write_to(file.fileno(), more)

    def _rotated(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


class Feeder:
    """Puts and writes from a thread of its own until it is stopped. Logs are rotated once `rotates` is set."""

    def __init__(self, directories: list[Directory], logs: list[Log], random: Random) -> None:
        self._directories = directories
        self._logs = logs
        self._random = random
        self._number = 0
        self._stop = threading.Event()
        self.rotates = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)
        self._kinds: list[Callable[[Directory], None]] = [
            self._csv,
            self._csv,
            self._jsonl,
            self._log,
            self._image,
            self._empty,
        ]
        self.counts: Counter[str] = Counter()
        self.error: BaseException | None = None

    def start(self) -> None:
        for log in self._logs:
            log.path.touch()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        rotate_s = 0.0
        try:
            while not self._stop.wait(EVERY_S):
                for directory in self._directories:
                    self._random.choice(self._kinds)(directory)
                    self._again(directory)
                for log in self._logs:
                    log.write(self._random.randrange(4))
                if self.rotates.is_set() and time.monotonic() > rotate_s:
                    rotate_s = time.monotonic() + ROTATED_EVERY_S
                    self._random.choice(self._logs).rotate(self._random.randrange(3))
                    self.counts["rotations"] += 1
        except BaseException as error:  # noqa: BLE001  (it is raised where the run is judged)
            self.error = error

    def _name(self, ending: str) -> str:
        self._number += 1
        return f"{self._number:06}{ending}"

    def _put(self, directory: Directory, name: str, content: bytes, events: list[bytes], *, good: bool = True) -> None:
        hidden = directory.folder / f".{name}.part"
        hidden.write_bytes(content)
        hidden.rename(directory.folder / name)
        directory.put.setdefault(name, []).append(Put(content, good))
        directory.sent.setdefault(name, []).extend(Sent(event, owed=True) for event in events)
        self.counts["files"] += 1
        self.counts["files with bad lines"] += not good

    def _rows(self, name: str, count: int) -> tuple[list[str], list[bytes]]:
        rows = [
            (f"{name} {self.counts['files']}", n, self._random.choice(["ok", 'a "quoted", word', "two\nlines"]))
            for n in range(count)
        ]
        quoted = ['"{}",{},"{}"'.format(name, n, word.replace('"', '""')) for name, n, word in rows]
        made = [
            json.dumps({"file": name, "n": n, "word": word}, separators=(",", ":")).encode() for name, n, word in rows
        ]
        return quoted, made

    def _csv(self, directory: Directory, name: str = "") -> None:
        name = name or self._name(".csv")
        large = self._random.random() < 0.005
        rows, events = self._rows(name, LARGE_ROWS if large else self._random.randrange(1, 60))
        bad = self._random.random() < 0.2
        if bad:
            rows.insert(self._random.randrange(len(rows)), "one,two")
        self._put(directory, name, "\n".join(["file,n,word", *rows, ""]).encode(), events, good=not bad)

    def _again(self, directory: Directory) -> None:
        if not (directory.folder / AGAIN).exists():
            self._csv(directory, AGAIN)

    def _jsonl(self, directory: Directory) -> None:
        name = self._name(".jsonl")
        _, events = self._rows(name, self._random.randrange(1, 60))
        self._put(directory, name, b"\n".join(events), events)

    def _log(self, directory: Directory) -> None:
        name = self._name(".log")
        lines = [f"{name} {n}".encode() for n in range(self._random.randrange(1, 400))]
        self._put(directory, name, b"\r\n".join([*lines, b""]), lines)

    def _image(self, directory: Directory) -> None:
        content = self._random.randbytes(self._random.randrange(1, 20_000))
        self._put(directory, self._name(".png"), content, [content])

    def _empty(self, directory: Directory) -> None:
        self._put(directory, self._name(".csv"), b"", [])
