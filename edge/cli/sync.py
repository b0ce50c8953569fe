"""`edge sync`: uplinks and their ledgers, and commands to them."""

from __future__ import annotations

import argparse
from dataclasses import replace

from edge.cli.options import Options, Verbs, add_verb, called, complain, print_json
from edge.screens import show, uplinks_screen
from edge.snapshot import to_json


def add(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = add_verb(verbs, "sync", sync, "uplinks and their ledgers")
    parser.add_argument("name", nargs="?", metavar="UPSTREAM")
    parser.add_argument("command", nargs="?", choices=("now", "pause", "resume"))


def sync(arguments: argparse.Namespace, options: Options) -> int:
    client = options.client()
    name: str | None = arguments.name
    if name is not None and arguments.command is not None:
        client.command_uplink(name, arguments.command)
        complain(f"uplink {name}: {arguments.command}")
        return 0
    node = client.status()
    shown = called(name, node.uplinks, "upstream")
    if options.json:
        print_json({"uplinks": [to_json(uplink) for uplink in shown]})
    else:
        show(uplinks_screen(replace(node, uplinks=shown)))
    return 0
