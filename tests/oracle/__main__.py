"""`python -m tests.oracle [--rounds N] [--seed S] [--keep DIRECTORY]`"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.oracle.rounds import run_rounds

ALL_HIT_FROM = 60
"""So many rounds come to every step."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="keep stores and logs here (otherwise kept only when it fails)")
    arguments = parser.parse_args()
    directory: Path = arguments.directory or Path(tempfile.mkdtemp(prefix="edge-oracle-"))
    print(f"seed {arguments.seed}, in {directory}", flush=True)
    report = run_rounds(arguments.rounds, arguments.seed, directory, say=lambda text: print(text, flush=True))
    print(report.text())
    failed = not report.ok
    if arguments.rounds >= ALL_HIT_FROM and report.never_hit:
        print(f"never hit: {', '.join(report.never_hit)}")
        failed = True
    if failed:
        print(f"stores and logs are kept in {directory}")
    elif arguments.directory is None:
        shutil.rmtree(directory)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
