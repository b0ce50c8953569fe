"""`edge sources`: configured devices, and commands to them."""

from __future__ import annotations

import argparse
from dataclasses import replace

from edge.cli.options import Options, Verbs, add_verb, called, complain, print_json
from edge.screens import show, sources_screen
from edge.snapshot import to_json


def add(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = add_verb(verbs, "sources", sources, "configured devices and their health")
    parser.add_argument("name", nargs="?", metavar="NAME")
    parser.add_argument("command", nargs="?", choices=("pause", "resume", "restart"))


def sources(arguments: argparse.Namespace, options: Options) -> int:
    client = options.client()
    name: str | None = arguments.name
    if name is not None and arguments.command is not None:
        client.command_source(name, arguments.command)
        complain(f"source {name}: {arguments.command}")
        return 0
    node = client.status()
    shown = called(name, node.sources, "source")
    if options.json:
        print_json({"sources": [to_json(source) for source in shown]})
    else:
        show(sources_screen(replace(node, sources=shown)))
    return 0
