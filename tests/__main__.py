"""`python -m tests [--quick | --soak]`: everything that checks this project, and one summary at the end.

`--quick` leaves out the long runs, `--soak` runs them at full length. A test that could not run is named at the end; with
`CI=true` in the environment it counts as a failure.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOST_WORKERS = 4
"""Processes that run tests, where there are as many cores: each test starts gateways and brokers of its own beside them."""
STATIC = {
    "format": ["ruff", "format", "--check", "--quiet", "."],
    "lint": ["ruff", "check", "--quiet", "."],
    "types": ["mypy"],
    "layers": ["lint-imports", "--no-cache"],
}


class Tally:
    """Counts what pytest reports."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)
        elif report.skipped:
            self.skipped.append(f"{report.nodeid}: {report.longrepr[2] if isinstance(report.longrepr, tuple) else ''}")
        elif report.when == "call":
            self.passed += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed.append(f"{report.nodeid} (could not be collected)")


def run_static(name: str, command: list[str]) -> bool:
    """Run one of the checks that look at the code. What it has to say is shown where it fails."""
    program = Path(sys.executable).parent / command[0]
    result = subprocess.run([str(program), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    print(f"{name:8} {'ok' if result.returncode == 0 else 'FAILED'}", flush=True)
    if result.returncode != 0:
        print(result.stdout + result.stderr, flush=True)
    return result.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests", description=__doc__.splitlines()[0])
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="leave out the long runs (a good minute)")
    length.add_argument("--soak", action="store_true", help="run the long runs at full length")
    parser.add_argument("pytest", nargs="*", help="passed on to pytest: paths, -k …")
    arguments, rest = parser.parse_known_args()
    os.chdir(ROOT)
    if arguments.soak:
        os.environ["EDGE_SOAK"] = "1"
    began = time.monotonic()
    failed_checks = [name for name, command in STATIC.items() if not run_static(name, command)]
    tally = Tally()
    options = ["-m", "not long"] if arguments.quick else []
    side_by_side = ["-n", str(min(os.cpu_count() or 1, MOST_WORKERS)), "--dist", "worksteal"]
    outcome = pytest.main([*side_by_side, *options, *arguments.pytest, *rest], plugins=[tally])
    failed = [*failed_checks, *tally.failed]
    if outcome not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        failed.append(f"pytest ended with {outcome!r}")
    print(f"\n{time.monotonic() - began:.0f} s")
    for name in failed:
        print(f"failed: {name}")
    for name in tally.skipped:
        print(f"could not run: {name}")
    if tally.skipped and os.environ.get("CI") == "true":
        failed += tally.skipped
    print(f"{tally.passed + len(STATIC) - len(failed_checks)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
