"""`python -m tests.drivers.listener_campaign [--kills N] [--seed S] [--directory DIRECTORY] [--broken WHICH]`"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.drivers.listener_campaign.broken import BREAKS, broken_command
from tests.drivers.listener_campaign.rounds import run_campaign

ALL_HIT_FROM = 60
"""So many kills come to every place."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drivers.listener_campaign")
    parser.add_argument("--kills", type=int, default=200, help="of the gateway; devices die besides")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="keep stores and logs here (otherwise kept only when it fails)")
    parser.add_argument("--broken", choices=BREAKS, help="break a promise on purpose: it must be noticed")
    arguments = parser.parse_args()
    directory: Path = arguments.directory or Path(tempfile.mkdtemp(prefix="edge-listener-"))
    print(f"seed {arguments.seed}, in {directory}", flush=True)
    report = run_campaign(
        arguments.kills, arguments.seed, directory, say=lambda text: print(text, flush=True),
        command=partial(broken_command, arguments.broken) if arguments.broken else None,
    )  # fmt: skip
    print(report.text())
    failed = not report.ok
    if arguments.kills >= ALL_HIT_FROM and report.never_hit:
        print(f"never hit: {', '.join(report.never_hit)}")
        failed = True
    if failed:
        print(f"stores and logs are kept in {directory}")
    elif arguments.directory is None:
        shutil.rmtree(directory)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
