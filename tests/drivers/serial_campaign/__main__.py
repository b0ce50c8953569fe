"""`python -m tests.drivers.serial_campaign [--lines N] [--seconds S] [--baud B] [--bad SHARE] [--seed S]`"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.drivers.serial_campaign.running import Plan, run_campaign


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drivers.serial_campaign")
    parser.add_argument("--lines", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--baud", type=int, default=115_200)
    parser.add_argument("--bad", type=float, default=0.01, help="share of the frames that are damaged")
    parser.add_argument("--commit-interval", default="", help='such as "1s"; otherwise each reading at once')
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    plan = Plan(given.lines, given.seconds, given.baud, given.bad, given.seed, given.commit_interval)
    with tempfile.TemporaryDirectory(prefix="edge-serial-") as folder:
        report = run_campaign(plan, Path(folder))
    print(report.text())
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
