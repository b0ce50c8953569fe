"""`edge demo`: it ends well, and when a promise is broken on purpose it says so and exits 1."""

from __future__ import annotations

import json
from typing import cast

import pytest

from edge.demo import main, run_demo
from tests.oracle.aim import module_command

Source = dict[str, int]


def printed(capsys: pytest.CaptureFixture[str]) -> tuple[bool, dict[str, Source]]:
    """`ok`, and the counts of each source."""
    outcome = json.loads(capsys.readouterr().out)
    sources = {source["source"]: cast(Source, source) for source in outcome["sources"]}
    return bool(outcome["ok"]), sources


@pytest.mark.long
def test_nothing_is_lost_doubled_or_out_of_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "4", "--json"]) == 0
    ok, sources = printed(capsys)
    assert ok
    assert set(sources) == {"flow", "local", "doser", "gate"}
    for source in sources.values():
        assert source["acknowledged"] > 0
        assert source["upstream"] >= source["acknowledged"]
        assert (source["lost"], source["duplicate"], source["out_of_order"]) == (0, 0, 0)


@pytest.mark.long
def test_deduplication_off_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(4.0, as_json=True, command=module_command("tests.oracle.broken", "duplicates")) == 1
    _, sources = printed(capsys)
    assert sources["doser"]["duplicate"] > 0


@pytest.mark.long
def test_acknowledgement_before_the_write_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(6.0, as_json=True, command=module_command("tests.oracle.broken", "early")) == 1
    _, sources = printed(capsys)
    assert sources["local"]["lost"] > 0


@pytest.mark.long
def test_a_unit_that_is_not_atomic_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(6.0, as_json=True, command=module_command("tests.oracle.broken", "halves")) == 1
    _, sources = printed(capsys)
    assert sum(source["lost"] for source in sources.values()) > 0


@pytest.mark.parametrize("argument", ["--seconds=1", "--seconds=soon", "--minutes=2"])
def test_wrong_usage_is_exit_code_2(argument: str) -> None:
    assert main([argument]) == 2
