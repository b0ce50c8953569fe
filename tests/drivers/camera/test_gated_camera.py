"""A camera with a gate, from the configuration to what is handed over: a video file stands for the camera."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from drivers.camera.config import CameraConfig
from drivers.camera.driver import CameraDriver
from drivers.camera.mp4 import write_mp4
from drivers.contract import DriverConfigError, SourceSettings
from storage.clock import SystemClock
from storage.model import Frame
from storage.units import Duration
from tests.drivers.camera.footage import film, moving

SETTINGS = SourceSettings(name="gate", driver="camera", stream="video/gate")


@pytest.mark.long
def test_a_time_lapse_is_handed_over_as_jpeg_and_what_it_held_back_is_counted(tmp_path: Path) -> None:
    [file] = write_mp4(film(moving(60), fps=50), tmp_path / "camera.mp4")
    config = CameraConfig(url=str(file.path), gate="time-lapse", every=Duration(0.3))
    frames: list[Frame] = []
    with closing(CameraDriver(config, SETTINGS, SystemClock())) as driver:
        driver.open(None)
        end_s = time.monotonic() + 30
        while len(frames) < 4 or not driver.counters["gated"]:
            assert time.monotonic() < end_s, driver.counters
            delivery = driver.poll(0.1)
            frames += [frame for append in delivery.appends for frame in append.frames] if delivery is not None else []
    assert [frame.content_type for frame in frames] == ["image/jpeg"] * 4
    assert [dict(frame.headers)["video.discontinuity"] for frame in frames] == [b"start", *[b"gated"] * 3]
    assert all(frame.key_frame and frame.payloads[0][:2] == b"\xff\xd8" for frame in frames)
    assert driver.counters["lost"] == 0


def test_a_gate_that_can_not_work_is_told_with_its_source() -> None:
    with pytest.raises(DriverConfigError, match="source gate: every = 0"):
        CameraDriver(CameraConfig(url="a.mp4", gate="interval", every=Duration(0)), SETTINGS, SystemClock())
