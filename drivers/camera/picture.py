"""What is seen in a camera's packets: decoded (PyAV), made smaller and into JPEG (OpenCV). Nothing else here decodes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.camera.packet import Packet

JPEG_QUALITY = 90
MAX_WIDTH = 16_384

Pixels = NDArray[np.uint8]
"""Height x width of grey, or height x width x (blue, green, red)."""


class PictureError(Exception):
    """Nothing can be seen. `str()` says why."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded frame. `pts` is that of its packet."""

    frame: av.VideoFrame
    pts: int | None

    def colours(self) -> Pixels:
        return np.asarray(self.frame.to_ndarray(format="bgr24"), dtype=np.uint8)

    def grey(self) -> Pixels:
        return np.asarray(self.frame.to_ndarray(format="gray"), dtype=np.uint8)


class Decoder:
    """Decodes from a key frame on. On one thread: a gateway has better things to do with its others."""

    def __init__(self, key_frame: Packet) -> None:
        try:
            context = av.CodecContext.create(key_frame.codec, "r")
        except (av.FFmpegError, ValueError) as error:
            raise PictureError(f"there is no decoder for {key_frame.codec}: {error}") from error
        assert isinstance(context, av.VideoCodecContext)
        if key_frame.extradata:
            context.extradata = key_frame.extradata
        context.thread_count = 1
        self._context = context
        self.failed = 0
        """Packets that could not be decoded. What follows them may look torn until the next key frame."""

    def decode(self, packet: Packet | None) -> list[Picture]:
        """The pictures that are complete with `packet`; with None, those that the decoder still held back. Ends it."""
        coded = None
        if packet is not None:
            coded = av.Packet(packet.payload)
            coded.pts, coded.dts, coded.time_base = packet.pts, packet.dts, packet.base
        try:
            return [Picture(frame, frame.pts) for frame in self._context.decode(coded)]
        except av.FFmpegError:
            self.failed += 1
            return []


def decode_alone(key_frame: Packet) -> Picture:
    """The picture in a key frame. Raises PictureError."""
    decoder = Decoder(key_frame)
    shown = [*decoder.decode(key_frame), *decoder.decode(None)]
    if not shown:
        raise PictureError(f"a key frame of {key_frame.codec} with {len(key_frame.payload)} bytes can't be decoded")
    return shown[0]


def snapshot(packets: Iterable[Packet], width: int | None = None) -> bytes:
    """What the last of `packets` shows, as JPEG; the first is the key frame before it. Raises PictureError.

    `width` in pixels; the height follows. A JPEG that is wanted as it is remains as it is.
    """
    decoder: Decoder | None = None
    newest: Packet | None = None
    shown: list[Picture] = []
    for packet in packets:
        if packet.key_frame:
            decoder, shown = Decoder(packet), []
        newest = packet
        if decoder is not None:
            # With reordering more than one may be later than the one that is wanted.
            shown = [*shown, *decoder.decode(packet)][-16:]
    if decoder is None or newest is None:
        raise PictureError("there is no key frame")
    if newest.codec == "mjpeg" and width is None:
        return newest.payload
    shown += decoder.decode(None)
    if not shown:
        raise PictureError(f"nothing of it can be decoded ({decoder.failed} packets of {newest.codec} are damaged)")
    wanted = newest.pts
    passed = [each for each in shown if wanted is None or each.pts is None or each.pts <= wanted]
    return jpeg((passed or shown)[-1].colours(), width)


def jpeg(pixels: Pixels, width: int | None = None) -> bytes:
    """`pixels` as JPEG, `width` wide. Raises PictureError."""
    if width is not None:
        if not 1 <= width <= MAX_WIDTH:
            raise PictureError(f"a width of {width}: 1 to {MAX_WIDTH} pixels")
        height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
        smaller = width < pixels.shape[1]
        how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
        pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=how), dtype=np.uint8)
    fine, coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not fine:
        raise PictureError(f"{pixels.shape[1]}x{pixels.shape[0]} pixels can't be made a JPEG")
    return coded.tobytes()
