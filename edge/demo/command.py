"""`edge demo`: its options, its stage, and its exit code."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from edge.demo.nodes import NODE_COMMAND
from edge.demo.scene import Rates, Scene
from edge.demo.show import LiveShow, PlainShow, show_result
from edge.demo.story import Outcome, Show, Story
from edge.errors import EdgeError

SECONDS = 20.0
SHORTEST_S, LONGEST_S = 4.0, 60.0


def main(argv: Sequence[str] | None = None) -> int:
    """The verb with the arguments behind it. Exit code 0: every promise was kept; 1; 2: wrong usage."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    seconds: float = arguments.seconds
    if not SHORTEST_S <= seconds <= LONGEST_S:
        sys.stderr.write(f"edge: demo: --seconds {seconds:g}: use {SHORTEST_S:g} to {LONGEST_S:g}\n")
        return 2
    return run_demo(seconds, as_json=arguments.json)


def run_demo(seconds: float = SECONDS, *, as_json: bool = False, command: Sequence[str] = NODE_COMMAND) -> int:
    """Play it. `command` starts a node: whoever breaks one on purpose gives another."""
    out = sys.stderr if as_json else sys.stdout
    show: LiveShow | PlainShow = LiveShow(out) if out.isatty() else PlainShow(out)
    try:
        outcome = _play(seconds, show, command)
    except KeyboardInterrupt:
        out.write("\nStopped; nothing is left behind.\n")
        return 1
    except EdgeError as error:
        sys.stderr.write(f"edge: demo: {error}\n")
        return 1
    finally:
        show.close()
    show_result(outcome, out)
    if as_json:
        sys.stdout.write(json.dumps(as_object(outcome)) + "\n")
    return 0 if outcome.ok else 1


def as_object(outcome: Outcome) -> dict[str, object]:
    """What `--json` prints."""
    sources = [
        {"source": name, "kind": outcome.kinds[name], **asdict(verdict), "lost": verdict.lost}
        for name, verdict in outcome.verdicts.items()
    ]
    return {
        "ok": outcome.ok,
        "elapsed_s": round(outcome.elapsed_s, 1),
        "sources": sources,
        "troubles": list(outcome.troubles),
    }


def _play(seconds: float, show: Show, command: Sequence[str]) -> Outcome:
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edge-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        scene = Scene(folder, rates=Rates(pictures_per_s=5.0), command=command)
        try:
            return Story(scene, show, seconds, began_s).play()
        finally:
            scene.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge demo",
        description="A gateway and a hub on this machine: the link is cut, the gateway killed, and everything compared.",
    )
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, metavar="N",
        help=f"how long the story is, {SHORTEST_S:g} to {LONGEST_S:g}; start and comparison come on top (default {SECONDS:g})",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one object at the end, the story on standard error")
    return parser
