"""The mixed load: operations by weight, until the process is killed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from storage.errors import StorageError
from tests.campaign import appends, giving_up, grouping, mirroring, scaling, transacting
from tests.campaign.scene import Scene

THREADS = ("thread-1", "thread-2")
"""Writers that have a thread of their own, where there are threads."""
PATIENCE_S = 0.1
"""So long a writer waits for its ticket."""
ROUND_S = 60.0
"""A round that nobody kills ends by itself after so long: somebody should have."""
MEASURED_SHARE = 0.2
"""So often what is on disk is looked at."""
Operation = Callable[[Scene], None]

OPERATIONS: dict[Operation, int] = {
    appends.append: 30,
    appends.append_loose: 6,
    appends.append_to_several: 8,
    appends.append_conditionally: 4,
    appends.change_table: 4,
    giving_up.truncate: 2,
    giving_up.truncate_bulk: 1,
    giving_up.retain: 6,
    giving_up.pass_time: 4,
    scaling.scale: 1,
    scaling.live_and_end: 1,
    grouping.read_group: 8,
    mirroring.replicate: 6,
    appends.dump: 4,
    transacting.transact: 16,
    transacting.transact_whole: 3,
    transacting.abort_doomed: 3,
    transacting.ask_again: 1,
}


FAVOURED: dict[str, tuple[Operation, ...]] = {
    "chunk.unlinked": (giving_up.truncate_bulk,),
    "chunk.unlink_failed": (giving_up.truncate_bulk,),
    "generation.dropping": (giving_up.truncate, giving_up.retain),
    "generation.drop_failed": (giving_up.truncate, giving_up.retain),
}
"""What is done more often where a kill is aimed at a step that comes seldom."""
FAVOUR = 8


def weights_for(step: str | None) -> dict[Operation, int]:
    """The operations and how often each is done, where a kill is aimed at that step."""
    favoured = FAVOURED.get(step or "", ())
    return {operation: weight * (FAVOUR if operation in favoured else 1) for operation, weight in OPERATIONS.items()}


def commit(scene: Scene) -> None:
    """A step of the committer, where no thread takes them."""
    scene.store.commit()


def run_alone(scene: Scene, end_s: float, weights: dict[Operation, int]) -> None:
    """One thread does everything: what waits is committed now and then."""
    weights = {**weights, commit: 25}
    while time.monotonic() < end_s:
        (operation,) = scene.random.choices(list(weights), list(weights.values()))
        _run(scene, operation)
    while scene.store.commit():
        pass


def run_threaded(scene: Scene, end_s: float, weights: dict[Operation, int]) -> None:
    """A thread owns the commits, two more write under numbers of their own, and this one does everything else."""
    ended = threading.Event()
    scene.store.own_commits()
    threads = [threading.Thread(target=_commit_on, args=(scene, ended), daemon=True)]
    threads += [threading.Thread(target=_write_on, args=(scene, ended, writer), daemon=True) for writer in THREADS]
    for thread in threads:
        thread.start()
    try:
        while time.monotonic() < end_s:
            (operation,) = scene.random.choices(list(weights), list(weights.values()))
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
    if scene.random.random() < MEASURED_SHARE:
        scene.measure()


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
        if place % 2 == 0 and ticket is not None:
            with contextlib.suppress(TimeoutError, StorageError):
                ticket.result(PATIENCE_S)
