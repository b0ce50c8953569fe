"""`edge read`: events from history."""

from __future__ import annotations

import argparse

from edge.cli.events import print_events, report_gap
from edge.cli.options import Options, Verbs, add_verb

_WHERE = "head, tail, a position that an earlier read printed, an ISO 8601 time, or an age such as 15m"


def add(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = add_verb(verbs, "read", read, "events from history")
    parser.add_argument("stream", metavar="STREAM")
    parser.add_argument("--from", dest="start", default="head", metavar="P", help=f"{_WHERE} (default: head)")
    parser.add_argument("--to", dest="stop", metavar="P", help="the first that is left out (default: none)")
    parser.add_argument("--limit", type=int, metavar="N", help="at most so many events")


def read(arguments: argparse.Namespace, options: Options) -> int:
    events = options.client().read(
        arguments.stream, arguments.start, stop=arguments.stop, limit=arguments.limit, on_gap=report_gap
    )
    print_events(events, as_json=options.json)
    return 0
