"""What a muxer has to know of a stream before its first packet, for packets that come from no container.

PyAV takes that from a stream that it has open, and from nothing else. So one is made: the head of a Matroska file (RFC
9559) that names codec, size and parameter sets, and has no frames.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import av
from av.video.stream import VideoStream

from drivers.camera.packet import Packet

_CODEC_IDS = {
    "h264": b"V_MPEG4/ISO/AVC",
    "hevc": b"V_MPEGH/ISO/HEVC",
    "mjpeg": b"V_MJPEG",
    "mpeg4": b"V_MPEG4/ISO/ASP",
    "vp8": b"V_VP8",
    "vp9": b"V_VP9",
    "av1": b"V_AV1",
}
"""FFmpeg's name of a codec -> Matroska's (draft-ietf-cellar-codec)."""

_EBML, _DOC_TYPE = b"\x1a\x45\xdf\xa3", b"\x42\x82"
_SEGMENT, _INFO, _TIMESTAMP_SCALE = b"\x18\x53\x80\x67", b"\x15\x49\xa9\x66", b"\x2a\xd7\xb1"
_TRACKS, _TRACK, _NUMBER, _UID, _TYPE = b"\x16\x54\xae\x6b", b"\xae", b"\xd7", b"\x73\xc5", b"\x83"
_CODEC_ID, _CODEC_PRIVATE = b"\x86", b"\x63\xa2"
_VIDEO, _WIDTH, _HEIGHT = b"\xe0", b"\xb0", b"\xba"
_CLUSTER, _TIMESTAMP = b"\x1f\x43\xb6\x75", b"\xe7"


@contextmanager
def template_of(key_frame: Packet) -> Iterator[VideoStream]:
    """An open stream with the parameters of `key_frame`. Raises ValueError where its codec is not known here."""
    if key_frame.codec not in _CODEC_IDS:
        raise ValueError(f"only {', '.join(_CODEC_IDS)} can")
    with av.open(io.BytesIO(_head(key_frame)), format="matroska") as container:
        yield container.streams.video[0]


def _head(key_frame: Packet) -> bytes:
    width, height = key_frame.size
    private = _element(_CODEC_PRIVATE, key_frame.extradata) if key_frame.extradata else b""
    track = (
        _element(_NUMBER, b"\x01")
        + _element(_UID, b"\x01")
        + _element(_TYPE, b"\x01")
        + _element(_CODEC_ID, _CODEC_IDS[key_frame.codec])
        + private
        + _element(_VIDEO, _element(_WIDTH, width.to_bytes(4)) + _element(_HEIGHT, height.to_bytes(4)))
    )
    info = _element(_INFO, _element(_TIMESTAMP_SCALE, (1_000_000).to_bytes(4)))
    tracks = _element(_TRACKS, _element(_TRACK, track))
    # A reader looks for the first cluster to know that the head is at its end.
    cluster = _element(_CLUSTER, _element(_TIMESTAMP, b"\x00"))
    return _element(_EBML, _element(_DOC_TYPE, b"matroska")) + _element(_SEGMENT, info + tracks + cluster)


def _element(name: bytes, content: bytes) -> bytes:
    return name + (len(content) | 1 << 56).to_bytes(8) + content
