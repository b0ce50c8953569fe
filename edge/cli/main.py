"""From the command line to a verb, and from what it raises to an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from edge.cli import (
    check,
    config,
    demo,
    export,
    mqtt_password,
    probe,
    read,
    repair,
    run,
    sources,
    status,
    streams,
    sync,
    tail,
    write,
)
from edge.cli.options import FAILED, FINE, UNREACHABLE, WRONG, Options, Verb, common_options, complain
from edge.errors import ConfigurationError, DaemonUnreachableError, EdgeError
from storage.errors import StorageError
from storage.trace import Trace, no_trace

VERBS = (
    run,
    demo,
    status,
    streams,
    tail,
    read,
    write,
    export,
    sources,
    probe,
    sync,
    check,
    repair,
    config,
    mqtt_password,
)


def main(argv: Sequence[str] | None = None, *, trace: Trace = no_trace) -> int:
    """The command `edge` with the arguments `argv` (the process's). Returns the exit code."""
    try:
        arguments, rest = _parser().parse_known_args(argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else WRONG
    verb: Verb = arguments.verb
    if rest and verb is not demo.demo:
        complain(f"not understood: {' '.join(rest)}; see: edge --help")
        return WRONG
    arguments.rest = rest
    _show_what_cannot_be_encoded()
    options = Options(arguments.config, arguments.socket, arguments.json, trace)
    return _run(verb, arguments, options)


def _show_what_cannot_be_encoded() -> None:
    """A terminal that has no glyph for something gets its number, and the verb goes on."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run(verb: Verb, arguments: argparse.Namespace, options: Options) -> int:
    try:
        code = verb(arguments, options)
        sys.stdout.flush()
    except ConfigurationError as error:
        for problem in error.problems:
            complain(problem)
        return WRONG
    except DaemonUnreachableError as error:
        complain(str(error))
        return UNREACHABLE
    except (EdgeError, StorageError) as error:
        complain(str(error))
        return FAILED
    except BrokenPipeError:
        # The reader of our output has gone. What is left in the buffer must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except KeyboardInterrupt:
        return FINE
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge",
        description="An edge ingestion appliance: what devices say goes to disk first, then upstream, exactly once.",
        parents=[common_options(inner=False)],
        epilog="Exit codes: 0 fine, 1 failed or found something, 2 usage or configuration, 3 daemon unreachable.",
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in VERBS:
        verb.add(verbs)
    return parser
