"""`edge repair`: bring a damaged data directory back, with no daemon running, and say exactly what was lost."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge.cli.check import store_of
from edge.cli.options import FAILED, FINE, Options, Verbs, add_verb, complain, print_json
from edge.words import count, count_of
from storage.repairing import RepairReport, repair_directory


def add(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = add_verb(verbs, "repair", repair, "salvage of a damaged data directory, with no daemon running")
    parser.add_argument(
        "data_dir", nargs="?", type=Path, metavar="DATA_DIR", help="default: the data_dir of the configuration"
    )


def repair(arguments: argparse.Namespace, options: Options) -> int:
    """0 where nothing was damaged, or nothing was lost to it; 1 where something was lost, or damage is left."""
    data_dir: Path | None = arguments.data_dir
    if data_dir is None:
        from edge.config import load  # noqa: PLC0415

        data_dir = load(options.config_file).node.data_dir
    report = repair_directory(store_of(data_dir))
    if options.json:
        print_json(_as_json(report))
    else:
        _print(data_dir, report)
    return FINE if report.check.ok and not report.lost else FAILED


def _as_json(report: RepairReport) -> dict[str, object]:
    return {
        "ok": report.check.ok and not report.lost,
        "damaged": report.damaged,
        "found": list(report.lines),
        "lost": [
            {
                "stream": lost.stream,
                "segment": lost.segment,
                "epoch": lost.epoch,
                "start": lost.start,
                "end": lost.end,
                "bytes": lost.bytes,
                "events": lost.events,
                "why": lost.why,
            }
            for lost in report.lost
        ],
        "lost_bytes": report.lost_bytes,
        "put_back": {"entries": report.put_back, "bytes": report.put_back_bytes},
        "quarantined": [{"file": str(file), "bytes": size} for file, size in report.quarantined],
        "left": [
            {"severity": each.severity, "where": each.where, "what": each.what}
            for each in report.check.findings
            if each.severity == "error"
        ],
        "blocks": report.check.blocks,
        "events": report.check.events,
        "commits": report.check.commits,
    }


def _print(data_dir: Path, report: RepairReport) -> None:
    for line in report.lines:
        complain(line)
    for lost in report.lost:
        sys.stdout.write(f"lost: {lost}\n")
    if report.put_back:
        sys.stdout.write(f"put back: {count(report.put_back)} entries, {count(report.put_back_bytes)} bytes\n")
    for file, size in report.quarantined:
        sys.stdout.write(f"kept as it was found: {file} ({count(size)} bytes)\n")
    left = [each for each in report.check.findings if each.severity == "error"]
    for each in left:
        sys.stdout.write(f"left: {each.where}: {each.what}\n")
    lost_text = f"{count(report.lost_bytes)} bytes lost in {count_of(len(report.lost), 'range')}"
    verdict = (
        "nothing was damaged" if not report.damaged else f"repaired, {lost_text if report.lost else 'nothing lost'}"
    )
    if left:
        verdict = f"NOT REPAIRED: {count_of(len(left), 'error')} left"
    sys.stdout.write(f"{verdict}: {data_dir}: {count_of(report.check.events, 'event')} readable\n")
