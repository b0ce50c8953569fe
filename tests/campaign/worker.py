"""One round's process: opens, judges, works on. It ends by being killed, or by itself where nobody did."""

from __future__ import annotations

import faulthandler
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from storage import FakeClock, SegmentStore, committer
from storage.errors import StorageError
from tests.campaign import power
from tests.campaign.appends import WRITERS, dump
from tests.campaign.broken import BREAKS
from tests.campaign.journal import Journal, Ticked
from tests.campaign.judging import judge
from tests.campaign.load import ROUND_S, THREADS, run_alone, run_threaded, weights_for
from tests.campaign.model import Model
from tests.campaign.reading import damage
from tests.campaign.scene import DISK_LIMIT, NODE, Scene
from tests.campaign.trace import Killer
from tests.oracle.steps import Hits

GENERATION_BYTES = 96 << 10
CHUNK_BYTES = 48 << 10
HINDERED_SHARE = 0.03
STUCK_AFTER_S = 20.0
"""Where every thread stands then is written down: a round takes less than a second."""
FOUND, BROKE, DONE = 3, 4, 0
"""How a process ends that was not killed: with problems found, by an error, or with all done."""


@dataclass(frozen=True)
class Spec:
    """What a round is to do, in the store's `folder`."""

    folder: Path
    hits: Path
    seed: int
    aim: tuple[str, int] | None
    threaded: bool
    rebooted: bool
    mirrored: bool
    full: bool
    last: bool = False
    """Judge, do nothing more, close."""
    broken: str | None = None
    """A promise that is broken on purpose (`broken`)."""


def run(spec: Spec, verified: Callable[[], None]) -> int:
    """The whole process; `verified` is called once what was there is judged. The exit code."""
    stuck = (spec.folder / "stuck").open("w", encoding="utf-8")
    faulthandler.dump_traceback_later(STUCK_AFTER_S, file=stuck)
    try:
        return _run(spec, verified)
    except BaseException:  # noqa: BLE001 - whatever it is, the parent is to be told
        (spec.folder / "problems").write_text(traceback.format_exc(), encoding="utf-8")
        return BROKE


def _run(spec: Spec, verified: Callable[[], None]) -> int:
    power.watch()
    sys.setswitchinterval(0.0005)
    if spec.broken is not None:
        BREAKS[spec.broken]()
    committer.GENERATION_BYTES = GENERATION_BYTES
    committer.CHUNK_BYTES = CHUNK_BYTES  # type: ignore[attr-defined]
    random = Random(spec.seed)
    model = Model.load(spec.folder / "model")
    journal_path = spec.folder / f"journal-{model.rounds}"
    model.play(journal_path)
    clock, set_to = _set_clock(model, rebooted=spec.rebooted, random=random)
    journal = Journal(journal_path)
    journal.say(set_to)
    killer = Killer(Hits(spec.hits), spec.aim)
    path = spec.folder / "store"
    store = SegmentStore.open(path, clock=clock, trace=killer, disk_limit=DISK_LIMIT)
    hub = None
    if spec.mirrored:
        path = spec.folder / "hub"
        hub = SegmentStore.open(path, clock=clock, trace=killer)
        hub.admit(NODE, store.store_id, store.opening)
    model.take(set_to)
    if not spec.last:
        hinder_removals(store, random, None if spec.aim is None else spec.aim[0])
    problems = judge(store, hub, model, random, DISK_LIMIT)
    if problems:
        (spec.folder / "problems").write_text("\n".join(problems), encoding="utf-8")
        return FOUND
    model.save(spec.folder / "model")
    journal.close()
    journal_path.unlink()
    verified()
    if spec.last:
        return _close(spec, [store] if hub is None else [store, hub])
    journal = Journal(spec.folder / f"journal-{model.rounds}")
    scene = Scene(store, hub, clock, set_to.boot, random, journal, model, full=spec.full)
    scene.tick(0.0)
    scene.prepare([*WRITERS, *THREADS])
    dump(scene)
    run_load = run_threaded if spec.threaded else run_alone
    run_load(scene, time.monotonic() + ROUND_S, weights_for(None if spec.aim is None else spec.aim[0]))
    return DONE


def hinder_removals(store: SegmentStore, random: Random, aim: str | None) -> None:
    """The disk refuses to remove a chunk or a generation, now and then: the next opening removes it."""
    kv, chunks = store._kv, store._kv.chunks
    unlink, drop_family = chunks.unlink, kv.drop_family

    def hinder(step: str, what: str) -> None:
        if aim == step or random.random() < HINDERED_SHARE:
            raise StorageError(f"{what}: the disk refuses to remove it")

    def hindered_unlink(number: int) -> None:
        hinder("chunk.unlink_failed", f"chunk {number}")
        unlink(number)

    def hindered_drop(name: str) -> None:
        hinder("generation.drop_failed", name)
        drop_family(name)

    chunks.unlink = hindered_unlink  # type: ignore[method-assign]
    kv.drop_family = hindered_drop  # type: ignore[method-assign]


def _close(spec: Spec, stores: list[SegmentStore]) -> int:
    """The end of a store's life: closed, then checked as `edge check` does."""
    for store in stores:
        store.close()
    for name in ("store", "hub")[: len(stores)]:
        found = damage(SegmentStore.check_directory(spec.folder / name))
        if found:
            (spec.folder / "problems").write_text("\n".join(map(str, found)), encoding="utf-8")
            return FOUND
    return DONE


def _set_clock(model: Model, *, rebooted: bool, random: Random) -> tuple[FakeClock, Ticked]:
    """The machine's clock as it goes on, or begins anew after a power cut: in 1970, perhaps."""
    before = model.clock or Ticked(0, 0, 1_700_000_000_000_000_000, trusted=True)
    if model.clock is None or rebooted:
        boot, boot_ns = before.boot + 1, 1_000_000_000
        wall_ns, trusted = random.choice([(0, False), (before.wall_ns + 5_000_000_000, True)])
    else:
        boot, boot_ns, wall_ns, trusted = before
        boot_ns, wall_ns = boot_ns + 1_000_000, wall_ns + 1_000_000
    clock = FakeClock(wall_ns, boot, trusted)
    clock.advance((boot_ns - clock.boot_ns()) / 1e9)
    clock.step_wall((wall_ns - clock.wall_ns()) / 1e9)
    return clock, Ticked(boot, clock.boot_ns(), clock.wall_ns(), trusted)
