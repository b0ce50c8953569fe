"""`edge demo`: it ends well, and when a promise is broken on purpose it says so and exits 1."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import cast

import pytest

from edge.demo import main, run_demo
from tests.oracle.aim import module_command
from tests.servers.mosquitto import program

Source = dict[str, int]


@pytest.fixture(autouse=True)
def mosquitto_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it was fetched and not installed: a program of that name that finds its libraries."""
    found, environment = program()
    folder = tmp_path / "bin"
    folder.mkdir()
    libraries = shlex.quote(environment.get("LD_LIBRARY_PATH", ""))
    script = f'#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {shlex.quote(str(found))} "$@"\n'
    (folder / "mosquitto").write_text(script, encoding="utf-8")
    (folder / "mosquitto").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def printed(capsys: pytest.CaptureFixture[str]) -> tuple[bool, dict[str, Source]]:
    """`ok`, and the counts of each source."""
    outcome = json.loads(capsys.readouterr().out)
    sources = {source["source"]: cast(Source, source) for source in outcome["sources"]}
    return bool(outcome["ok"]), sources


def test_nothing_is_lost_doubled_or_out_of_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "4", "--json"]) == 0
    ok, sources = printed(capsys)
    assert ok
    assert set(sources) == {"flow", "field", "doser"}
    for source in sources.values():
        assert source["acknowledged"] > 0
        assert source["upstream"] >= source["acknowledged"]
        assert (source["lost"], source["duplicate"], source["out_of_order"]) == (0, 0, 0)


@pytest.mark.long
def test_without_mosquitto_it_says_so_and_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.demo.command.find_mosquitto", lambda: None)
    assert main(["--seconds", "4"]) == 0
    said = capsys.readouterr().out
    assert "mosquitto is not on the PATH" in said
    assert "MQTT publishers  " not in said


@pytest.mark.long
def test_deduplication_off_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(4.0, as_json=True, command=module_command("tests.oracle.broken", "duplicates")) == 1
    _, sources = printed(capsys)
    assert sources["doser"]["duplicate"] > 0


@pytest.mark.long
def test_acknowledgement_before_the_write_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(6.0, as_json=True, command=module_command("tests.oracle.broken", "early")) == 1
    _, sources = printed(capsys)
    assert sources["field"]["lost"] > 0


@pytest.mark.long
def test_a_unit_that_is_not_atomic_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(6.0, as_json=True, command=module_command("tests.oracle.broken", "halves")) == 1
    _, sources = printed(capsys)
    assert sum(source["lost"] for source in sources.values()) > 0


@pytest.mark.parametrize("argument", ["--seconds=1", "--seconds=soon", "--minutes=2"])
def test_wrong_usage_is_exit_code_2(argument: str) -> None:
    assert main([argument]) == 2
