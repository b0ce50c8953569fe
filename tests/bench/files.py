"""A million-line CSV through a watched directory, beside `wc -l` and Python's csv module over the same file.

The source and the committer run as they do in the daemon: each on its thread, the file moved away when it is stored.
"""

from __future__ import annotations

import csv
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from drivers.contract import SourceSettings
from drivers.file import FileDriver
from drivers.file.config import FileConfig
from drivers.source import Source
from edge.daemon.committer import Committer
from edge.daemon.run import tune_interpreter
from storage import SegmentStore, SystemClock
from storage.units import Duration
from tests.bench.figures import Figure

ROWS = 1_000_000
ROUNDS = 3
STREAM = "plant/logger"
DEADLINE_S = 120.0


def figures(folder: Path) -> list[Figure]:
    """Medians of some rounds, in each of which everything runs once."""
    tune_interpreter()
    table = folder / "million.csv"
    write_table(table, ROWS)
    seen: dict[str, list[float]] = {"wc -l": [], "csv.reader": [], "csv.DictReader": [], "durable": []}
    for number in range(ROUNDS):
        for what, run in (("wc -l", _count_lines), ("csv.reader", _read), ("csv.DictReader", _read_named)):
            seen[what].append(_seconds(run, table))
        seen["durable"].append(_store(folder / str(number), table))
    rates = {what: ROWS / statistics.median(seconds) for what, seconds in seen.items()}
    made = [
        Figure(
            "CSV rows stored and moved away",
            rates["durable"],
            "rows/s",
            note=f"{table.stat().st_size / ROWS:.0f} bytes a row",
        )
    ]
    for what in ("csv.DictReader", "csv.reader", "wc -l"):
        made.append(Figure(f"the same file, {what}", rates[what], "rows/s"))
        made.append(Figure("stored and moved away", rates["durable"], "rows/s", what, rates["durable"] / rates[what]))
    return made


def write_table(path: Path, rows: int) -> None:
    """A logger's: a time, a name, two readings, a word."""
    random = Random(1)
    with path.open("w", encoding="ascii") as file:
        file.write("time,pump,flow,pressure,state\n")
        for n in range(rows):
            at = f"2026-11-23T{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}Z"
            state = "ok" if n % 50 else "fault"
            file.write(f"{at},pump-{n % 7},{random.random() * 100:.3f},{random.random() * 10:.2f},{state}\n")


def _seconds(run: Callable[[Path], None], path: Path) -> float:
    began_s = time.perf_counter()
    run(path)
    return time.perf_counter() - began_s


def _count_lines(path: Path) -> None:
    subprocess.run(["wc", "-l", str(path)], check=True, capture_output=True)


def _read(path: Path) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        for _ in csv.reader(file):
            pass


def _read_named(path: Path) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        for _ in csv.DictReader(file):
            pass


def _store(folder: Path, table: Path) -> float:
    """Seconds from the first look at the directory until all rows are durable and the file is moved away."""
    watched = folder / "in"
    watched.mkdir(parents=True)
    shutil.copyfile(table, watched / table.name)
    clock = SystemClock()
    with SegmentStore.open(folder / "store") as store:
        store.create_stream(STREAM)
        committer = Committer(store, lambda: None)
        committer.start()
        settings = SourceSettings(name="logger", driver="file", stream=STREAM)
        config = FileConfig(directory=watched, min_age=Duration(0))
        wanted = threading.Event()
        source = Source(
            lambda: FileDriver(config, settings, clock), settings, store, clock=clock, random=Random(1), wake=wanted.set
        )
        began_s = time.perf_counter()
        while not (watched / "completed" / table.name).exists():
            wanted.clear()
            wait_s = source.step(0.05)
            if wait_s > 0:
                wanted.wait(wait_s)
            if time.perf_counter() - began_s > DEADLINE_S:
                raise TimeoutError(f"{source.status()} after {DEADLINE_S:.0f} s")
        took_s = time.perf_counter() - began_s
        assert source.status().counters["durable"] == ROWS
        source.close()
        committer.stop()
    shutil.rmtree(folder)
    return took_s
