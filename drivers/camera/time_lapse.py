"""A picture every so often. Decoded is what it takes to see that moment, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from drivers.camera.gate import Pace, marked
from drivers.camera.packet import Packet
from drivers.camera.picture import Decoder, Picture, PictureError, decode_alone, jpeg

MAX_WAITING_BYTES = 32 << 20
"""Encoded frames since the last key frame that nobody had to look at yet. Beyond that they are decoded to be rid of them."""
KEY_FRAME_PART = 4
"""Where key frames come at least so often in `every`, the next one will do."""


class TimeLapseGate:
    """One JPEG every `every_s` of the camera's time.

    Of a camera whose key frames are close together in comparison, the first key frame when it is time: no other frame is
    looked at. Else the frame of that moment, decoded with those of its group of pictures before it.
    """

    def __init__(self, every_s: float) -> None:
        self.gated = 0
        self.failed = 0
        """Pictures that could not be decoded. The next frame is tried in their place."""
        self.decoded = 0
        self._pace = Pace(every_s)
        self._decoder: Decoder | None = None
        self._waiting: list[Packet] = []
        self._waiting_bytes = 0
        self._key_ns: int | None = None
        self._key_gap_ns: int | None = None

    def feed(self, packet: Packet) -> list[Packet]:
        if packet.key_frame:
            self._begin_group(packet)
        elif self._decoder is None:
            self.gated += 1
            return []
        self._waiting.append(packet)
        self._waiting_bytes += len(packet.payload)
        picture = None
        try:
            if self._pace.is_due(packet.captured_ns) and not self._key_frame_will_do(packet):
                picture = self._look(packet)
        except PictureError:
            self.failed += 1
        if self._waiting_bytes > MAX_WAITING_BYTES:
            self._decode_waiting()
        if picture is None:
            self.gated += 1
            return []
        self._pace.step(packet.captured_ns)
        return [picture]

    def _begin_group(self, key_frame: Packet) -> None:
        if self._key_ns is not None and not key_frame.discontinuity:
            self._key_gap_ns = key_frame.captured_ns - self._key_ns
        self._key_ns = key_frame.captured_ns
        self._decoder = Decoder(key_frame)
        self._waiting, self._waiting_bytes = [], 0

    def _key_frame_will_do(self, packet: Packet) -> bool:
        """Whether to wait for the next key frame; no longer than it should take."""
        if packet.key_frame or self._key_gap_ns is None or self._pace.due_ns is None:
            return False
        near_ns = self._pace.every_ns // KEY_FRAME_PART
        return self._key_gap_ns <= near_ns and packet.captured_ns - self._pace.due_ns < near_ns

    def _look(self, packet: Packet) -> Packet | None:
        if packet.key_frame:
            self.decoded += 1
            if packet.codec == "mjpeg":
                return marked(packet)
            shown: Picture | None = decode_alone(packet)
        else:
            shown = self._decode_waiting()
        if shown is None:
            return None
        colours = shown.colours()
        size = (colours.shape[1], colours.shape[0])
        picture = replace(packet, payload=jpeg(colours), codec="mjpeg", key_frame=True, size=size, extradata=b"")
        return marked(picture)

    def _decode_waiting(self) -> Picture | None:
        """Catch up. The newest picture, None where the decoder holds it back still."""
        assert self._decoder is not None
        newest: Picture | None = None
        for packet in self._waiting:
            self.decoded += 1
            newest = next(reversed(self._decoder.decode(packet)), newest)
        self._waiting, self._waiting_bytes = [], 0
        return newest
