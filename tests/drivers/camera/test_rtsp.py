"""The driver with real encoders behind a real RTSP server (GStreamer's)."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from drivers.camera.config import CameraConfig
from drivers.camera.driver import CameraDriver
from drivers.camera.packet import Packet, from_event
from drivers.camera.probing import probe
from drivers.contract import DeviceLostError, Driver, SourceSettings
from drivers.status import SourceState
from storage.clock import Clock, SystemClock
from storage.units import Duration
from tests.drivers.camera.films import driver, watched
from tests.drivers.running import Running
from tests.servers.camera import Encoder, RtspCameras, matching

PASSWORD = "s3cret/@:word"
QUOTED = "s3cret%2F%40%3Aword"
SETTINGS = SourceSettings(name="gate", driver="camera", stream="site/gate")
CODECS = {"h264": "h264", "h265": "hevc", "mjpeg": "mjpeg"}

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtspCameras]:
    encoders = [Encoder(codec, codec, rate=20, key_every=10) for codec in CODECS]
    with RtspCameras(tmp_path_factory.mktemp("rtsp"), *encoders, password=("ann", PASSWORD)) as server:
        yield server


@pytest.mark.parametrize("codec", CODECS)
def test_every_frame_that_an_encoder_gave_is_kept_at_its_time(server: RtspCameras, codec: str) -> None:
    camera = driver(CameraConfig(url=_with_login(server.url(codec))))
    with closing(camera):
        camera.open(None)
        seen = watched(camera, 40)
        server.resize(160, 120, codec)
        seen += watched(camera, 30)
    # The first one comes before the server has told what its clock stands at.
    times_s = [float(packet.pts * packet.base) for packet in seen if packet.pts is not None]
    assert len(times_s) >= len(seen) - 1
    assert matching(times_s, [frame.pts_ns / 1e9 for frame in server.encoded(codec)]) is not None
    assert {packet.codec for packet in seen} == {CODECS[codec]}
    marked = [packet for packet in seen if packet.discontinuity]
    assert [packet.discontinuity for packet in marked] == ["start", "changed"]
    assert [(packet.key_frame, packet.size) for packet in marked] == [(True, (320, 240)), (True, (160, 120))]
    assert camera.counters["lost"] == 0


def test_a_camera_that_was_switched_off_goes_on_when_it_is_back(tmp_path: Path) -> None:
    with RtspCameras(tmp_path, Encoder(rate=20)) as server:
        running = Running(_maker(CameraConfig(url=server.url())), SETTINGS)
        with closing(running.source):
            running.until(lambda: len(running.sink.events) > 10, "video")
            server.kill()
            running.until(lambda: running.source.state is SourceState.BACKOFF, "the loss")
            before = len(running.sink.events)
            server.start()
            running.until(lambda: len(running.sink.events) > before + 10, "video again")
        _goes_on_at_a_key_frame(_stored(running))


def test_a_camera_that_hangs_is_given_up_and_goes_on_when_it_answers_again(tmp_path: Path) -> None:
    with RtspCameras(tmp_path, Encoder(rate=20)) as server:
        running = Running(_maker(CameraConfig(url=server.url(), stall_timeout=Duration(5))), SETTINGS)
        with closing(running.source):
            running.until(lambda: len(running.sink.events) > 10, "video")
            assert server.pid is not None
            os.kill(server.pid, signal.SIGSTOP)
            running.until(lambda: running.source.state is SourceState.BACKOFF, "the deadline")
            assert "nothing has come for 5s" in str(running.source.status().last_error)
            before = len(running.sink.events)
            os.kill(server.pid, signal.SIGCONT)
            running.until(lambda: len(running.sink.events) > before + 10, "video again")
        _goes_on_at_a_key_frame(_stored(running))


def test_the_password_is_seen_nowhere(
    server: RtspCameras, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "password").write_text(PASSWORD + "\n")
    with_file = server.url("mjpeg").replace("//", "//ann@")
    said = []
    for config in (
        CameraConfig(url=_with_login(server.url("mjpeg"))),
        CameraConfig(url=with_file, password_file=str(tmp_path / "password")),
    ):
        camera = driver(config)
        with closing(camera):
            camera.open(None)
            assert camera._child is not None
            watched(camera, 1)
            process = Path(f"/proc/{camera._child.pid}")
            said += [(process / "cmdline").read_text(), (process / "environ").read_text()]
    for url in (_with_login(server.url("nowhere")), _with_login("rtsp://127.0.0.1:9"), server.url(PASSWORD)):
        camera = driver(CameraConfig(url=url))
        with closing(camera):
            camera.open(None)
            with pytest.raises(DeviceLostError) as raised:
                watched(camera, 1)
        said.append(str(raised.value))
    (found,) = probe(SystemClock(), at=_with_login(server.url("mjpeg")))
    assert found.settings == {"url": with_file}
    everything = "\n".join([*said, str(found), caplog.text, *capfd.readouterr()])
    assert PASSWORD not in everything
    assert QUOTED not in everything


def test_a_probe_says_what_a_camera_sends(server: RtspCameras) -> None:
    (found,) = probe(SystemClock(), at=_with_login(server.url("h265")))
    assert found.sample.startswith("hevc, 320x240, ") or found.sample.startswith("hevc, 160x120, ")
    assert found.sample.endswith(" frames/s, a key frame every 0.5 s")
    with pytest.raises(DeviceLostError, match="401 Unauthorized"):
        list(probe(SystemClock(), at=server.url("h265")))


def _with_login(url: str) -> str:
    return url.replace("//", f"//ann:{QUOTED}@")


def _maker(config: CameraConfig) -> Callable[[SourceSettings, Clock], Driver]:
    return lambda settings, clock: CameraDriver(config, settings, clock)


def _stored(running: Running) -> list[Packet]:
    return [
        from_event(bytes(event.payload), event.content_type, event.headers, event.time_ns)
        for event in running.sink.events
    ]


def _goes_on_at_a_key_frame(stored: list[Packet]) -> None:
    marked = [packet for packet in stored if packet.discontinuity]
    assert [packet.discontinuity for packet in marked] == ["start", "reopened"]
    assert all(packet.key_frame for packet in marked)
    assert all(earlier.captured_ns < later.captured_ns for earlier, later in pairwise(stored))
