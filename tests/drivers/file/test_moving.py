"""Where files go, and what happens when they can't."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.file import moving
from drivers.file.config import FileConfig
from tests.drivers.file.watching import Watched

LINES = FileConfig(format="lines")
STEPS = ("file.copied", "file.removed", "file.moved", "file.stored", "file.forgotten", "source.acked")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    folder = Path(tempfile.mkdtemp(dir=memory))
    yield folder
    shutil.rmtree(folder)


def test_a_file_with_bad_lines_goes_to_failed_with_the_reason_beside_it(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", FileConfig(after="delete"))
    watched.put("a.jsonl", '{"n":1}\nnonsense\n{"n":2}\n')
    watched.pass_time()
    assert watched.rows == [{"n": 1}, {"n": 2}]
    assert watched.names("failed") == ["a.jsonl", "a.jsonl.reason"]
    reason = (watched.folder / "failed" / "a.jsonl.reason").read_text()
    assert reason.startswith("1 bad, 2 stored. no JSON (Expecting value")
    assert "'nonsense'" in reason
    assert (watched.counter("bad"), watched.counter("files_failed"), watched.counter("files_done")) == (1, 1, 0)


def test_each_failed_file_has_its_own_reason(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", FileConfig(format="jsonl"))
    for content in ("x1\n", "x2\n"):
        watched.put("a", content)
        watched.pass_time()
    failed = watched.folder / "failed"
    assert watched.names("failed") == ["a", "a-1", "a-1.reason", "a.reason"]
    (failed / "a").unlink()
    watched.put("a", "x3\n")
    watched.pass_time()
    assert watched.names("failed") == ["a-1", "a-1.reason", "a-2", "a-2.reason", "a.reason"]
    assert ["'x1'" in (failed / "a.reason").read_text(), "'x2'" in (failed / "a-1.reason").read_text()] == [True, True]


def test_across_file_systems_a_file_is_copied_with_its_time(elsewhere: Path, tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", FileConfig(completed=str(elsewhere / "done"), recursive=True))
    content = os.urandom(300_000)
    os.utime(watched.put("sub/a.bin", content), (5, 7))
    watched.pass_time()
    moved = elsewhere / "done" / "sub" / "a.bin"
    assert (moved.read_bytes(), moved.stat().st_mtime) == (content, 7)
    assert not (watched.folder / "sub" / "a.bin").exists()
    assert os.listdir(moved.parent) == ["a.bin"]  # noqa: PTH208


def test_what_is_being_copied_may_grow(elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "COPIED_PER_STEP_BYTES", 2)
    watched = Watched(tmp_path / "in", replace(LINES, completed=str(elsewhere)))
    path = watched.put("a.log", "1\n" * 5)
    while not list(elsewhere.iterdir()):
        watched.running.step()
        watched.clock.advance(0.1)
    with path.open("a") as file:
        file.write("2\n")
    watched.pass_time(20)
    assert watched.payloads == [b"1"] * 5 + [b"2"]
    assert (elsewhere / "a.log").read_bytes() == b"1\n" * 5 + b"2\n"


@pytest.mark.parametrize("where", ["beside", "on another file system"])
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_leaves_one_file_and_its_lines_once(
    step: str, where: str, elsewhere: Path, tmp_path: Path
) -> None:
    completed = "completed" if where == "beside" else str(elsewhere / "completed")
    watched = Watched(tmp_path / "in", replace(LINES, completed=completed))

    class Killed(BaseException):
        """SIGKILL: nothing in the way of it does anything."""

    def kill(at: str, details: dict[str, object]) -> None:
        if at == step:
            raise Killed

    watched.trace = kill
    watched.start()
    watched.put("a.log", "1\n2\n")
    try:
        watched.pass_time()
        killed = False
    except Killed:
        killed = True
    assert killed == (step not in ("file.copied", "file.removed") or where != "beside")
    watched.trace = lambda at, details: None
    watched.crash()
    watched.pass_time()
    assert watched.payloads == [b"1", b"2"]
    assert watched.names() == []
    assert watched.names(completed) == ["a.log"]
    assert watched.sink.cursors() == {}


@pytest.mark.parametrize("how_far", ["half", "whole"])
def test_a_file_that_grows_while_nobody_copies_on_is_not_read_again(
    how_far: str, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "COPIED_PER_STEP_BYTES", 8)
    watched = Watched(tmp_path / "in", replace(LINES, completed=str(elsewhere)))

    def kill(at: str, details: dict[str, object]) -> None:
        if at == "file.copied":
            raise KeyboardInterrupt

    watched.trace = kill
    watched.start()
    path = watched.put("a.log", "1\n" * 10)
    with suppress(KeyboardInterrupt):
        while how_far == "whole" or not list(elsewhere.iterdir()):
            watched.running.step()
            watched.clock.advance(0.1)
    with path.open("a") as file:
        file.write("2\n")
    watched.trace = lambda at, details: None
    watched.crash()
    watched.pass_time(20)
    assert watched.payloads == [b"1"] * 10 + [b"2"]
    assert [each.read_text() for each in elsewhere.iterdir()] == ["1\n" * 10 + "2\n"]


@pytest.mark.parametrize("step", ["file.copied", "file.removed"])
def test_a_copy_that_was_interrupted_is_not_lost_to_another_file_of_its_name(
    step: str, elsewhere: Path, tmp_path: Path
) -> None:
    watched = Watched(tmp_path / "in", replace(LINES, completed=str(elsewhere)))

    def kill(at: str, details: dict[str, object]) -> None:
        if at == step:
            raise KeyboardInterrupt

    watched.trace = kill
    watched.start()
    watched.put("a.log", "1\n")
    with pytest.raises(KeyboardInterrupt):
        watched.pass_time()
    if step == "file.removed":
        watched.put("a.log", "2\n")
    watched.trace = lambda at, details: None
    watched.crash()
    watched.pass_time(8)
    expected = ["1\n", "2\n"] if step == "file.removed" else ["1\n"]
    assert watched.payloads == [line.strip().encode() for line in expected]
    assert sorted(path.read_text() for path in elsewhere.iterdir()) == expected
    assert watched.names() == []


def test_half_a_copy_is_never_published(elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "COPIED_PER_STEP_BYTES", 2)
    watched = Watched(tmp_path / "in", replace(LINES, completed=str(elsewhere)))
    path = watched.put("a.log", "1\n" * 50)
    while not list(elsewhere.iterdir()):
        watched.running.step()
        watched.clock.advance(0.1)
    watched.crash()
    path.unlink()
    watched.pass_time(8)
    assert list(elsewhere.iterdir()) == []
    assert watched.payloads == [b"1"] * 50


def full(*arguments: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def read_only(*arguments: object) -> bool:
    raise OSError(errno.EROFS, "Read-only file system")


@pytest.mark.parametrize(
    ("broken", "harm", "says"),
    [
        ("_write_all", full, "No space left"),
        ("_sync_folder", full, "No space left"),
        ("_make_folder", read_only, "Read-only"),
    ],
)
def test_what_cannot_be_moved_stays_is_said_and_is_moved_later(
    broken: str,
    harm: Callable[..., object],
    says: str,
    elsewhere: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = Watched(tmp_path / "in", replace(LINES, completed=str(elsewhere / "completed")))
    with monkeypatch.context() as patch:
        patch.setattr(moving, broken, harm)
        watched.put("a.log", "1\n")
        watched.pass_time(30)
        assert watched.names() == ["a.log"]
        if broken == "_write_all":
            assert not list(elsewhere.rglob("*.moving")), "half a copy is not left on a full disk"
        assert "a.log is stored and can't be moved to" in watched.trouble
        assert says in watched.trouble
        assert 2 <= watched.counter("moves_failed") <= 4, "tried again every 10 s, and not all the time"
        watched.put("b.log", "2\n")
        watched.pass_time()
        assert watched.payloads == [b"1", b"2"], "others are read all the same"
        watched.crash()
        watched.pass_time()
    watched.pass_time(30)
    assert watched.payloads == [b"1", b"2"]
    assert (watched.names(), watched.names(str(elsewhere / "completed"))) == ([], ["a.log", "b.log"])
    assert not watched.trouble


def test_a_rename_never_takes_another_files_place(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("a")
    target.write_text("b")
    assert not moving._rename(source, target)
    assert (source.read_text(), target.read_text()) == ("a", "b")
    target.unlink()
    assert moving._rename(source, target)
    assert target.read_text() == "a"
