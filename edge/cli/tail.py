"""`edge tail`: events as they become durable."""

from __future__ import annotations

import argparse

from edge.cli.events import print_events, report_gap
from edge.cli.options import UNREACHABLE, Options, Verbs, add_verb, complain


def add(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = add_verb(verbs, "tail", tail, "events as they become durable, until Ctrl-C")
    parser.add_argument("stream", metavar="STREAM")
    parser.add_argument(
        "--from", dest="start", default="tail", metavar="P", help="head, tail, a position, a time, an age such as 15m"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="end after so many events")


def tail(arguments: argparse.Namespace, options: Options) -> int:
    events = options.client().read(
        arguments.stream, arguments.start, limit=arguments.limit, follow=True, on_gap=report_gap
    )
    printed = print_events(events, as_json=options.json, at_once=True)
    if printed != arguments.limit:
        complain("the daemon has stopped: systemctl status edge; journalctl -u edge")
        return UNREACHABLE
    return 0
