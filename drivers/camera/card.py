"""Pictures for where there is no camera: a small scene that moves and bears its number, to be seen and to be read."""

from __future__ import annotations

import math

import cv2
import numpy as np

from drivers.camera.picture import Pixels

SIZE = (320, 240)
QUALITY = 60
_COMMENT = b"\xff\xfe"
_WATER, _WALL, _FLOAT, _INK = (150, 100, 40), (190, 190, 185), (60, 120, 230), (40, 40, 40)


def card(number: int, said: bytes, per_s: float = 5.0) -> bytes:
    """The picture of that number as JPEG: a float on moving water. `said` is its comment (ITU-T T.81, B.2.4.5)."""
    width, height = SIZE
    picture: Pixels = np.full((height, width, 3), _WALL, np.uint8)
    phase = number / per_s
    level = [
        int(150 + 12 * math.sin(phase + x / 40) + 4 * math.sin(2.3 * phase + x / 11)) for x in range(0, width + 1, 8)
    ]
    surface = [(8 * step, y) for step, y in enumerate(level)]
    cv2.fillPoly(picture, [np.array([*surface, (width, height), (0, height)], np.int32)], _WATER)
    at = int(width / 2 + width / 3 * math.sin(phase / 3))
    cv2.circle(picture, (at, level[at // 8] - 6), 12, _FLOAT, cv2.FILLED, cv2.LINE_AA)
    cv2.putText(picture, f"{number:06}", (12, 34), cv2.FONT_HERSHEY_SIMPLEX, 0.9, _INK, 2, cv2.LINE_AA)
    _, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    jpeg = coded.tobytes()
    return jpeg[:2] + _COMMENT + (len(said) + 2).to_bytes(2) + said + jpeg[2:]


def comment(jpeg: bytes) -> bytes:
    """What `card` wrote into a picture; nothing where it is none of its own."""
    if jpeg[2:4] != _COMMENT:
        return b""
    return jpeg[6 : 4 + int.from_bytes(jpeg[4:6])]
