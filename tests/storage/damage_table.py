"""`python -m tests.storage.damage_table [FLIPS [TRUNCATIONS [KIND …]]]`: what damage to each kind of file costs, a table.

Silent is what was acknowledged and is neither readable byte for byte nor inside a gap, or what was lost beyond what was
hit; such a trial is told whole.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.storage.damaged import KINDS, Base, Harm, build, flipped, removed, torn, trial

HEAD = "| file | harm | trials | came up | with loss | events lost | bytes lost | most in one trial | told | silent |"


def row(base: Base, folder: Path, kind: str, name: str, harms: list[Callable[[Path], Harm]]) -> str:
    """One kind of file, harmed in one way."""
    opened = with_loss = events = size = most = told = silent = 0
    for seed, harm in enumerate(harms):
        try:
            outcome = trial(base, folder, harm)
        except AssertionError as error:
            silent += 1
            print(f"{kind}, {name}, seed {seed}: {str(error).splitlines()[0][:300]}", flush=True)
            continue
        except Exception as error:  # noqa: BLE001 - the table is to tell of whatever happens
            print(f"{kind}, {name}, seed {seed}: {type(error).__name__}: {str(error)[:300]}", flush=True)
            continue
        with outcome.store:
            opened += 1
            events += outcome.events
            size += outcome.lost_bytes
            most = max(most, outcome.lost_bytes)
            with_loss += bool(outcome.events)
            told += outcome.told or bool(outcome.store.recovery)
    counts = (len(harms), opened, with_loss, events, size, most, told, silent)
    return f"| {kind} | {name} | " + " | ".join(f"{each:,}" for each in counts) + " |"


def main(flips: int, truncations: int, kinds: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = build(folder)
        rows = [HEAD, "|---|---|" + "---:|" * 8]
        for kind in kinds:
            for harm, count in ((flipped, flips), (torn, truncations), (removed, 1)):
                harms = [harm(kind, seed) for seed in range(count)]
                rows.append(row(base, folder / "trial", kind, harm.__name__, harms))
                print(rows[-1], flush=True)
        print("\n".join(rows))


if __name__ == "__main__":
    arguments = [*sys.argv[1:], *("50", "20")[len(sys.argv) - 1 :]]
    main(int(arguments[0]), int(arguments[1]), arguments[2:] or KINDS)
