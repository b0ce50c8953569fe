"""`edge config`: validation, a commented sample, the JSON Schema."""

from __future__ import annotations

import argparse
import sys

from edge.cli.options import WRONG, Options, Verbs, add_verb, complain, print_json
from edge.errors import ConfigurationError


def add(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = add_verb(verbs, "config", config, "check the configuration, or print a sample or its JSON Schema")
    parser.add_argument("what", choices=("check", "sample", "schema"))


def config(arguments: argparse.Namespace, options: Options) -> int:
    # Validation brings its library and every driver with it, which no other verb needs.
    from edge.config import sample, schema  # noqa: PLC0415

    if arguments.what == "sample":
        sys.stdout.write(sample())
        return 0
    if arguments.what == "schema":
        print_json(schema())
        return 0
    return _check(options)


def _check(options: Options) -> int:
    from edge.config import describe, load  # noqa: PLC0415

    try:
        found = load(options.config_file)
    except ConfigurationError as error:
        if not options.json:
            raise
        print_json({"ok": False, "problems": error.problems})
        return WRONG
    lines = list(describe(found))
    if options.json:
        print_json({"ok": True, "problems": [], "notices": list(found.notices), "runs": lines})
        return 0
    for notice in found.notices:
        complain(f"note: {notice}")
    sys.stdout.write("".join(f"{line}\n" for line in ("ok", *lines)))
    return 0
