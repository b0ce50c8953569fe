"""What is read out of encoded frames, beside what the encoders themselves say."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from drivers.camera.capture import picture_size
from drivers.camera.parameters import jpeg_size, parameter_sets
from tests.drivers.camera.films import film


@pytest.mark.parametrize(("codec", "units", "form"), [("h264", 2, "h264"), ("hevc", 3, "hevc")])
def test_parameter_sets_are_found_before_a_key_frame(tmp_path: Path, codec: str, units: int, form: str) -> None:
    """In a raw byte stream they stand before each key frame, as most cameras send them."""
    written = film(tmp_path / f"film.{form}", codec, size=(320, 240))
    keys = [each for each in written if each.key_frame]
    assert len(keys) == 2
    sets = {parameter_sets(codec, each.payload) for each in keys}
    assert len(sets) == 1
    found = sets.pop()
    assert found.count(b"\x00\x00\x00\x01") == units
    with av.open(str(tmp_path / f"film.{form}")) as opened:
        extradata = opened.streams.video[0].codec_context.extradata
        assert extradata is not None
        assert found in extradata.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").replace(
            b"\x00\x00\x01", b"\x00\x00\x00\x01"
        )
    assert parameter_sets(codec, written[1].payload) == b""
    assert picture_size(codec, keys[0].payload) == (320, 240)


def test_a_frame_whose_units_have_lengths_has_none(tmp_path: Path) -> None:
    written = film(tmp_path / "film.mp4")
    with av.open(str(tmp_path / "film.mp4")) as opened:
        extradata = opened.streams.video[0].codec_context.extradata
    assert extradata is not None
    looks_like_a_start = (0x0167).to_bytes(4, "big") + b"x" * 0x167
    for payload in (written[0].payload, looks_like_a_start):
        assert parameter_sets("h264", payload, extradata) == b""
    assert parameter_sets("h264", looks_like_a_start) != b""


def test_a_jpeg_says_its_size(tmp_path: Path) -> None:
    written = film(tmp_path / "film.mjpeg", "mjpeg", frames=1, size=(176, 144))
    assert jpeg_size(written[0].payload) == (176, 144)
    assert jpeg_size(written[0].payload[:20]) is None
    assert jpeg_size(b"\xff\xd8 no jpeg at all") is None
