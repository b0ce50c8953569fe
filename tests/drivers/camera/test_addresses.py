"""Addresses of cameras: what can't work is refused in words, and no password is among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.camera.config import CameraConfig, make_job
from drivers.contract import DeviceLostError, DriverConfigError
from edge.config.load import load
from edge.errors import ConfigurationError
from tests.drivers.camera.films import driver


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (CameraConfig(url="rtsp://ann:s3cret@camera:port/stream"), "url is no address"),
        (CameraConfig(url="rtsp://ann:s3cret@[camera/stream"), "url is no address"),
        (CameraConfig(url="rtmp://ann:s3cret@camera/stream"), "url begins with rtmp"),
        (CameraConfig(url="rtsp://ann:s3cret@/stream"), "url names no host"),
        (CameraConfig(url="rtsp://ann:s3cret@camera/", password_file="/etc/password"), "and no password"),
        (CameraConfig(url="rtsp://camera/", password_file="/etc/password"), "holds the user's name"),
    ],
)
def test_an_address_that_cannot_work_is_refused_without_being_shown(
    config: CameraConfig, said: str, tmp_path: Path
) -> None:
    with pytest.raises(DriverConfigError, match=said) as raised:
        driver(config)
    (tmp_path / "edge.toml").write_text(
        '[node]\nname = "pump-7"\n[[source]]\nname = "gate"\ndriver = "camera"\nstream = "site/gate"\n'
        f'url = "{config.url}"\npassword_file = "{config.password_file}"\n'
    )
    with pytest.raises(ConfigurationError) as checked:
        load(tmp_path / "edge.toml")
    assert said in str(checked.value)
    assert "s3cret" not in f"{raised.value} {checked.value}"


def test_a_password_out_of_a_file_is_quoted_and_kept_from_messages(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p@ss/word\n")
    config = CameraConfig(url="rtsp://ann@camera:8554/live?channel=1", password_file=str(tmp_path / "password"))
    job = make_job(config, "gate", "start")
    assert job.target == "rtsp://ann:p%40ss%2Fword@camera:8554/live?channel=1"
    assert job.redacted(f"{job.target}: p@ss/word") == "***: ***"
    (tmp_path / "password").unlink()
    with pytest.raises(DeviceLostError, match=r"password_file .* can't be read"):
        make_job(config, "gate", "start")
