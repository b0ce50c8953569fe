"""`python -m tests.campaign [--kills N] [--cuts N] [--seed S] [--jobs N] [--directory DIRECTORY] [--broken WHICH]`"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.campaign.broken import BREAKS
from tests.campaign.rounds import run_campaign

ALL_HIT_FROM = 300
"""So many kills come to every step."""


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--cuts", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--directory", type=Path, help="keep stores here (otherwise kept only when it fails)")
    parser.add_argument("--broken", choices=BREAKS, help="break a promise on purpose: it must be noticed")
    arguments = parser.parse_args()
    directory: Path = arguments.directory or Path(tempfile.mkdtemp(prefix="edge-campaign-"))
    directory.mkdir(parents=True, exist_ok=True)
    print(f"seed {arguments.seed}, in {directory}", flush=True)
    report = run_campaign(
        arguments.kills, arguments.cuts, arguments.seed, directory, jobs=arguments.jobs, broken=arguments.broken,
        say=say,
    )  # fmt: skip
    print(report.text())
    failed = not report.ok
    if arguments.kills >= ALL_HIT_FROM and report.never_hit:
        print(f"never hit: {', '.join(report.never_hit)}")
        failed = True
    if failed:
        print(f"what failed is kept in {directory}")
    elif arguments.directory is None:
        shutil.rmtree(directory)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
