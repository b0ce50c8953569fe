"""Runs: events of one commit that follow each other and become one frame."""

from __future__ import annotations

from storage.frame import FRAME_EVENTS, FRAME_TARGET_BYTES
from storage.model import Frame


class Run:
    """Events that follow each other and share all but payload and time: they become one frame."""

    __slots__ = ("frame", "payloads", "size_bytes", "times_ns")

    def __init__(self, frame: Frame, now_ns: int) -> None:
        self.frame = frame
        self.payloads = list(frame.payloads)
        self.times_ns = _times(frame, now_ns)
        self.size_bytes = sum(map(len, frame.payloads))

    def takes(self, frame: Frame) -> bool:
        """Whether `frame` goes on where this ends."""
        mine = self.frame
        return (
            self.size_bytes < FRAME_TARGET_BYTES
            and len(self.payloads) < FRAME_EVENTS
            and mine.routing_key == frame.routing_key
            and mine.writer == frame.writer
            and mine.content_type == frame.content_type
            and mine.headers == frame.headers
            and not frame.key_frame
            and (frame.writer is None or (mine.number or 0) + len(self.payloads) == frame.number)
        )

    def add(self, frame: Frame, now_ns: int) -> None:
        self.payloads += frame.payloads
        self.times_ns += _times(frame, now_ns)
        self.size_bytes += sum(map(len, frame.payloads))


def _times(frame: Frame, now_ns: int) -> list[int]:
    if frame.times_ns is not None:
        return list(frame.times_ns)
    return [now_ns if frame.captured_ns is None else frame.captured_ns] * len(frame.payloads)
