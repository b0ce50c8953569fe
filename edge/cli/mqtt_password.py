"""`edge mqtt-password`: a user of the MQTT listener, added or given another password."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from edge.cli.options import WRONG, Options, Verbs, add_verb, complain, print_json
from edge.errors import EdgeError


def add(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = add_verb(verbs, "mqtt-password", mqtt_password, "add a user of the MQTT listener, or change the password")
    parser.add_argument("file", type=Path, metavar="FILE", help="what `passwords` of the source names; made if missing")
    parser.add_argument("name", metavar="NAME")


def mqtt_password(arguments: argparse.Namespace, options: Options) -> int:
    # The driver brings with it what no other verb needs.
    from drivers.listener.passwords import PasswordError, set_password  # noqa: PLC0415

    password = _asked() if sys.stdin.isatty() else sys.stdin.buffer.readline().rstrip(b"\r\n")
    if password is None:
        complain("the two passwords differ: nothing was changed")
        return WRONG
    try:
        new = set_password(arguments.file, arguments.name, password)
    except PasswordError as error:
        raise EdgeError(str(error)) from error
    if options.json:
        print_json({"file": str(arguments.file), "name": arguments.name, "new": new})
    else:
        complain(f"{arguments.file}: {arguments.name} {'was added' if new else 'has another password now'}")
    return 0


def _asked() -> bytes | None:
    """What was typed twice, without an echo; None where it was not the same."""
    first = getpass.getpass("Password: ")
    return first.encode() if getpass.getpass("Again: ") == first else None
