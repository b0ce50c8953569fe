"""The driver with films in a camera's place, with pictures over HTTP, with raw pictures as from a USB camera."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from drivers.camera import capture
from drivers.camera.config import CameraConfig, Job, make_job
from drivers.camera.continuity import NS
from drivers.camera.driver import CameraDriver
from drivers.camera.packet import to_frame
from drivers.camera.records import Records
from drivers.contract import DeviceLostError, Driver, SourceSettings
from drivers.registry import driver_class
from drivers.status import SourceState
from storage.clock import Clock
from storage.errors import StoreBusyError
from storage.units import Duration
from tests.drivers.camera.films import PATIENCE_S, driver, film, watched
from tests.drivers.running import Running
from tests.servers.mjpeg import MjpegCamera

SETTINGS = SourceSettings(name="gate", driver="camera", stream="site/gate")


@pytest.mark.long
@pytest.mark.parametrize(("codec", "kind"), [("h264", "video/h264"), ("hevc", "video/h265"), ("mjpeg", "image/jpeg")])
def test_frames_pass_untouched_with_their_own_times(tmp_path: Path, codec: str, kind: str) -> None:
    written = film(tmp_path / "film.mkv", codec)
    camera = driver(CameraConfig(url=str(tmp_path / "film.mkv")))
    with closing(camera):
        camera.open(None)
        seen = watched(camera, len(written))
        assert camera.poll(0.5) is None
    assert [packet.payload for packet in seen] == [each.payload for each in written]
    assert [(packet.pts, packet.dts) for packet in seen] == [(each.pts, each.dts) for each in written]
    assert [packet.key_frame for packet in seen] == [each.key_frame for each in written]
    assert [packet.discontinuity for packet in seen] == ["start"] + [""] * (len(written) - 1)
    assert seen[0].size == (160, 120)
    assert bool(seen[0].extradata) == (codec != "mjpeg")
    assert to_frame(seen[0], "gate").content_type == kind
    length_s = (seen[-1].captured_ns - seen[0].captured_ns) / 1e9
    assert length_s == pytest.approx((len(written) - 1) / 20, abs=0.01)
    assert camera.counters["good"] == len(written)
    assert camera.counters["bytes"] == sum(len(each.payload) for each in written)


@pytest.mark.long
def test_a_film_can_begin_again(tmp_path: Path) -> None:
    written = film(tmp_path / "film.mp4", frames=10, rate=50)
    camera = driver(CameraConfig(url=f"file:{tmp_path}/film.mp4", loop=True))
    with closing(camera):
        camera.open(b"opened")
        seen = watched(camera, 25)[:25]
    assert [packet.payload for packet in seen] == ([each.payload for each in written] * 3)[:25]
    assert [n for n, packet in enumerate(seen) if packet.discontinuity == "reopened"] == [0, 10, 20]


@pytest.mark.long
def test_a_stream_has_one_start_and_is_reopened_from_then_on(tmp_path: Path) -> None:
    film(tmp_path / "film.mp4", frames=2)
    running = Running(_maker(CameraConfig(url=str(tmp_path / "film.mp4"))), SETTINGS)
    running.until(lambda: len(running.sink.events) == 2, "the film")
    running.source.restart()
    running.until(lambda: len(running.sink.events) == 4, "the film again")
    running.source.close()
    assert [_mark(event.headers) for event in running.sink.events] == [b"start", b"", b"reopened", b""]


@pytest.mark.long
def test_pictures_over_http_bear_the_time_at_which_they_came(tmp_path: Path) -> None:
    pictures = [each.payload for each in film(tmp_path / "film.mjpeg", "mjpeg", frames=5)]
    pictures += [each.payload for each in film(tmp_path / "other.mjpeg", "mjpeg", frames=1, size=(80, 64))]
    with MjpegCamera(pictures, login="ann:s3cr@t") as server:
        camera = driver(CameraConfig(url=f"http://ann:s3cr%40t@{server.address}/video.cgi"))
        with closing(camera):
            camera.open(None)
            seen = watched(camera, 12)[:12]
    assert [packet.payload for packet in seen] == pictures * 2
    assert {(packet.pts, packet.dts, packet.key_frame, packet.codec) for packet in seen} == {
        (None, None, True, "mjpeg")
    }
    assert [packet.size for packet in seen] == ([(160, 120)] * 5 + [(80, 64)]) * 2
    marks = [packet.discontinuity for packet in seen]
    assert marks == ["start", "", "", "", "", "changed", "changed", "", "", "", "", "changed"]
    times_ns = [packet.captured_ns for packet in seen]
    assert times_ns == sorted(times_ns)


@pytest.mark.long
def test_raw_pictures_are_kept_as_jpeg(tmp_path: Path) -> None:
    """No USB camera is here: a file of raw YUYV 4:2:2, as most of them send it, is read by the same code."""
    film(tmp_path / "film.nut", "rawvideo", frames=10, size=(64, 48))
    camera = driver(CameraConfig(url=str(tmp_path / "film.nut")))
    with closing(camera):
        camera.open(None)
        seen = watched(camera, 10)
    assert all(packet.payload.startswith(b"\xff\xd8") and packet.payload.endswith(b"\xff\xd9") for packet in seen)
    assert {(packet.codec, packet.key_frame, packet.size) for packet in seen} == {("mjpeg", True, (64, 48))}
    assert len({packet.payload for packet in seen}) == 10
    ticks = [packet.pts for packet in seen if packet.pts is not None]
    assert [float((pts - ticks[0]) * seen[0].base) for pts in ticks] == pytest.approx([n / 20 for n in range(10)])


def test_a_usb_camera_is_asked_for_what_is_configured() -> None:
    job = make_job(CameraConfig(device="/dev/video3", size="640x480", rate=15), "gate", "start")
    assert (job.target, job.format) == ("/dev/video3", "v4l2")
    assert job.options == {"video_size": "640x480", "framerate": "15"}
    assert not job.gathers
    assert not job.paced


@pytest.mark.long
def test_a_camera_that_brings_nothing_is_given_up(tmp_path: Path) -> None:
    pipe = tmp_path / "silent.mjpeg"
    os.mkfifo(pipe)
    camera = driver(CameraConfig(url=str(pipe), stall_timeout=Duration(1)))
    with closing(camera):
        camera.open(None)
        assert camera._child is not None
        pid = camera._child.pid
        with pytest.raises(DeviceLostError, match="nothing has come for 1s: check its power"):
            watched(camera, 1)
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.long
def test_a_process_that_hangs_itself_is_killed(tmp_path: Path) -> None:
    film(tmp_path / "film.mp4")
    camera = driver(CameraConfig(url=str(tmp_path / "film.mp4"), loop=True))
    with closing(camera):
        camera.open(None)
        watched(camera, 1)
        camera._config = replace(camera._config, stall_timeout=Duration(1))
        assert camera._child is not None
        pid = camera._child.pid
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(DeviceLostError, match="nothing has come for 1s"):
            watched(camera, 1_000)
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.long
def test_a_camera_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    for config, said in (
        (
            CameraConfig(device=str(tmp_path / "video9")),
            "video9: No such file or directory: plug it in or correct its name",
        ),
        (CameraConfig(url="rtsp://ann:s3cret@127.0.0.1:9/cam"), "Connection refused: is it the camera's address"),
        (CameraConfig(url=__file__), "Invalid data found"),
    ):
        camera = driver(config)
        with closing(camera):
            camera.open(None)
            with pytest.raises(DeviceLostError, match=said) as raised:
                watched(camera, 1)
        assert "s3cret" not in str(raised.value)


@pytest.mark.long
def test_the_process_ends_when_the_gateway_is_killed(tmp_path: Path) -> None:
    """Also while its camera hangs: here one that opens a pipe into which nobody writes."""
    os.mkfifo(tmp_path / "silent.mjpeg")
    program = (
        "import sys, time; from tests.drivers.camera.films import driver, CameraConfig\n"
        "camera = driver(CameraConfig(url=sys.argv[1])); camera.open(None); print(camera._child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "silent.mjpeg")], stdout=subprocess.PIPE
    ) as gateway:
        assert gateway.stdout is not None
        child = Path(f"/proc/{int(gateway.stdout.readline())}")
        assert child.exists()
        gateway.send_signal(signal.SIGKILL)
        deadline_s = time.monotonic() + PATIENCE_S
        while child.exists():
            assert time.monotonic() < deadline_s, "it still runs"
            time.sleep(0.05)


@pytest.mark.long
def test_a_full_store_costs_whole_ends_of_groups_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stored can all be decoded: each frame follows the one before it, or is a key frame with a mark."""
    monkeypatch.setattr("drivers.outbox.MAX_GATHERED_BYTES", 2_000)
    written = film(tmp_path / "film.mp4", frames=120, rate=60, key_every=12)
    running = Running(_maker(CameraConfig(url=str(tmp_path / "film.mp4"))), SETTINGS)
    running.until(lambda: len(running.sink.events) > 10, "some frames")
    running.sink.refuse_with = StoreBusyError("full")
    running.until(lambda: running.counter("lost") > 5, "losses")
    running.sink.refuse_with = None
    running.until(lambda: running.counter("lost") + len(running.sink.events) == 120, "the end of the film")
    running.source.close()
    payloads = [each.payload for each in written]
    stored = [payloads.index(event.payload) for event in running.sink.events]
    for event, before, number in zip(running.sink.events[1:], stored, stored[1:], strict=False):
        if number != before + 1:
            assert "video.size" in dict(event.headers), "it is no key frame"
            assert _mark(event.headers) == b"skipped"
        else:
            assert _mark(event.headers) == b""
    assert stored == sorted(stored)
    assert running.source.state is SourceState.RUNNING


def test_key_frames_that_come_too_rarely_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "MAX_KEY_GAP_NS", 5 * NS)
    film(tmp_path / "film.mp4", frames=8, rate=1, key_every=6)
    output = capture.Output(os.open(tmp_path / "records", os.O_CREAT | os.O_WRONLY))
    with pytest.raises(ValueError, match="ended"):
        capture.Capture(Job(f"file:{tmp_path}/film.mp4"), output, Event()).run()
    camera = driver(CameraConfig())
    assert camera.trouble is None
    for kind, body in Records().feed((tmp_path / "records").read_bytes()):
        camera._heard(kind, body)
    assert camera.trouble == "6 s between two key frames: set the camera's I-frame interval to 10 s at most"


def test_the_address_is_not_in_the_configuration_as_text() -> None:
    config = CameraConfig(url="rtsp://ann:s3cret@camera/stream")
    job = make_job(config, "gate", "start")
    assert "s3cret" not in repr(config) + repr(job)
    assert "s3cret" in job.to_json().decode()


def test_a_camera_says_how_its_stream_should_be_kept() -> None:
    kept = driver_class("camera").stream_config  # type: ignore[attr-defined]
    assert (kept.kind, kept.when_full, kept.durable_every_s) == ("bulk", "drop-oldest", 1.0)


def _maker(config: CameraConfig) -> Callable[[SourceSettings, Clock], Driver]:
    return lambda settings, clock: CameraDriver(config, settings, clock)


def _mark(headers: tuple[tuple[str, bytes], ...]) -> bytes:
    return dict(headers).get("video.discontinuity", b"")
