"""One encoded frame, and how it is written into an event and read back. Knows no library and no device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from storage.model import Frame, Headers

CONTENT_TYPES = {"h264": "video/h264", "hevc": "video/h265", "mjpeg": "image/jpeg"}
"""FFmpeg's name of a codec -> content type. Another codec is `video/x-NAME`."""
_CODECS = {content_type: codec for codec, content_type in CONTENT_TYPES.items()}
_OTHER = "video/x-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One encoded frame as the camera sent it.

    `pts` and `dts` count in `base` seconds. `size` is width and height in pixels. `captured_ns` is on the boot clock.
    `extradata` and `size` are needed on key frames alone; elsewhere they may be empty and (0, 0).
    """

    payload: bytes
    codec: str
    key_frame: bool
    captured_ns: int
    pts: int | None = None
    dts: int | None = None
    base: Fraction = Fraction(1, 90_000)
    size: tuple[int, int] = (0, 0)
    extradata: bytes = b""
    discontinuity: str = ""


def content_type(codec: str) -> str:
    return CONTENT_TYPES.get(codec, _OTHER + codec)


def codec_of(content_type: str) -> str | None:
    """FFmpeg's name of the codec, None where `content_type` is none of video."""
    if content_type.startswith(_OTHER):
        return content_type.removeprefix(_OTHER)
    return _CODECS.get(content_type)


def to_frame(packet: Packet, routing_key: str) -> Frame:
    """What is appended for `packet`."""
    headers: list[tuple[str, bytes]] = []
    for name, ticks in (("video.pts", packet.pts), ("video.dts", packet.dts)):
        if ticks is not None:
            headers.append((name, b"%d" % ticks))
    headers.append(("video.base", b"%d/%d" % packet.base.as_integer_ratio()))
    if packet.key_frame:
        headers.append(("video.size", b"%dx%d" % packet.size))
        headers.append(("video.extradata", packet.extradata))
    if packet.discontinuity:
        headers.append(("video.discontinuity", packet.discontinuity.encode()))
    return Frame(
        [packet.payload],
        routing_key=routing_key,
        content_type=content_type(packet.codec),
        headers=tuple(headers),
        captured_ns=packet.captured_ns,
        key_frame=packet.key_frame,
    )


def from_event(
    payload: bytes, content_type: str, headers: Headers | Iterable[tuple[str, bytes]], time_ns: int
) -> Packet:
    """The packet in an event; `captured_ns` is `time_ns`. Raises ValueError where it is no event of a camera."""
    codec = codec_of(content_type)
    named = dict(headers)
    if codec is None or "video.base" not in named:
        raise ValueError(f"an event of {content_type or 'no content type'} is no frame of a camera")
    width, _, height = named.get("video.size", b"0x0").partition(b"x")
    return Packet(
        payload=payload,
        codec=codec,
        key_frame="video.size" in named,
        captured_ns=time_ns,
        pts=_ticks(named.get("video.pts")),
        dts=_ticks(named.get("video.dts")),
        base=Fraction(named["video.base"].decode()),
        size=(int(width), int(height)),
        extradata=named.get("video.extradata", b""),
        discontinuity=named.get("video.discontinuity", b"").decode(),
    )


def _ticks(raw: bytes | None) -> int | None:
    return None if raw is None else int(raw)
