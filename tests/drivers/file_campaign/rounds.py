"""The run: lives of a gateway, in each of them rounds of kills while files come, in the end a comparison."""

from __future__ import annotations

from tests.drivers.file_campaign.cast import Cast, folder_problems, judge_directory
from tests.drivers.judging import judge
from tests.drivers.lives import AT_RANDOM, Campaign, Deck, Life, Report

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


def _live(life: Life) -> None:
    life.folder.mkdir(parents=True)
    cast = Cast(life.folder, life.random, life.command)
    try:
        cast.start()
        for number in range(life.kills):
            life.come_back(cast.node, number, _kill(cast, life.report, life.deck))
        _compare(cast, life)
    finally:
        cast.close()


def _kill(cast: Cast, report: Report, deck: Deck) -> str:
    site = deck.draw()
    if site == AT_RANDOM:
        cast.target.kill_at_random(RANDOM_WITHIN_S)
        hit = True
    else:
        _, hit = cast.target.kill_at(site, lambda: None)
    return report.killed(site, hit=hit)


def _compare(cast: Cast, life: Life) -> None:
    report = life.report
    report.problems += cast.drain()
    life.end(cast.node)
    held = cast.stored()
    for name, directory in cast.directories.items():
        report.judged(name, judge_directory(directory, held[name]))
        report.problems += folder_problems(name, directory)
    for name, log in cast.logs.items():
        report.judged(name, judge(log.lines, held[name].get(name, [])))
    report.counts.update(cast.feeder.counts)


run_campaign = Campaign(PLACES, RANDOM_PER_DECK, _live)
