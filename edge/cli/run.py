"""`edge run`: the daemon."""

from __future__ import annotations

import argparse

from edge.cli.options import Options, Verbs, add_verb


def add(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = add_verb(verbs, "run", run, "the daemon: a gateway, a hub when the configuration has [hub], or both")
    parser.add_argument("--debug", action="store_true", help="log every step")


def run(arguments: argparse.Namespace, options: Options) -> int:
    # The daemon brings every driver, the server and the store with it: verbs that only ask need none of it.
    from edge.config import load  # noqa: PLC0415
    from edge.daemon import run as run_daemon  # noqa: PLC0415
    from edge.daemon.log import set_up_log  # noqa: PLC0415

    config = load(options.config_file)
    set_up_log(debug=arguments.debug)
    return run_daemon(config, trace=options.trace)
