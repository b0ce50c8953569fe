"""Short films made by PyAV, and a driver that plays something until it has shown enough."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from drivers.camera.config import CameraConfig
from drivers.camera.driver import CameraDriver
from drivers.camera.packet import Packet, from_event
from drivers.contract import Delivery, SourceSettings
from storage.clock import SystemClock
from storage.units import Duration

PATIENCE_S = 60.0
ENCODERS = {"h264": "libx264", "hevc": "libx265", "mjpeg": "mjpeg", "rawvideo": "rawvideo"}
FORMATS = {"mjpeg": "yuvj420p", "rawvideo": "yuyv422"}


@dataclass(frozen=True, slots=True)
class Written:
    """A packet as it stands in a file."""

    payload: bytes
    pts: int | None
    dts: int | None
    key_frame: bool


def film(
    path: Path,
    codec: str = "h264",
    *,
    frames: int = 20,
    rate: int = 20,
    key_every: int = 10,
    size: tuple[int, int] = (160, 120),
) -> list[Written]:
    """Write a film of a moving bar. Returns what is in it."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(ENCODERS[codec], rate=rate)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = FORMATS.get(codec, "yuv420p")
        stream.time_base = Fraction(1, rate)
        if codec not in FORMATS:
            stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(key_every)}
            if codec == "hevc":
                stream.options |= {"x265-params": f"log-level=none:keyint={key_every}:min-keyint={key_every}"}
        for number in range(frames):
            picture = np.full((size[1] * 3 // 2, size[0]), 128, np.uint8)
            picture[: size[1], number * 4 % size[0] : number * 4 % size[0] + 8] = 255
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p").reformat(format=stream.pix_fmt)
            frame.pts = number
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    with av.open(str(path)) as film:
        return [
            Written(bytes(packet), packet.pts, packet.dts, packet.is_keyframe)
            for packet in film.demux(film.streams.video[0])
            if packet.size
        ]


def driver(config: CameraConfig) -> CameraDriver:
    """With a deadline that a busy machine keeps, unless `config` has one of its own."""
    if config.stall_timeout == CameraConfig().stall_timeout:
        config = replace(config, stall_timeout=Duration(PATIENCE_S))
    return CameraDriver(config, SourceSettings(name="gate", driver="camera", stream="site/gate"), SystemClock())


def packets_of(delivery: Delivery) -> list[Packet]:
    """The frames of a delivery, read back from what would be stored."""
    found = []
    for append in delivery.appends:
        for frame in append.frames:
            assert frame.captured_ns is not None
            (payload,) = frame.payloads
            packet = from_event(payload, frame.content_type, frame.headers, frame.captured_ns)
            assert packet.key_frame == frame.key_frame
            found.append(packet)
    return found


def watched(camera: CameraDriver, count: int) -> list[Packet]:
    """Poll until `count` frames have come."""
    seen: list[Packet] = []
    deadline_s = time.monotonic() + PATIENCE_S
    while len(seen) < count:
        assert time.monotonic() < deadline_s, f"{len(seen)} of {count} frames came"
        delivery = camera.poll(0.1)
        if delivery is not None:
            seen += packets_of(delivery)
    return seen
