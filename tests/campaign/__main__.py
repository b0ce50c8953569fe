"""`python -m tests.campaign [--kills N] [--cuts N] [--seed S] [--jobs N] [--directory DIRECTORY] [--broken WHICH]`"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from tests.campaign.broken import BREAKS
from tests.campaign.rounds import run_campaign
from tests.rounds import run_in

ALL_HIT_FROM = 300
"""So many kills come to every step."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--cuts", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--directory", type=Path, help="keep stores here (otherwise kept only when it fails)")
    parser.add_argument("--broken", choices=BREAKS, help="break a promise on purpose: it must be noticed")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    run = partial(
        run_campaign, arguments.kills, arguments.cuts, arguments.seed, jobs=arguments.jobs, broken=arguments.broken,
        say=partial(print, flush=True),
    )  # fmt: skip
    return run_in(arguments.directory, "campaign", run, every_step=arguments.kills >= ALL_HIT_FROM)


if __name__ == "__main__":
    sys.exit(main())
