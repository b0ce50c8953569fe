"""The mixed load: operations by weight, until the process is killed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from storage.errors import StorageError
from tests.campaign import appends, giving_up
from tests.campaign.scene import Scene

THREADS = ("thread-1", "thread-2")
"""Writers that have a thread of their own, where there are threads."""
PATIENCE_S = 0.1
"""So long a writer waits for its ticket."""
ROUND_S = 0.6
"""A round that nobody kills ends by itself after so long."""
Operation = Callable[[Scene], None]

OPERATIONS: dict[Operation, int] = {
    appends.append: 30,
    appends.append_loose: 6,
    appends.append_to_several: 8,
    appends.append_conditionally: 4,
    appends.change_table: 4,
    giving_up.truncate: 2,
    giving_up.retain: 4,
    giving_up.pass_time: 3,
}


def commit(scene: Scene) -> None:
    """A step of the committer, where no thread takes them."""
    scene.store.commit()


def run_alone(scene: Scene, end_s: float) -> None:
    """One thread does everything: what waits is committed now and then."""
    weights = {**OPERATIONS, commit: 25}
    while time.monotonic() < end_s:
        (operation,) = scene.random.choices(list(weights), list(weights.values()))
        _run(scene, operation)
    while scene.store.commit():
        pass


def run_threaded(scene: Scene, end_s: float) -> None:
    """A thread owns the commits, two more write under numbers of their own, and this one does everything else."""
    ended = threading.Event()
    scene.store.own_commits()
    threads = [threading.Thread(target=_commit_on, args=(scene, ended), daemon=True)]
    threads += [threading.Thread(target=_write_on, args=(scene, ended, writer), daemon=True) for writer in THREADS]
    for thread in threads:
        thread.start()
    try:
        while time.monotonic() < end_s:
            (operation,) = scene.random.choices(list(OPERATIONS), list(OPERATIONS.values()))
            _run(scene, operation)
    finally:
        ended.set()
        for thread in threads[1:]:
            thread.join()
        threads[0].join()
        scene.store.own_commits(False)


def _run(scene: Scene, operation: Operation) -> None:
    if scene.failed:
        raise AssertionError(scene.failed[0])
    operation(scene)


def _commit_on(scene: Scene, ended: threading.Event) -> None:
    while not ended.is_set() or scene.store.waiting:
        scene.store.wait_for_work(0.02)
        scene.store.commit()


def _write_on(scene: Scene, ended: threading.Event, writer: str) -> None:
    """Its own numbers, waiting for every few of its tickets."""
    place = 0
    while not ended.is_set():
        place += 1
        ticket = appends.write(scene, ("flow", "ring", "cam", "aged")[place % 4], writer)
        if place % 4 == 0 and ticket is not None:
            with contextlib.suppress(TimeoutError, StorageError):
                ticket.result(PATIENCE_S)
