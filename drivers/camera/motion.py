"""Groups of pictures in which something moves, with what came before and after.

How motion is seen
    Key frames are looked at, two a second at most (of a codec that has nothing else, so many of its frames), grey, 320
    pixels wide and blurred. Two looks are compared. First the light is taken out: brightness and contrast of the whole
    picture are fitted to the look before. Then a spot has moved where it differs by the threshold, and by four times the noise of
    this very camera, measured in the same difference. Motion is a connected piece of such spots of the asked-for area.
    A picture that can't be decoded counts as motion: better too much is kept than too little.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from drivers.camera.gate import NS, marked
from drivers.camera.packet import Packet
from drivers.camera.picture import PictureError, Pixels, decode_alone

LOOK_EVERY_NS = NS // 2
LOOK_WIDTH = 320
BLUR = (5, 5)
NOISE_TIMES = 4.0
MAX_PRE_ROLL_BYTES = 32 << 20
"""Encoded video that waits for motion. Beyond that the oldest group of pictures goes."""


class MotionDetector:
    """Compares each look with the one before."""

    def __init__(self, threshold: float, area: float) -> None:
        self._threshold = threshold
        self._area = area
        self._before: Pixels | None = None

    def moved(self, grey: Pixels) -> bool:
        """Whether something has moved since the picture before. Of the first, no."""
        look = _small(grey)
        before, self._before = self._before, look
        if before is None or before.shape != look.shape:
            return False
        difference = np.abs(_in_the_light_of(before, look) - before)
        noise = 1.4826 * float(np.median(difference))
        spots = (difference > max(self._threshold, NOISE_TIMES * noise)).astype(np.uint8)
        spots = np.asarray(cv2.morphologyEx(spots, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), dtype=np.uint8)
        _, _, pieces, _ = cv2.connectedComponentsWithStats(spots)
        largest = int(pieces[1:, cv2.CC_STAT_AREA].max()) if len(pieces) > 1 else 0
        return largest >= self._area * spots.size


def _small(grey: Pixels) -> Pixels:
    height = max(1, round(grey.shape[0] * LOOK_WIDTH / grey.shape[1]))
    small = cv2.resize(grey, (LOOK_WIDTH, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, BLUR, 0), dtype=np.uint8)


def _in_the_light_of(before: Pixels, look: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """`look` with the brightness and contrast of `before`, by their middle halves: what moves is rarely half of it."""
    low, middle, high = np.percentile(look, (25, 50, 75))
    low_before, middle_before, high_before = np.percentile(before, (25, 50, 75))
    contrast = (high_before - low_before) / (high - low) if high - low >= 8 else 1.0
    return np.asarray((look.astype(np.float32) - middle) * contrast + middle_before, dtype=np.float32)


class MotionGate:
    """Whole groups of pictures pass: from `pre_roll_s` before motion until `post_roll_s` after it."""

    def __init__(self, detector: MotionDetector, pre_roll_s: float, post_roll_s: float) -> None:
        self.gated = 0
        self.failed = 0
        """Looks at what could not be decoded."""
        self.looks = 0
        self._detector = detector
        self._pre_roll_ns = int(pre_roll_s * NS)
        self._post_roll_ns = int(post_roll_s * NS)
        self._groups: deque[list[Packet]] = deque()
        self._groups_bytes = 0
        self._missing = False
        self._moved_ns: int | None = None
        self._looked_ns: int | None = None

    def feed(self, packet: Packet) -> list[Packet]:
        if packet.key_frame:
            self._judge(packet)
            if self._moved_ns is not None:
                return [*self._let_out(packet.captured_ns), self._passing(packet)]
            self._groups.append([])
        if self._moved_ns is not None:
            return [packet]
        if not self._groups:
            self._hold_back([packet])
            return []
        self._groups[-1].append(packet)
        self._groups_bytes += len(packet.payload)
        self._forget(packet.captured_ns)
        return []

    def _judge(self, key_frame: Packet) -> None:
        """Open or close, by what is seen in `key_frame`."""
        now_ns = key_frame.captured_ns
        if self._looked_ns is None or not 0 <= now_ns - self._looked_ns < LOOK_EVERY_NS:
            self._looked_ns = now_ns
            if self._moves(key_frame):
                self._moved_ns = now_ns
        if self._moved_ns is not None and not 0 <= now_ns - self._moved_ns <= self._post_roll_ns:
            self._moved_ns = None

    def _moves(self, key_frame: Packet) -> bool:
        self.looks += 1
        try:
            return self._detector.moved(decode_alone(key_frame).grey())
        except PictureError:
            self.failed += 1
            return True

    def _let_out(self, now_ns: int) -> list[Packet]:
        """What waited, and still belongs before what comes at `now_ns`."""
        self._forget(now_ns)
        waited = [packet for group in self._groups for packet in group]
        self._groups.clear()
        self._groups_bytes = 0
        return [self._passing(waited[0]), *waited[1:]] if waited else []

    def _passing(self, packet: Packet) -> Packet:
        missing, self._missing = self._missing, False
        return marked(packet) if missing else packet

    def _forget(self, now_ns: int) -> None:
        """Groups that lie wholly before the pre-roll, and what is above the bound."""
        while self._groups and (
            self._groups_bytes > MAX_PRE_ROLL_BYTES
            or (len(self._groups) > 1 and self._groups[1][0].captured_ns <= now_ns - self._pre_roll_ns)
        ):
            group = self._groups.popleft()
            self._groups_bytes -= sum(len(packet.payload) for packet in group)
            self._hold_back(group)

    def _hold_back(self, group: list[Packet]) -> None:
        self.gated += len(group)
        self._missing = True
