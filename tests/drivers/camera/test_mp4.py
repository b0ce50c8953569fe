"""Frames into MP4: the camera's packets at the camera's times, in files that other programs find clean."""

from __future__ import annotations

import errno
import io
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from drivers.camera import mp4
from drivers.camera.mp4 import VideoError, Written, write_mp4
from drivers.camera.packet import Packet
from tests.drivers.camera.footage import FPS, NS, START_NS, as_from_a_file, changed, film, moving
from tests.servers.cache import ServerMissingError
from tests.servers.camera import ffmpeg
from tests.small_disk import run_on_small_disk

STEP = 9000
"""Ticks of 1/90000 s between two frames."""


def written(path: Path) -> list[tuple[int | None, int | None, bool, bytes]]:
    with av.open(str(path)) as container:
        return [
            (packet.pts, packet.dts, packet.is_keyframe, bytes(packet))
            for packet in container.demux(container.streams.video[0])
            if packet.size
        ]


def shown_at(path: Path) -> list[int | None]:
    return [pts for pts, _, _, _ in written(path)]


def units(payload: bytes, *, lengths: bool) -> list[bytes]:
    """The NAL units of a packet, behind start codes or lengths."""
    if not lengths:
        return [each for each in re.split(rb"\x00*\x00\x00\x01", payload) if each]
    found: list[bytes] = []
    reader = io.BytesIO(payload)
    while size := reader.read(4):
        found.append(reader.read(int.from_bytes(size)))
    return found


def probed(path: Path) -> dict[str, object]:
    """What ffprobe says, which decodes every frame. Fails where it has anything to complain about."""
    try:
        program, environment = ffmpeg("ffprobe")
    except ServerMissingError as error:
        pytest.skip(str(error))
    command = [str(program), "-v", "warning", "-count_frames", "-show_streams", "-of", "json", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    stream = json.loads(done.stdout)["streams"][0]
    assert isinstance(stream, dict)
    return stream


def export(packets: list[Packet], path: Path) -> list[Written]:
    return list(write_mp4(packets, path))


@pytest.mark.long
@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("codec", ["libx264", "libx265", "mjpeg"])
def test_every_packet_is_in_it_untouched_at_the_cameras_time(codec: str, b_frames: int, tmp_path: Path) -> None:
    if codec == "mjpeg" and b_frames:
        return
    packets = film(moving(25), codec, b_frames=b_frames)
    out = tmp_path / "cut.mp4"
    [file] = export(packets, out)
    assert file == Written(out, 25, START_NS, START_NS + 24 * NS // FPS)
    found = written(out)
    begin = packets[0].pts or 0
    assert [(pts, dts, key) for pts, dts, key, _ in found] == [
        ((packet.pts or 0) - begin, (packet.dts or 0) - begin, packet.key_frame) for packet in packets
    ]
    for packet, (_, _, _, payload) in zip(packets, found, strict=True):
        if codec == "mjpeg":
            assert payload == packet.payload
        else:
            assert units(payload, lengths=True) == units(packet.payload, lengths=False)
    stream = probed(out)
    assert (stream["nb_read_frames"], stream["width"], stream["height"]) == ("25", 160, 120)
    assert stream["codec_name"] == packets[0].codec


@pytest.mark.long
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_packets_that_have_lengths_already_are_the_same_bytes(codec: str, tmp_path: Path) -> None:
    packets = as_from_a_file(film(moving(15), codec))
    assert packets[0].extradata[:1] == b"\x01"
    export(packets, tmp_path / "cut.mp4")
    assert [payload for _, _, _, payload in written(tmp_path / "cut.mp4")] == [packet.payload for packet in packets]
    assert probed(tmp_path / "cut.mp4")["nb_read_frames"] == "15"


def test_parameter_sets_that_came_beside_the_packets_are_put_in_front(tmp_path: Path) -> None:
    """As over RTSP, where a camera may say them in its description and never again."""
    packets = film(moving(12))
    sets = [unit for unit in units(packets[0].payload, lengths=False) if unit[0] & 31 in (7, 8)]
    extradata = b"".join(b"\0\0\0\1" + unit for unit in sets)

    def stripped(number: int, packet: Packet) -> Packet:
        kept = [unit for unit in units(packet.payload, lengths=False) if unit[0] & 31 not in (7, 8)]
        payload = b"".join(b"\0\0\0\1" + unit for unit in kept)
        return replace(packet, payload=payload, extradata=extradata if packet.key_frame else b"")

    export(changed(packets, stripped), tmp_path / "cut.mp4")
    assert probed(tmp_path / "cut.mp4")["nb_read_frames"] == "12"


def test_it_begins_at_the_first_key_frame_and_says_what_was_left_out(tmp_path: Path) -> None:
    skipped: list[int] = []
    packets = film(moving(25))[3:]
    [file] = write_mp4(packets, tmp_path / "cut.mp4", on_skipped=skipped.append)
    assert (file.frames, skipped) == (15, [7])


def test_without_a_key_frame_there_is_no_file(tmp_path: Path) -> None:
    assert export(film(moving(9))[1:], tmp_path / "cut.mp4") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_a_change_of_size_begins_another_file(tmp_path: Path) -> None:
    small, large = film(moving(12)), film(moving(12, (320, 240)), first_pts=5_000_000)
    files = export([*small, *large], tmp_path / "cut.mp4")
    assert [(file.path.name, file.frames, file.why) for file in files] == [
        ("cut.mp4", 12, ""),
        ("cut-2.mp4", 12, "the picture's size changed from 160x120 to 320x240"),
    ]
    assert [probed(file.path)["width"] for file in files] == [160, 320]


def test_a_change_of_codec_begins_another_file(tmp_path: Path) -> None:
    files = export([*film(moving(5)), *film(moving(5), "mjpeg")], tmp_path / "cut.mp4")
    assert [file.why for file in files] == ["", "the codec changed from h264 to mjpeg"]


def test_frames_above_what_a_file_may_hold_go_into_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mp4, "MAX_FRAMES", 15)
    files = export(film(moving(40)), tmp_path / "cut.mp4")
    assert [file.frames for file in files] == [20, 20]
    monkeypatch.setattr(mp4, "MAX_FILES", 1)
    with pytest.raises(VideoError, match="export a shorter range"):
        export(film(moving(40)), tmp_path / "more.mp4")


@pytest.mark.parametrize("base", [Fraction(1, 1000), Fraction(1, 1_000_000), Fraction(1001, 30_000)])
def test_the_unit_of_the_cameras_clock_is_kept(base: Fraction, tmp_path: Path) -> None:
    packets = film(moving(12), base=base, fps=5)
    export(packets, tmp_path / "cut.mp4")
    with av.open(str(tmp_path / "cut.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        shown = [packet.pts * stream.time_base for packet in container.demux(stream) if packet.pts is not None]
    assert shown == [((packet.pts or 0) - (packets[0].pts or 0)) * base for packet in packets]


def test_a_codec_that_no_mp4_holds_is_refused_in_words(tmp_path: Path) -> None:
    packets = [replace(packet, codec="huffyuv") for packet in film(moving(2))]
    with pytest.raises(VideoError, match=r"cut.mp4: video of the codec huffyuv can't be put into an MP4: only h264"):
        export(packets, tmp_path / "cut.mp4")
    assert list(tmp_path.iterdir()) == []


def test_what_breaks_off_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    out = tmp_path / "cut.mp4"
    out.write_bytes(b"old")

    def broken() -> Iterator[Packet]:
        yield from film(moving(12))
        raise OSError(errno.EIO, "the disk")

    with pytest.raises(OSError, match="the disk"):
        list(write_mp4(broken(), out))
    assert [each.name for each in tmp_path.iterdir()] == ["cut.mp4"]
    assert out.read_bytes() == b"old"


def fill(mount: Path) -> None:
    (mount / "other").write_bytes(bytes((48 << 20) - (64 << 10)))
    try:
        list(write_mp4(film(moving(60), "mjpeg"), mount / "cut.mp4"))
    except OSError as error:
        print(error, sorted(each.name for each in mount.iterdir()))


@pytest.mark.long
def test_a_full_disk_is_an_error_that_says_so(tmp_path: Path) -> None:
    said = run_on_small_disk(__name__, fill.__name__, tmp_path)
    assert said == f"[Errno 28] No space left on device: '{tmp_path}/cut.mp4' ['other']\n"
