"""A log that grows and is rotated: each line once, in order, whatever happened while nobody looked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.contract import DriverConfigError, SourceSettings
from drivers.fake import RecordingSink
from drivers.file import FollowDriver, rotation
from drivers.file.following import FollowConfig
from storage.clock import Clock, FakeClock
from storage.units import Duration
from tests.drivers.running import Running

SETTINGS = SourceSettings(name="log", driver="follow", stream="plant/log")
Rotate = Callable[["Log"], None]


class Log:
    """A log, whoever writes it, and the gateway that follows it."""

    def __init__(self, folder: Path, config: FollowConfig | None = None) -> None:
        self.path = folder / "x.log"
        self.config = replace(config or FollowConfig(), path=self.path)
        self.clock = FakeClock()
        self.sink = RecordingSink()
        self._number = 0
        self.start()

    def start(self) -> None:
        self.running = Running(self._make, SETTINGS, self.sink, clock=self.clock)

    def _make(self, settings: SourceSettings, clock: Clock) -> FollowDriver:
        return FollowDriver(self.config, settings, clock)

    def crash(self) -> None:
        self.sink.lose_power()
        self.start()

    def write(self, count: int = 1) -> None:
        with self.path.open("a") as file:
            for _ in range(count):
                self._number += 1
                file.write(f"line {self._number}\n")

    def shift(self) -> None:
        """What logrotate does before either."""
        for number in range(8, 0, -1):
            old = self.path.with_name(f"x.log.{number}")
            if old.exists():
                old.rename(self.path.with_name(f"x.log.{number + 1}"))

    def rename(self) -> None:
        self.shift()
        self.path.rename(self.path.with_name("x.log.1"))

    def copy(self) -> None:
        self.shift()
        shutil.copyfile(self.path, self.path.with_name("x.log.1"))
        os.truncate(self.path, 0)

    def pass_time(self, seconds: float = 4.0) -> None:
        for _ in range(int(seconds / 0.5)):
            self.running.step()
            self.running.step()
            self.clock.advance(0.5)

    def is_stored(self) -> None:
        assert self.sink.payloads() == [f"line {n + 1}".encode() for n in range(self._number)]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


rotations = pytest.mark.parametrize("rotate", [Log.rename, Log.copy])


def test_lines_are_taken_as_they_come(log: Log) -> None:
    log.pass_time()
    assert "is not there yet" in (log.running.source.status().last_error or "")
    for count in (1, 0, 3):
        log.write(count)
        log.pass_time()
        log.is_stored()
    assert dict(log.sink.events[0].headers) == {"file.name": b"x.log"}


def test_a_line_without_its_end_waits_for_it(log: Log) -> None:
    log.path.write_bytes(b"li")
    log.pass_time(10)
    assert log.sink.payloads() == []
    log.path.write_bytes(b"line 1\n")
    log.pass_time()
    assert log.sink.payloads() == [b"line 1"]


@rotations
def test_rotation_while_it_is_read(rotate: Rotate, log: Log) -> None:
    for _ in range(5):
        log.write(3)
        log.pass_time(1)
        log.write(2)
        rotate(log)
        log.write(2)
        log.pass_time(8)
        log.is_stored()


@rotations
@pytest.mark.parametrize("times", [1, 2, 4])
def test_rotations_while_the_gateway_was_off(rotate: Rotate, times: int, log: Log) -> None:
    log.write(3)
    log.pass_time()
    for _ in range(times):
        log.write(2)
        rotate(log)
    log.write(2)
    log.crash()
    log.pass_time(4 * times + 4)
    log.is_stored()


@rotations
def test_a_kill_after_every_step_of_a_rotation(rotate: Rotate, log: Log) -> None:
    log.write(3)
    log.pass_time()
    for _ in range(4):
        log.write(2)
        rotate(log)
        log.write(2)
        for _ in range(9):
            log.pass_time(1.0)
            log.crash()
        log.pass_time(4)
        log.is_stored()


def test_what_is_written_to_the_old_file_after_it_was_renamed_comes_before_the_new(log: Log) -> None:
    log.write()
    log.pass_time()
    with log.path.open("a") as old:
        log.rename()
        log._number = 2
        log.write()
        log.pass_time(1)
        old.write("line 2\n")
        old.flush()
        log.pass_time()
    log.is_stored()


def test_a_log_that_is_cut_before_anything_was_read_of_it_lies_in_its_copy(log: Log) -> None:
    log.path.touch()
    log.pass_time()
    for _ in range(3):
        log.write(2)
        log.copy()
        log.write(1)
        log.crash()
        log.pass_time(1)
    log.pass_time()
    log.is_stored()


def test_a_copy_that_is_still_empty_when_the_file_before_it_is_left(log: Log) -> None:
    log.write()
    log.pass_time()
    log.copy()
    log.write(2)
    log.running.step()
    log.shift()
    copy = log.path.with_name("x.log.1")
    copy.touch()
    log.running.until(lambda: log.running.counter("files_done") == 1, "the next file")
    assert len(log.sink.events) == 1, "nothing of it was read yet"
    shutil.copyfile(log.path, copy)
    os.truncate(log.path, 0)
    log.write()
    log.pass_time(8)
    log.is_stored()


def test_a_last_line_that_nobody_ends_is_taken_when_its_file_is_left(log: Log) -> None:
    log.path.write_bytes(b"line 1\nline 2")
    log.pass_time()
    log.rename()
    log._number = 2
    log.write()
    log.pass_time()
    log.is_stored()


def test_files_that_others_were_rotated_after_are_not_waited_for(tmp_path: Path) -> None:
    log = Log(tmp_path, FollowConfig(settle=Duration(60)))
    log.write()
    log.pass_time()
    for _ in range(5):
        log.write()
        log.rename()
    log.write()
    log.pass_time(6)
    assert len(log.sink.events) == 6, "the last that was rotated may still grow"
    log.pass_time(60)
    log.is_stored()


def test_nothing_is_chosen_while_names_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(tmp_path)
    log.write()
    log.rename()
    log.write()
    list_names = rotation._rotated
    with rotation.family(log.path, "x.log?*") as members:
        assert members is not None
        assert [member.path.name for member in members] == ["x.log.1", "x.log"]

    def listed_and_then_renamed(path: Path, pattern: str) -> list[Path]:
        names = list_names(path, pattern)
        log.rename()
        log.write()
        return names

    monkeypatch.setattr(rotation, "_rotated", listed_and_then_renamed)
    with rotation.family(log.path, "x.log?*") as members:
        assert members is None


def test_rotation_by_date(log: Log) -> None:
    for day in ("20260101", "20260102", "20260103"):
        log.write(2)
        log.path.rename(log.path.with_name(f"x.log-{day}"))
    log.path.with_name("x.log-20260102").rename(log.path.with_name("hidden"))
    log.write()
    log.pass_time()
    assert log.sink.payloads() == [b"line 7"], "what was rotated before is not read"
    for day in ("20260104", "20260105"):
        log.write(2)
        log.path.rename(log.path.with_name(f"x.log-{day}"))
    log.write()
    log.crash()
    log.pass_time(12)
    assert log.sink.payloads() == [f"line {n}".encode() for n in range(7, 13)]


def test_from_the_end(tmp_path: Path) -> None:
    log = Log(tmp_path, FollowConfig(start="end"))
    log.path.write_bytes(b"old\nha")
    log.pass_time()
    with log.path.open("ab") as file:
        file.write(b"lf\n")
    log.write()
    log.pass_time()
    log.is_stored()


def test_a_log_that_is_cut_without_a_copy_is_read_from_its_beginning(log: Log) -> None:
    log.path.write_bytes(b"something else\n" * 3)
    log.pass_time()
    log.path.write_bytes(b"")
    log.write(8)
    log.pass_time()
    assert log.sink.payloads()[3:] == [f"line {n + 1}".encode() for n in range(8)]


def test_a_file_that_is_gone_is_counted_and_those_behind_it_are_read(log: Log) -> None:
    log.write(3)
    log.pass_time()
    log.write(2)
    log.rename()
    log.write(2)
    log.rename()
    log.write(2)
    log.path.with_name("x.log.2").unlink()
    log.crash()
    log.pass_time(12)
    assert log.sink.payloads() == [f"line {n}".encode() for n in (1, 2, 3, 6, 7, 8, 9)]
    assert log.running.counter("files_vanished") == 1


def test_json_lines(tmp_path: Path) -> None:
    log = Log(tmp_path, FollowConfig(format="jsonl"))
    log.path.write_bytes(b'{"a":1}\nnonsense\n')
    log.pass_time()
    assert log.sink.payloads() == [b'{"a":1}']
    assert log.running.counter("bad") == 1


@pytest.mark.parametrize("pattern", ["*", "x.*", "a/x.log.*"])
def test_rotated_files_are_others_in_the_same_folder(pattern: str) -> None:
    with pytest.raises(DriverConfigError, match="rotated"):
        FollowDriver(FollowConfig(path=Path("/var/log/x.log"), rotated=pattern), SETTINGS, FakeClock())
