"""`edge status`: one screen."""

from __future__ import annotations

import argparse
import time

from edge.cli.options import Options, Verbs, add_verb, complain, print_json
from edge.errors import DaemonUnreachableError
from edge.screens import overview_screen, show, show_watched
from edge.snapshot import to_json


def add(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = add_verb(verbs, "status", status, "is everything safe, and when did upstream last confirm")
    parser.add_argument("--watch", action="store_true", help="show it again and again, until Ctrl-C")
    parser.add_argument("--interval", type=float, default=1.0, metavar="S", help="seconds between (default: 1)")


def status(arguments: argparse.Namespace, options: Options) -> int:
    client = options.client()
    if not arguments.watch:
        node = client.status()
        print_json(to_json(node)) if options.json else show(overview_screen(node))
        return 0
    while True:
        try:
            node = client.status()
            print_json(to_json(node)) if options.json else show_watched(overview_screen(node))
        except DaemonUnreachableError as error:
            complain(str(error))
        time.sleep(max(0.1, arguments.interval))
