"""`edge probe`: what is plugged in, and a block of configuration that reads it. Needs no daemon."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator

from drivers.contract import DriverError, Found
from drivers.registry import probe_of, probed_names
from edge.cli.options import FAILED, WRONG, Options, Verbs, add_verb, complain, print_json
from edge.errors import EdgeError
from storage.clock import SystemClock

TIMEOUT_S = 10.0


def add(verbs: Verbs[argparse.ArgumentParser]) -> None:
    parser = add_verb(verbs, "probe", probe, "what is plugged in, and a ready block of configuration for it")
    parser.add_argument("driver", nargs="?", choices=probed_names(), help="look for this kind alone")
    parser.add_argument("--at", metavar="PATH", help="look at this port, device or URL alone")
    parser.add_argument(
        "--seconds", type=float, default=TIMEOUT_S, help="to listen to each device (default: %(default)g)"
    )


def probe(arguments: argparse.Namespace, options: Options) -> int:
    names = [arguments.driver] if arguments.driver is not None else probed_names()
    if arguments.at is not None and arguments.driver is None:
        complain(f"--at {arguments.at}: say what it is: edge probe {'|'.join(names)} --at {arguments.at}")
        return WRONG
    found = []
    for name in names:
        complain(f"looking for {name} devices …")
        try:
            for each in probe_of(name)(SystemClock(), at=arguments.at, timeout_s=arguments.seconds):
                found.append((name, each))
                if not options.json:
                    sys.stdout.write("\n".join(_block(name, each)) + "\n")
                    sys.stdout.flush()
        except DriverError as error:
            raise EdgeError(str(error)) from error
    if options.json:
        print_json({"found": [_to_json(name, each) for name, each in found]})
    if not found:
        complain("nothing was found. Is it plugged in, switched on, and may this user open it (groups dialout, video)?")
    return 0 if found else FAILED


def _block(driver: str, found: Found) -> Iterator[str]:
    """Comments for a person, and a [[source]] to be pasted."""
    score = "" if found.score is None else f" (score {found.score:.2f})"
    yield f"# {found.device}{score}"
    if found.sample:
        yield f"# {found.sample}"
    name = _word(found.device) or driver
    yield "[[source]]"
    for key, value in {"name": name, "driver": driver, "stream": f"{driver}/{name}", **found.settings}.items():
        # A string, number or boolean of JSON is one of TOML.
        yield f"{key} = {json.dumps(value, ensure_ascii=False)}"
    yield ""


def _to_json(driver: str, found: Found) -> dict[str, object]:
    return {
        "driver": driver,
        "device": found.device,
        "score": found.score,
        "sample": found.sample,
        "settings": dict(found.settings),
    }


def _word(device: str) -> str:
    """A name for a source, from what its device is called."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")[:32].strip("-")
