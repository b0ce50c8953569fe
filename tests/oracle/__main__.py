"""`python -m tests.oracle [--rounds N] [--seed S] [--directory DIRECTORY]`"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from tests.oracle.rounds import run_rounds
from tests.rounds import run_in

ALL_HIT_FROM = 60
"""So many rounds come to every step."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="keep stores and logs here (otherwise kept only when it fails)")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    run = partial(run_rounds, arguments.rounds, arguments.seed, say=partial(print, flush=True))
    return run_in(arguments.directory, "oracle", run, every_step=arguments.rounds >= ALL_HIT_FROM)


if __name__ == "__main__":
    sys.exit(main())
