"""What a person is told about a configuration that can't be used: the place, what is wrong, what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge import ConfigurationError
from edge.config import load

NODE = '[node]\nname = "pump-7"\n'
SOURCE = '[[source]]\nname = "flow"\ndriver = "serial"\nstream = "plant/flow"\n'
UPSTREAM = '[[upstream]]\nname = "hub"\nurl = "http://127.0.0.1:7443"\n'


def problems(directory: Path, text: str) -> list[str]:
    """What is wrong with that text, each with the file's name left out."""
    path = directory / "edge.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    return [problem.replace(f"{path}:", "").replace(f"{directory}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (NODE + SOURCE + "bautrate = 9600\n", '7: source[0].bautrate: unknown key; did you mean "baud"?'),
        (NODE + 'diskk_limit = "8GiB"\n', '3: node.diskk_limit: unknown key; did you mean "disk_limit"?'),
        (NODE + "[[sources]]\n", '3: sources[0]: unknown table; did you mean "source"?'),
        (NODE + "[source]\n", "3: source: there may be several: write [[source]]"),
        ("[[node]]\n", "1: node[0]: there is one [node], not a list: write single brackets"),
        ("name = 1\n" + NODE, "1: name: a key outside of any table; put it below its [table]"),
        (
            NODE + SOURCE + 'baud = "9600"\n',
            '7: source[0].baud: expected a whole number, found the text "9600"; write it without quotes: 9600',
        ),
        (NODE + SOURCE + "port = 3\n", "7: source[0].port: expected a text, found the number 3"),
        (
            NODE + SOURCE + "parity = 'strange'\n",
            "7: source[0].parity: expected 'none', 'even', 'odd', 'mark' or 'space', found the text \"strange\"",
        ),
        (
            NODE + SOURCE + 'commit_interval = "1 fortnight"\n',
            "7: source[0].commit_interval: '1 fortnight' is no duration: write a number and a unit, "
            'such as "500ms", "15m" or "30d"',
        ),
        (
            NODE + UPSTREAM + 'streams = "plant/*"\n',
            '6: upstream[0].streams: expected a list, found the text "plant/*"; write ["plant/*"]',
        ),
        (
            NODE + SOURCE.replace("serial", "modbus") + 'registers = [{ name = "a" }, { name = "b", adress = 3 }]\n',
            '7: source[0].registers[1].adress: unknown key; did you mean "address"?',
        ),
        (NODE + '[[source]]\ndriver = "serial"\nstream = "a"\n', "3: source[0].name: missing; a [[source]] needs it"),
        ("[hub]\nlisten = '127.0.0.1:1'\n", 'node: missing; begin with [node] and name = "…", the identity upstream'),
        (
            NODE + SOURCE.replace("serial", "seriel"),
            '5: source[0].driver: no driver is called "seriel"; did you mean "serial"?',
        ),
        (
            NODE + '[[stream]]\nname = "a"\nscaling = { by = "events" }\n',
            "5: stream[0].scaling: scaling by events needs target_per_s above 0, not 0.0",
        ),
        (
            NODE
            + '[[stream]]\nname = "a"\nscaling = { by = "bytes", target_per_s = 1, windows = ["5s", "1s", "9s"] }\n',
            "5: stream[0].scaling: windows of 5, 1 and 9 s, cooldown 60 s: three windows above 0, the shortest first",
        ),
        (
            NODE + '[[stream]]\nname = "a"\nscaling = { by = "rows" }\n',
            "5: stream[0].scaling.by: expected 'fixed', 'events' or 'bytes', found the text \"rows\"",
        ),
        (
            NODE + UPSTREAM + 'bandwidth = "2Mbit/s"\n',
            "6: upstream[0].bandwidth: not supported by this version: the link is used as it is for now; remove the key",
        ),
        (
            NODE + '[[stream]]\nname = "a"\ndurable_every = "1s"\n',
            '5: stream[0].durable_every: this stream is of kind "telemetry", where it says nothing: remove it, or write '
            'kind = "bulk". A source has its commit_interval',
        ),
        (
            NODE + UPSTREAM + 'kind = "kafka"\n',
            '6: upstream[0].kind: the text "kafka" is not supported by this version',
        ),
        (
            NODE + SOURCE + SOURCE,
            '8: source[1].name: "flow" is also 4: source[0].name; names must differ',
        ),
        (
            NODE + SOURCE.replace("plant/flow", "plant flow"),
            "6: source[0].stream: 'plant flow' is no stream name: use words of letters, digits and _.~@:+=- "
            "with single slashes between them",
        ),
        ('[node]\nname = "a/b"\n', '2: node.name: "a/b" has a slash; use letters, digits and _.~@:+=-'),
    ],
)
def test_it_says_where_what_and_what_to_do(tmp_path: Path, text: str, problem: str) -> None:
    assert [found.strip() for found in problems(tmp_path, text)] == [problem]


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, NODE + SOURCE + 'baud = "fast"\nbautrate = 1\n' + UPSTREAM + "speed = 1\n")
    assert len(found) == 3


def test_a_file_that_is_missing_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / "edge.toml")
    assert caught.value.problems == [
        f"{tmp_path}/edge.toml: no such file. Make one with: edge config sample > {tmp_path}/edge.toml"
    ]


def test_a_file_that_is_no_toml_says_where(tmp_path: Path) -> None:
    assert problems(tmp_path, "[node\n")[0].startswith(" is no TOML: Expected ']'")


@pytest.mark.parametrize(
    ("url", "more", "problem"),
    [
        ("http://hub.example:7443", "", "plain http would show everything to whoever listens on the way; use https"),
        ("https://hub.example:7443", "", "no credential for hub.example; put the token"),
        ("https://joe:secret@hub.example", "", "a secret in the configuration; put it in a file"),
        ("hub.example:7443", "", "is no hub: write https://HOST:PORT"),
        ("https://127.0.0.1:7443", 'token_file = "missing"\n', "missing: no such file"),
        ("https://127.0.0.1:7443", 'token_file = "edge.toml"\n', "a token is one word of at least 16 ASCII characters"),
        ("http://127.0.0.1:7443", "streams = []\n", "an empty list brings nothing upstream"),
    ],
)
def test_an_upstream_needs_tls_and_a_credential(tmp_path: Path, url: str, more: str, problem: str) -> None:
    text = NODE + UPSTREAM.replace("http://127.0.0.1:7443", url) + more
    assert any(problem in found for found in problems(tmp_path, text))


@pytest.mark.parametrize("url", ["http://127.0.0.1:7443", "http://localhost:7443", "http://[::1]:7443"])
def test_on_a_loopback_address_neither_is_needed(tmp_path: Path, url: str) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(NODE + UPSTREAM.replace("http://127.0.0.1:7443", url))
    assert load(path).upstreams[0].table.url == url


@pytest.mark.parametrize(
    ("hub", "problem"),
    [
        ('listen = "0.0.0.0:7443"\n', "0.0.0.0 is no loopback address: certificate and key are needed"),
        ('listen = "0.0.0.0:7443"\n', "0.0.0.0 is no loopback address: tokens_file is needed"),
        ('listen = "127.0.0.1:7443"\ncertificate = "c.pem"\n', "certificate and key belong together; one is missing"),
        ('listen = "7443"\n', '"7443" is no address: write ADDRESS:PORT'),
        ('listen = "127.0.0.1:7443"\ntokens_file = "short"\n', '"pump-7": a token is one word of at least 16'),
        ('listen = "127.0.0.1:7443"\ntokens_file = "same"\n', '"b" has the token of another node'),
    ],
)
def test_a_hub_that_others_reach_needs_tls_and_tokens(tmp_path: Path, hub: str, problem: str) -> None:
    (tmp_path / "short").write_text('"pump-7" = "abc"\n')
    (tmp_path / "same").write_text(f'a = "{"x" * 32}"\nb = "{"x" * 32}"\n')
    assert any(problem in found for found in problems(tmp_path, NODE + "[hub]\n" + hub))


def test_a_token_is_never_part_of_a_text(tmp_path: Path) -> None:
    secret = "s3cret" * 6
    (tmp_path / "token").write_text(secret + "\n")
    path = tmp_path / "edge.toml"
    path.write_text(NODE + UPSTREAM + 'token_file = "token"\n')
    config = load(path)
    assert config.upstreams[0].token == secret
    assert secret not in repr(config)
