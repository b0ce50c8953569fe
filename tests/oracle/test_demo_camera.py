"""The demo's camera: numbered pictures that can be told apart, and that nobody gets who does not look."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import av
import pytest

from drivers.camera.card import card, comment
from edge.demo.camera import HttpCamera
from edge.demo.numbering import read_number, stamp


@pytest.fixture
def camera() -> Iterator[HttpCamera]:
    with closing(HttpCamera("gate", 50.0)) as made:
        yield made


def test_a_picture_bears_its_number_and_can_be_shown() -> None:
    picture = card(5, stamp("gate", 5))
    assert read_number(picture) == ("gate", 5)
    [frame] = av.CodecContext.create("mjpeg", "r").decode(av.Packet(picture))
    assert isinstance(frame, av.VideoFrame)
    assert (frame.width, frame.height) == (320, 240)


def test_a_picture_of_another_or_with_a_damaged_number_bears_none() -> None:
    assert read_number(card(5, stamp("gate", 5)).replace(b"gate 5", b"gate 6")) is None
    assert (comment(b"\xff\xd8\xff\xdb\0\4ab"), read_number(b"\xff\xd8\xff\xdb\0\4ab")) == (b"", None)


def test_who_looks_sees_each_picture_once_from_then_on(camera: HttpCamera) -> None:
    camera.start()
    end_s = time.monotonic() + 20
    while camera.sent < 10:
        assert time.monotonic() < end_s
        time.sleep(0.01)
    before = camera.sent
    with av.open(camera.url, options={"fpsprobesize": "0"}) as viewer:
        packets = viewer.demux(video=0)
        seen = [read_number(bytes(next(packets))) for _ in range(5)]
    numbers = [number for who, number in filter(None, seen) if who == "gate"]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 5
    assert before - 1 <= numbers[0]
