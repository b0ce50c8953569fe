"""What all verbs share: the options before and after the verb, and where they lead."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from edge.client import Client
from edge.errors import ConfigurationError, EdgeError
from edge.places import DEFAULT_SOCKET, socket_of
from storage.trace import Trace

DEFAULT_CONFIG = Path("/etc/edge/edge.toml")

FINE, FAILED, WRONG, UNREACHABLE = 0, 1, 2, 3

Verbs = argparse._SubParsersAction


@dataclass(frozen=True, slots=True)
class Options:
    """The options of every verb. `config` is None where none was named."""

    config: Path | None
    socket: Path | None
    json: bool
    trace: Trace

    @property
    def config_file(self) -> Path:
        return self.config if self.config is not None else DEFAULT_CONFIG

    def client(self) -> Client:
        """The daemon at the socket that was named, or that the configuration names.

        Raises ConfigurationError where a configuration was named that can't be read.
        """
        if self.socket is not None:
            return Client(self.socket)
        named = socket_of(self.config_file)
        if named is None and self.config is not None:
            raise ConfigurationError([f"{self.config}: can't be read, or is no TOML: see edge config check"])
        return Client(named if named is not None else DEFAULT_SOCKET)


class Named(Protocol):
    @property
    def name(self) -> str: ...


NamedT = TypeVar("NamedT", bound=Named)


def called(name: str | None, configured: Sequence[NamedT], what: str) -> tuple[NamedT, ...]:
    """The one of that name; all where none was named. Raises EdgeError, which says which there are."""
    found = tuple(each for each in configured if name in (None, each.name))
    if name is not None and not found:
        known = ", ".join(each.name for each in configured) or "none are configured"
        raise EdgeError(f'no {what} is called "{name}"; there are: {known}')
    return found


Verb = Callable[[argparse.Namespace, Options], int]


def common_options(*, inner: bool) -> argparse.ArgumentParser:
    """`--config`, `--socket`, `--json`. After the verb (`inner`) they only override what stood before it."""
    unset = argparse.SUPPRESS if inner else None
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("everywhere")
    group.add_argument(
        "--config", type=Path, metavar="FILE", default=unset, help=f"configuration (default: {DEFAULT_CONFIG})"
    )
    group.add_argument(
        "--socket", type=Path, metavar="PATH", default=unset, help="local socket (default: the configuration's)"
    )
    group.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS if inner else False,
        help="machine-readable output",
    )
    return parser


def add_verb(verbs: Verbs[argparse.ArgumentParser], name: str, verb: Verb, text: str) -> argparse.ArgumentParser:
    """A parser for one verb, with its help."""
    parser = verbs.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[common_options(inner=True)]
    )
    parser.set_defaults(verb=verb)
    return parser


def print_json(value: object) -> None:
    """One object on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def complain(text: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"edge: {text}\n")
