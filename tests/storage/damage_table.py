"""`python -m tests.storage.damage_table [TRIALS]`: what damage to each kind of file costs, as a table.

Silent is what was acknowledged and is neither readable byte for byte nor inside a gap; such a trial is told whole.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

from tests.oracle.damage import flip
from tests.storage.test_engine_damage import KINDS, History, build, trial, victims


def _flip(victim: Path, random: Random) -> None:
    flip(victim, random.randrange(victim.stat().st_size * 8))


def _tear(victim: Path, random: Random) -> None:
    os.truncate(victim, random.randrange(victim.stat().st_size))


def _remove(victim: Path, random: Random) -> None:
    victim.unlink()


def _harm_one(kind: str, harm: Callable[[Path, Random], None], random: Random, path: Path) -> None:
    harm(random.choice(victims(path, kind)), random)


def row(base: tuple[Path, History], folder: Path, kind: str, harm: Callable[[Path, Random], None], trials: int) -> str:
    opened = lost = reported = silent = 0
    for seed in range(trials):
        random = Random(seed)
        try:
            events, store = trial(base, folder, partial(_harm_one, kind, harm, random))
        except AssertionError as error:
            silent += 1
            print(f"{kind}, seed {seed}: {str(error).splitlines()[0]}", flush=True)
            continue
        except Exception as error:  # noqa: BLE001 - the table is to tell of whatever happens
            print(f"{kind}, seed {seed}: {type(error).__name__}: {str(error)[:200]}", flush=True)
            continue
        with store:
            opened += 1
            lost += events
            reported += bool(events or store.recovery)
    return f"{kind:10} {harm.__name__[1:]:7} {trials:6} {opened:7} {lost:12} {reported:9} {silent:7}"


def main(trials: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = build(folder)
        rows = [f"{'kind':10} {'harm':7} {'trials':>6} {'opened':>7} {'events lost':>12} {'reported':>9} {'silent':>7}"]
        for kind in KINDS:
            for harm, count in ((_flip, trials), (_tear, max(1, trials * 2 // 5)), (_remove, 1)):
                if kind != "log" or harm is _flip:
                    rows.append(row(base, folder / "trial", kind, harm, count))
                    print(rows[-1], flush=True)
        print("\n".join(rows))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
