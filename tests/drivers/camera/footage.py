"""Video as cameras send it, encoded here: what is seen, the codec and the form of the packets are the test's."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from typing import TypeAlias

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from drivers.camera.packet import Packet

Picture = NDArray[np.uint8]
"""Height x width, grey."""
Encoded: TypeAlias = "av.Packet[VideoStream]"

SIZE = (160, 120)
FPS = 10
NS = 1_000_000_000
START_NS = 1_700_000_000 * NS
BASE = Fraction(1, 90_000)


def scene(seed: int = 1, size: tuple[int, int] = SIZE) -> Picture:
    """A still picture that has something everywhere."""
    width, height = size
    rows, columns = np.mgrid[0:height, 0:width]
    waves = 60 * np.sin(columns / 9 + seed) + 40 * np.cos(rows / 7)
    return np.asarray(120 + waves, dtype=np.uint8)


def with_ball(picture: Picture, number: int, radius: int = 10) -> Picture:
    """`picture` with a bright ball that is elsewhere in every frame."""
    height, width = picture.shape
    rows, columns = np.mgrid[0:height, 0:width]
    at = (radius + number * 11 % (width - 2 * radius), height // 2)
    seen = picture.copy()
    seen[(columns - at[0]) ** 2 + (rows - at[1]) ** 2 <= radius**2] = 250
    return seen


def moving(frames: int, size: tuple[int, int] = SIZE) -> list[Picture]:
    still = scene(size=size)
    return [with_ball(still, number) for number in range(frames)]


def film(
    pictures: Iterable[Picture],
    codec: str = "libx264",
    *,
    gop: int = 10,
    b_frames: int = 0,
    base: Fraction = BASE,
    fps: int = FPS,
    start_ns: int = START_NS,
    first_pts: int = 123_456,
) -> list[Packet]:
    """`pictures` as packets in Annex B form, or JPEG: no parameter sets but those within."""
    shown = list(pictures)
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.height, context.width = shown[0].shape
    context.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    context.time_base, context.framerate = base, Fraction(fps)
    context.gop_size, context.max_b_frames = gop, b_frames
    context.options = {"preset": "ultrafast", "x265-params": "log-level=none", "forced-idr": "1"}
    if codec == "libx265":
        context.options |= {"x265-params": f"log-level=none:keyint={gop}:bframes={b_frames}:repeat-headers=1"}
    if codec == "libx264":
        context.options |= {"bf": str(b_frames), "sc_threshold": "0"}
    if codec == "mjpeg":
        context.options = {}
    step = int(1 / (fps * base))
    made: list[Encoded] = []
    for number, picture in enumerate(shown):
        frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format=context.pix_fmt)
        frame.pts, frame.time_base = first_pts + number * step, base
        made += context.encode(frame)
    made += context.encode(None)
    size = (context.width, context.height)
    name = {"libx264": "h264", "libx265": "hevc"}.get(codec, codec)
    return [_packet(each, name, size, start_ns + number * NS // fps, base) for number, each in enumerate(made)]


def _packet(made: Encoded, codec: str, size: tuple[int, int], captured_ns: int, base: Fraction) -> Packet:
    return Packet(
        payload=bytes(made),
        codec=codec,
        key_frame=made.is_keyframe,
        captured_ns=captured_ns,
        pts=made.pts,
        dts=made.dts,
        base=base,
        size=size if made.is_keyframe else (0, 0),
    )


def as_from_a_file(packets: list[Packet]) -> list[Packet]:
    """The same in the form that files have: lengths in place of start codes, parameter sets beside (avcC, hvcC)."""
    out = io.BytesIO()
    from drivers.camera.template import template_of

    with av.open(out, "w", format="mp4") as container, template_of(packets[0]) as template:
        stream = container.add_stream_from_template(template, opaque=True)
        stream.time_base = packets[0].base
        for packet in packets:
            muxed = av.Packet(packet.payload)
            muxed.stream, muxed.time_base = stream, packet.base
            muxed.pts, muxed.dts, muxed.is_keyframe = packet.pts, packet.dts, packet.key_frame
            container.mux_one(muxed)
    with av.open(io.BytesIO(out.getvalue()), "r") as file:
        extradata = file.streams.video[0].codec_context.extradata or b""
        payloads = [bytes(each) for each in file.demux(file.streams.video[0]) if each.size]
    return [
        replace(packet, payload=payload, extradata=extradata if packet.key_frame else b"")
        for packet, payload in zip(packets, payloads, strict=True)
    ]


def changed(packets: Iterable[Packet], how: Callable[[int, Packet], Packet]) -> list[Packet]:
    return [how(number, packet) for number, packet in enumerate(packets)]
