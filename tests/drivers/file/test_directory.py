"""A watched directory: which files are taken, when, and what becomes of them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.batch import check_size
from drivers.contract import DriverConfigError, SourceSettings
from drivers.file import FileDriver
from drivers.file.config import FileConfig
from storage.clock import FakeClock
from storage.model import MAX_APPEND_BYTES
from storage.units import Duration
from tests.drivers.file.watching import SETTINGS, Watched

LINES = FileConfig(format="lines")


def test_a_file_is_stored_and_then_moved_to_completed(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", LINES)
    watched.put("a.log", "1\n2\n")
    watched.pass_time()
    assert watched.payloads == [b"1", b"2"]
    assert (watched.names(), watched.names("completed")) == ([], ["a.log"])
    event = watched.sink.events[0]
    assert dict(event.headers)["file.name"] == b"a.log"
    assert (event.routing_key, event.content_type) == ("logger", "text/plain")
    assert (watched.counter("good"), watched.counter("files_done")) == (2, 1)
    assert watched.sink.cursors() == {}, "what is gone needs no part of the cursor"


def test_it_is_not_moved_before_it_is_durable(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", LINES)
    watched.put("a.log", "1\n")
    watched.running.commits = False
    watched.pass_time()
    assert watched.sink.waiting
    assert watched.names() == ["a.log"]
    watched.running.commits = True
    watched.pass_time()
    assert watched.names("completed") == ["a.log"]


def test_a_file_is_taken_when_it_has_not_changed_for_the_minimum_age_whatever_its_times_say(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", replace(LINES, min_age=Duration(10)))
    path = watched.folder / "a.log"
    path.write_bytes(b"1\n")
    os.utime(path, (0, 0))
    watched.clock.step_wall(10 * 365 * 86_400)
    watched.pass_time(8)
    assert not watched.payloads, "modified in 1970, and younger than 10 s all the same"
    with path.open("ab") as file:
        file.write(b"2\n")
    os.utime(path, (1e10, 1e10))
    watched.pass_time(8)
    assert not watched.payloads
    watched.pass_time(5)
    assert watched.payloads == [b"1", b"2"], "modified in the far future, and old enough"


@pytest.mark.parametrize("name", [".a.log", "a.log.part", "a.tmp", "a.log~", "a.log.filepart", "b.csv"])
def test_names_of_files_being_written_and_of_others_are_left_alone(name: str, tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", replace(LINES, patterns=("a*", ".a*")))
    (watched.folder / name).write_bytes(b"1\n")
    watched.pass_time()
    assert watched.names() == [name]
    (watched.folder / name).rename(watched.folder / "a.log")
    watched.pass_time()
    assert watched.payloads == [b"1"]


def test_only_regular_files_are_taken(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", LINES)
    (tmp_path / "secret.log").write_bytes(b"secret\n")
    (watched.folder / "link.log").symlink_to(tmp_path / "secret.log")
    os.mkfifo(watched.folder / "pipe.log")
    (watched.folder / "folder.log").mkdir()
    watched.pass_time()
    assert not watched.payloads
    assert not watched.trouble


def test_folders_below_are_read_when_asked_for_and_kept_apart_where_files_go(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", replace(LINES, recursive=True, order="name"))
    watched.put("b/x.log", "b\n")
    watched.put("a/deep/x.log", "a\n")
    watched.pass_time(10)
    assert watched.payloads == [b"a", b"b"]
    assert watched.names("completed/a/deep") == ["x.log"]
    assert watched.names("completed/b") == ["x.log"]
    watched.config = replace(watched.config, recursive=False)
    watched.crash()
    watched.put("c/x.log", "c\n")
    watched.pass_time()
    assert watched.payloads == [b"a", b"b"]


@pytest.mark.parametrize(("order", "expected"), [("mtime", [b"z", b"a"]), ("name", [b"a", b"z"])])
def test_files_are_read_in_order(order: str, expected: list[bytes], tmp_path: Path) -> None:
    config = replace(LINES, order="name" if order == "name" else "mtime")
    watched = Watched(tmp_path / "in", config)
    for name, time_s in (("z.log", 1), ("a.log", 2)):
        os.utime(watched.put(name, name[:1]), (time_s, time_s))
    watched.pass_time()
    assert watched.payloads == expected


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", LINES)
    for content in ("1\n", "2\n", "3\n"):
        watched.put("a.log", content)
        watched.pass_time()
    assert watched.payloads == [b"1", b"2", b"3"]
    completed = watched.folder / "completed"
    assert [(completed / name).read_text() for name in ("a.log", "a-1.log", "a-2.log")] == ["1\n", "2\n", "3\n"]


def test_a_file_that_comes_again_with_the_same_content_is_another_one(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", replace(LINES, after="delete"))
    for _ in range(2):
        watched.put("a.log", "same\n")
        watched.pass_time()
    assert watched.payloads == [b"same", b"same"]
    assert watched.names() == []


def test_a_file_that_is_put_back_is_read_again(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", LINES)
    watched.put("a.log", "1\n")
    watched.pass_time()
    (watched.folder / "completed" / "a.log").rename(watched.folder / "a.log")
    watched.pass_time()
    assert watched.payloads == [b"1", b"1"]


def test_kept_files_are_read_once_and_again_only_when_they_change(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", FileConfig(after="keep"))
    path = watched.put("a.png", b"one")
    watched.pass_time()
    watched.crash()
    watched.pass_time()
    os.utime(path)
    watched.pass_time()
    assert watched.payloads == [b"one"]
    watched.put("a.png", b"two")
    watched.pass_time()
    watched.crash()
    watched.pass_time()
    path.write_bytes(b"six")
    watched.pass_time()
    assert watched.payloads == [b"one", b"two", b"six"]
    assert watched.names() == ["a.png"]


def test_a_kept_file_that_could_not_be_read_is_read_once_it_is_put_right(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", FileConfig(after="keep", time_column="at"))
    path = watched.put("a.csv", "when\n1\n")
    watched.pass_time()
    assert watched.counter("files_failed") == 1
    path.write_bytes(b"at\n1\n")
    watched.pass_time()
    assert watched.payloads == [b'{"at":1}']
    assert (watched.counter("files_failed"), watched.counter("files_done")) == (1, 1)


def test_a_kept_file_that_grows_is_read_on(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", replace(LINES, after="keep"))
    path = watched.put("a.log", "1\n")
    for number in (2, 3):
        watched.pass_time()
        with path.open("a") as file:
            file.write(f"{number}\n")
        watched.crash()
    watched.pass_time()
    assert watched.payloads == [b"1", b"2", b"3"]


def test_what_is_written_after_a_file_was_read_and_before_it_is_moved_is_not_left_behind(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", LINES)
    path = watched.put("a.log", "1\n")
    watched.running.commits = False
    watched.pass_time()
    with path.open("a") as file:
        file.write("2\n")
    watched.running.commits = True
    watched.pass_time()
    assert watched.payloads == [b"1", b"2"]
    assert (watched.folder / "completed" / "a.log").read_text() == "1\n2\n"


def test_a_file_that_grew_is_not_moved_when_only_its_beginning_is_durable(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", LINES)
    path = watched.put("a.log", "1\n")
    watched.running.commits = False
    watched.pass_time()
    with path.open("a") as file:
        file.write("2\n")
    watched.pass_time()
    assert watched.sink.waiting == 2
    watched.sink.commit(at_most=1)
    watched.pass_time()
    assert watched.names() == ["a.log"]
    watched.crash()
    watched.pass_time()
    assert watched.payloads == [b"1", b"2"]


def test_a_file_that_is_replaced_before_it_was_moved_is_another_one(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", LINES)
    watched.put("a.log", "1\n")
    watched.running.commits = False
    watched.pass_time()
    watched.put("a.log", "2\n")
    watched.pass_time()
    watched.running.commits = True
    watched.pass_time()
    assert watched.payloads == [b"1", b"2"]
    assert (watched.folder / "completed" / "a.log").read_text() == "2\n"


def test_a_file_that_cannot_be_read_is_said_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(tmp_path / "in", LINES)
    watched.put("a.log", "1\n")
    watched.put("b.log", "2\n")
    really = os.open

    def no_right(path: Path, flags: int, mode: int = 0o777) -> int:
        if str(path).endswith("a.log"):
            raise PermissionError(13, "Permission denied")
        return really(path, flags, mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", no_right)
        watched.pass_time()
        assert watched.payloads == [b"2"], "the others go on"
        assert "a.log can't be read: Permission denied" in watched.trouble
    watched.pass_time()
    assert watched.payloads == [b"2", b"1"]
    assert not watched.trouble


def test_a_directory_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", LINES)
    watched.folder.rmdir()
    watched.pass_time()
    assert "make it, mount it" in watched.trouble
    watched.folder.mkdir()
    watched.put("a.log", "1\n")
    watched.pass_time(20)
    assert watched.payloads == [b"1"]


@pytest.mark.parametrize("after", ["move", "delete", "keep"])
def test_a_disk_that_is_not_mounted_for_a_while_is_not_read_again(after: str, tmp_path: Path) -> None:
    config = replace(LINES, after="keep" if after == "keep" else "delete" if after == "delete" else "move")
    watched = Watched(tmp_path / "in", config)
    watched.put("a.log", "1\n")
    watched.running.commits = False
    watched.pass_time()
    disk = watched.folder.rename(tmp_path / "disk")
    watched.folder.mkdir()
    watched.running.commits = True
    watched.pass_time(15)
    watched.folder.rmdir()
    disk.rename(watched.folder)
    watched.pass_time(15)
    assert watched.payloads == [b"1"]
    assert watched.names() == (["a.log"] if after == "keep" else [])


def test_nothing_is_let_go_of_that_the_stream_does_not_take(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", replace(LINES, after="delete"))
    watched.sink.sealed.add(SETTINGS.stream)
    watched.put("a.log", "1\n")
    watched.pass_time()
    assert watched.names() == ["a.log"]
    assert "takes nothing" in watched.trouble


def test_a_file_whose_stream_is_sealed_while_it_is_on_its_way_goes_to_failed(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", LINES)
    watched.put("a.log", "1\n")
    watched.running.commits = False
    watched.pass_time()
    watched.sink.sealed.add(SETTINGS.stream)
    watched.running.commits = True
    watched.pass_time()
    assert (watched.payloads, watched.names("completed")) == ([], [])
    assert watched.names("failed") == ["a.log", "a.log.reason"]
    assert watched.counter("refused") == 1


@pytest.mark.parametrize(("stream", "says"), [("{0}", "stream name of 260 bytes"), ("x/{0}", "would be stream 3")])
def test_nothing_is_let_go_of_whose_stream_cannot_be(
    stream: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.file.driver.MAX_STREAMS", 2)
    settings = SourceSettings(name="s", driver="file", stream=stream if "/" in stream else "long" * 60 + stream)
    watched = Watched(tmp_path / "in", replace(LINES, recursive=True, order="name"), settings)
    for folder in ("a", "b", "c" * 20):
        watched.put(f"{folder}/a.log", f"{folder}\n")
    watched.pass_time()
    assert watched.payloads == [b"a", b"b"]
    assert watched.names("c" * 20) == ["a.log"]
    assert says in watched.trouble


def test_a_routing_key_is_cut_to_what_it_may_be(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", FileConfig(key_column="k"))
    watched.put("a.jsonl", '{"k":"%s"}\n' % ("é" * 1000))
    watched.pass_time()
    assert [event.routing_key for event in watched.sink.events] == ["é" * 512]


def test_large_whole_files_of_a_bulk_stream_come_alone(tmp_path: Path) -> None:
    for name, size in (("1.bin", 1), ("2.bin", 40 << 20), ("3.bin", 1)):
        (tmp_path / name).write_bytes(bytes(size))
    config = FileConfig(directory=tmp_path, order="name", min_age=Duration(0))
    driver = FileDriver(config, SETTINGS, FakeClock())
    driver.limit_with(lambda stream: MAX_APPEND_BYTES)
    driver.open(None)
    deliveries = [delivery for _ in range(6) if (delivery := driver.poll(0)) is not None]
    driver.close()
    for delivery in deliveries:
        check_size(delivery)
    assert [delivery.size_bytes for delivery in deliveries] == [1, 40 << 20, 1]


def test_stream_and_key_may_be_made_from_the_path(tmp_path: Path) -> None:
    settings = SourceSettings(name="cameras", driver="file", stream="photos/{0}", key="{topic}")
    watched = Watched(tmp_path / "in", FileConfig(recursive=True), settings)
    watched.put("gate 1/x.png", b"image")
    watched.pass_time()
    (event,) = watched.sink.events
    assert (event.stream, event.routing_key, event.content_type) == ("photos/gate_1", "gate 1/x.png", "image/png")


def test_a_name_that_is_no_text_is_a_name(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in", LINES)
    path = os.fsencode(watched.folder) + b"/\xff\xfe.log"
    Path(os.fsdecode(path)).write_bytes(b"1\n")
    watched.running.commits = False
    watched.pass_time()
    watched.running.commits = True
    watched.pass_time()
    assert watched.payloads == [b"1"]
    assert dict(watched.sink.events[0].headers)["file.name"] == b"\xff\xfe.log"
    assert os.listdir(os.fsencode(watched.folder / "completed")) == [b"\xff\xfe.log"]  # noqa: PTH208  (bytes)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (FileConfig(completed="."), "completed"),
        (FileConfig(failed=".."), "failed"),
        (FileConfig(patterns=("a/*",)), "patterns"),
        (FileConfig(delimiter=";;"), "delimiter"),
        (FileConfig(encoding="utf-16"), "encoding"),
        (FileConfig(encoding="klingon"), "encoding"),
        (FileConfig(columns=("a", "a")), "columns"),
    ],
)
def test_what_cannot_work_is_refused(config: FileConfig, says: str, tmp_path: Path) -> None:
    with pytest.raises(DriverConfigError, match=says):
        FileDriver(replace(config, directory=tmp_path), SETTINGS, FakeClock())
