"""`edge probe`: what its blocks look like, and that they are configuration."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers import registry
from drivers.contract import DeviceLostError, Found
from edge.cli import main
from storage.clock import Clock

FOUND = Found(
    device='FTDI "FT232R" (A50285BI)',
    settings={"port": "/dev/serial/by-id/usb-FTDI", "baud": 9600, "skip_first_line": True},
    score=0.97,
    sample="$WIMWV,084.0,R,10.4,N,A*04",
)


def some(clock: Clock, *, at: str | None = None, timeout_s: float = 10.0) -> Iterator[Found]:
    yield FOUND


def none(clock: Clock, *, at: str | None = None, timeout_s: float = 10.0) -> Iterator[Found]:
    if at is not None:
        raise DeviceLostError(f"{at} is not there: plug it in")
    yield from ()


@pytest.fixture(autouse=True)
def probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "PROBES", {"serial": f"{__name__}:some", "camera": f"{__name__}:none"})


def test_a_block_can_be_pasted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["probe"]) == 0
    out = capsys.readouterr().out
    (source,) = tomllib.loads(out)["source"]
    assert source == {
        "name": "ftdi-ft232r-a50285bi",
        "driver": "serial",
        "stream": "serial/ftdi-ft232r-a50285bi",
    } | dict(FOUND.settings)
    assert "# $WIMWV,084.0,R,10.4,N,A*04" in out
    assert "score 0.97" in out
    file = tmp_path / "edge.toml"
    file.write_text(f'[node]\nname = "pump-7"\ndata_dir = "{tmp_path}"\n{out}', encoding="utf-8")
    assert main(["--config", str(file), "config", "check"]) == 0


def test_json_has_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "probe", "serial"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["found"]
    assert (found["driver"], found["score"], found["settings"]["baud"]) == ("serial", 0.97, 9600)


def test_nothing_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "camera"]) == 1
    assert "nothing was found" in capsys.readouterr().err
    assert main(["probe", "camera", "--at", "/dev/video9"]) == 1
    assert "/dev/video9 is not there: plug it in" in capsys.readouterr().err


def test_a_place_needs_a_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "--at", "/dev/ttyUSB0"]) == 2
    assert "edge probe serial|camera --at /dev/ttyUSB0" in capsys.readouterr().err
