"""`edge streams`: all of them, or one in full."""

from __future__ import annotations

import argparse

from edge.cli.options import Options, Verbs, add_verb, print_json
from edge.screens import show, stream_screen, streams_screen
from edge.snapshot import to_json


def add(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = add_verb(verbs, "streams", streams, "streams; or one: segments, lengths, gaps, lag")
    parser.add_argument("stream", nargs="?", metavar="STREAM")


def streams(arguments: argparse.Namespace, options: Options) -> int:
    client = options.client()
    name: str | None = arguments.stream
    if name is not None:
        stream = client.stream(name)
        print_json(to_json(stream)) if options.json else show(stream_screen(stream))
        return 0
    node = client.status()
    if options.json:
        print_json({"streams": [to_json(stream) for stream in node.streams]})
    else:
        show(streams_screen(node))
    return 0
