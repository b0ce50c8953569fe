"""The run: lives of a gateway, in each of them rounds of kills while files come, in the end a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from tests.drivers.file_campaign.cast import CAME_WITHIN_S, Cast, folder_problems, judge_directory
from tests.drivers.judging import judge
from tests.drivers.lives import AT_RANDOM, Deck, Report, run_lives

ROUNDS_PER_LIFE = 25
RANDOM_WITHIN_S = 1.0
RANDOM_PER_DECK = 3

PLACES = {
    "before the commit": (
        "file.read", "follow.read", "source.polled", "source.submitted", "commit.building", "commit.writing", "commit.written",
    ),
    "after the commit, before the file moves": ("commit.synced", "source.durable", "file.stored", "source.acked"),
    "copied, gone here, and not yet named there": ("file.copied", "file.removed"),
    "moved, and not known to be": ("file.moved",),
    "known to be moved, and not committed": ("file.forgotten",),
    "a log: on to the next file": ("follow.switched",),
    "while it comes back": ("store.loaded", "store.opened"),
    "anywhere": (AT_RANDOM,),
}  # fmt: skip
"""Steps of the code where the gateway is killed."""


def run_campaign(
    kills: int, seed: int, directory: Path, *, sites: Sequence[str] = (), per_life: int = ROUNDS_PER_LIFE,
    command: Callable[[Path], Sequence[str]] | None = None, say: Callable[[str], None] = lambda text: None,
) -> Report:  # fmt: skip
    """Run in `directory`, where the folder of a life that failed is kept.

    `sites`: where to kill first, in this order; then, and otherwise, it is a shuffled deck of all.
    `command` starts another gateway than ours.
    """
    report = Report(seed, PLACES)
    random = Random(seed)
    deck = Deck(PLACES, random, sites, at_random=RANDOM_PER_DECK)

    def live(folder: Path, count: int) -> None:
        folder.mkdir(parents=True)
        cast = Cast(folder, random, command)
        try:
            cast.start()
            for number in range(count):
                where = _kill(cast, report, deck)
                say(f"life {report.lives + 1}, round {number + 1}: {where}")
                report.check(cast.node.store, where)
                cast.node.start()
                cast.node.ready(CAME_WITHIN_S)
            _compare(cast, report)
        finally:
            cast.close()

    return run_lives(report, kills, per_life, directory, live)


def _kill(cast: Cast, report: Report, deck: Deck) -> str:
    site = deck.draw()
    if site == AT_RANDOM:
        cast.target.kill_at_random(RANDOM_WITHIN_S)
        hit = True
    else:
        _, hit = cast.target.kill_at(site, lambda: None)
    return report.killed(site, hit=hit)


def _compare(cast: Cast, report: Report) -> None:
    report.problems += cast.drain()
    code = cast.node.stop()
    if code != 0:
        report.problems.append(f"the gateway ended with {code} on SIGTERM: {cast.node.log_end()}")
    report.check(cast.node.store, "at the end")
    held = cast.stored()
    for name, directory in cast.directories.items():
        report.judged(name, judge_directory(directory, held[name]))
        report.problems += folder_problems(name, directory)
    for name, log in cast.logs.items():
        report.judged(name, judge(log.lines, held[name].get(name, [])))
    report.counts.update(cast.feeder.counts)
