"""What leaves the machine: upstreams and the hub, with the secrets that are in files."""

from __future__ import annotations

import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from drivers.addresses import host_and_port, is_loopback
from edge.config.files import Table
from edge.config.model import Hub, Upstream
from edge.config.tables import HubTable, UpstreamTable

MIN_TOKEN_CHARACTERS = 16
MAX_SECRET_BYTES = 1 << 20


def read_upstream(upstream: UpstreamTable, table: Table, problems: list[str]) -> Upstream | None:
    """The upstream with its token. None with lines in `problems` where it can't be used."""
    found = len(problems)
    try:
        url = urlsplit(upstream.url)
        host, _ = url.hostname, url.port
    except ValueError as error:
        problems.append(f'{table.place("url")}: "{upstream.url}" is no address: {error}')
        return None
    if url.scheme not in ("http", "https") or not host or url.path not in ("", "/"):
        problems.append(f'{table.place("url")}: "{upstream.url}" is no hub: write https://HOST:PORT')
        return None
    local = is_loopback(host)
    if url.scheme == "http" and not local:
        problems.append(
            f"{table.place('url')}: plain http would show everything to whoever listens on the way; use https"
        )
    if url.username is not None or url.password is not None:
        problems.append(f'{table.place("url")}: a secret in the configuration; put it in a file: token_file = "…"')
    if upstream.token_file is None and not local:
        problems.append(
            f"{table.place()}: no credential for {host}; put the token that the hub knows this node by in a file, "
            'and name it: token_file = "/etc/edge/hub-token"'
        )
    token = _token(upstream.token_file, table, problems) if upstream.token_file is not None else None
    if upstream.ca_file is not None:
        _readable(upstream.ca_file, table, "ca_file", problems)
    if not upstream.streams:
        problems.append(f'{table.place("streams")}: an empty list brings nothing upstream; leave it out for all, ["*"]')
    return Upstream(upstream, token) if len(problems) == found else None


def read_hub(hub: HubTable, table: Table, problems: list[str]) -> Hub | None:
    """The hub with its tokens. None with lines in `problems` where it can't be used."""
    found = len(problems)
    try:
        host, _ = host_and_port(hub.listen)
    except ValueError as error:
        problems.append(f"{table.place('listen')}: {error}")
        return None
    if (hub.certificate is None) != (hub.key is None):
        problems.append(f"{table.place()}: certificate and key belong together; one is missing")
    if not is_loopback(host):
        if hub.certificate is None:
            problems.append(f"{table.place('listen')}: {host} is no loopback address: certificate and key are needed")
        if hub.tokens_file is None:
            problems.append(f"{table.place('listen')}: {host} is no loopback address: tokens_file is needed")
    for key, path in (("certificate", hub.certificate), ("key", hub.key)):
        if path is not None:
            _readable(path, table, key, problems)
    tokens = _tokens(hub.tokens_file, table, problems) if hub.tokens_file is not None else None
    return Hub(hub, tokens) if len(problems) == found else None


def _readable(path: Path, table: Table, key: str, problems: list[str]) -> str | None:
    try:
        if path.stat().st_size > MAX_SECRET_BYTES:
            problems.append(f"{table.place(key)}: {path} is above {MAX_SECRET_BYTES} bytes: is it the right file?")
            return None
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        problems.append(f"{table.place(key)}: {path}: no such file")
    except UnicodeDecodeError:
        problems.append(f"{table.place(key)}: {path}: is no text")
    except OSError as error:
        problems.append(f"{table.place(key)}: {path}: {error.strerror or error}")
    return None


def _token(path: Path, table: Table, problems: list[str]) -> str | None:
    text = _readable(path, table, "token_file", problems)
    if text is None:
        return None
    token = text.strip()
    if len(token) < MIN_TOKEN_CHARACTERS or not token.isascii() or len(token.split()) != 1:
        problems.append(f"{table.place('token_file')}: {path}: {_GOOD_TOKEN}")
        return None
    return token


def _tokens(path: Path, table: Table, problems: list[str]) -> dict[str, str] | None:
    text = _readable(path, table, "tokens_file", problems)
    if text is None:
        return None
    place = table.place("tokens_file")
    try:
        loaded = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problems.append(f'{place}: {path}: is no TOML: {error}; write a line for each gateway: "pump-7" = "its token"')
        return None
    tokens: dict[str, str] = {}
    for node, token in loaded.items():
        if not isinstance(token, str) or len(token) < MIN_TOKEN_CHARACTERS or not token.isascii():
            problems.append(f'{place}: {path}: "{node}": {_GOOD_TOKEN}')
        elif token in tokens.values():
            problems.append(f'{place}: {path}: "{node}" has the token of another node; each needs its own')
        else:
            tokens[node] = token
    return tokens


_GOOD_TOKEN = (
    f"a token is one word of at least {MIN_TOKEN_CHARACTERS} ASCII characters; make one with: openssl rand -hex 32"
)
