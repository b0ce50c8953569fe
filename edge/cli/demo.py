"""`edge demo`: the whole story on this machine."""

from __future__ import annotations

import argparse

from edge.cli.options import Options, Verbs


def add(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser("demo", help="the whole story on this machine with no configuration", add_help=False)
    parser.set_defaults(verb=demo)


def demo(arguments: argparse.Namespace, options: Options) -> int:
    # Only the demo needs what it shows itself with.
    from edge.demo import main  # noqa: PLC0415

    given: list[str] = arguments.rest
    return main([*given, "--json"] if options.json and "--json" not in given else given)
