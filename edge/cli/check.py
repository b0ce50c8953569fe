"""`edge check`: is the store consistent? Of a running daemon through its socket, or of a directory that nobody uses."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge.cli.options import FAILED, Options, Verbs, add_verb, complain, print_json
from edge.client import CheckAnswer
from edge.errors import DaemonUnreachableError
from edge.words import count, count_of
from storage.store import SegmentStore


def add(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = add_verb(verbs, "check", check, "consistency of a data directory, or of the running daemon's store")
    parser.add_argument(
        "data_dir", nargs="?", type=Path, metavar="DATA_DIR", help="a data directory that no daemon uses now"
    )


def check(arguments: argparse.Namespace, options: Options) -> int:
    data_dir: Path | None = arguments.data_dir
    if data_dir is not None:
        what, answer = str(data_dir), check_offline(data_dir)
    else:
        client = options.client()
        try:
            what, answer = f"the store of the daemon at {client.socket}", client.check()
        except DaemonUnreachableError as error:
            if options.socket is not None:
                raise
            # Validation brings its library and every driver with it, which a check through the socket does not need.
            from edge.config import load  # noqa: PLC0415

            data_dir = load(options.config_file).node.data_dir
            complain(f"no daemon runs ({error}); checking {data_dir}")
            what, answer = str(data_dir), check_offline(data_dir)
    _print(what, answer, as_json=options.json)
    return 0 if answer.ok else FAILED


def check_offline(data_dir: Path) -> CheckAnswer:
    """Check a store that is not open. `data_dir` holds `store/`, or is the store itself.

    Raises StoreLockedError, StoreFormatError, StorageError.
    """
    report = SegmentStore.check_directory(store_of(data_dir))
    findings = tuple((finding.severity, finding.where, finding.what) for finding in report.findings)
    return CheckAnswer(report.ok, findings, report.blocks, report.events, report.commits)


def store_of(data_dir: Path) -> Path:
    """The store in a data directory, or the directory itself where it is one."""
    return data_dir if (data_dir / "db").exists() or (data_dir / "FORMAT").exists() else data_dir / "store"


def _print(what: str, answer: CheckAnswer, *, as_json: bool) -> None:
    if as_json:
        findings = [{"severity": kind, "where": where, "what": text} for kind, where, text in answer.findings]
        counts = {"blocks": answer.blocks, "events": answer.events, "commits": answer.commits}
        print_json({"ok": answer.ok, "findings": findings, **counts})
        return
    for severity, where, text in answer.findings:
        sys.stdout.write(f"{severity}: {where}: {text}\n")
    looked_at = f"{count_of(answer.events, 'event')} in {count(answer.blocks)} blocks, {count(answer.commits)} commits"
    errors = sum(severity == "error" for severity, _, _ in answer.findings)
    verdict = "ok" if answer.ok else f"DAMAGED: {count_of(errors, 'error')}"
    sys.stdout.write(f"{verdict}: {what}: {looked_at}\n")
