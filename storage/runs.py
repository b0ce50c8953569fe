"""Runs: events of one commit that follow each other and become one frame."""

from __future__ import annotations

from collections.abc import Sequence

from storage.frame import FRAME_EVENTS, FRAME_TARGET_BYTES
from storage.model import Frame


class Run:
    """Events that follow each other and share all but payload and time: they become one frame.

    Most runs are one frame as it came, so nothing of it is copied before another joins.
    """

    __slots__ = ("_now_ns", "_payloads", "_size_bytes", "_times_ns", "frame")

    def __init__(self, frame: Frame, now_ns: int) -> None:
        """`now_ns` is when it was captured, where the frame does not say so."""
        self.frame = frame
        self._now_ns = now_ns if frame.captured_ns is None else frame.captured_ns
        self._payloads: list[bytes] | None = None
        self._times_ns: list[int] | None = None
        self._size_bytes = 0

    @property
    def payloads(self) -> Sequence[bytes]:
        return self.frame.payloads if self._payloads is None else self._payloads

    @property
    def times_ns(self) -> Sequence[int] | None:
        """When each was captured; None: all of them then, when the first was."""
        return self.frame.times_ns if self._times_ns is None else self._times_ns

    @property
    def captured_ns(self) -> int:
        """When all of them were captured, where there are no `times_ns`."""
        return self._now_ns

    def takes(self, frame: Frame) -> bool:
        """Whether `frame` goes on where this ends."""
        mine = self.frame
        if mine.routing_key != frame.routing_key or mine.headers != frame.headers:
            return False
        payloads = self.payloads
        return (
            mine.writer == frame.writer
            and mine.content_type == frame.content_type
            and not frame.key_frame
            and (frame.writer is None or (mine.number or 0) + len(payloads) == frame.number)
            and len(payloads) < FRAME_EVENTS
            and (self._size_bytes or sum(map(len, payloads))) < FRAME_TARGET_BYTES
        )

    def add(self, frame: Frame, now_ns: int) -> None:
        if self._payloads is None:
            self._payloads = list(self.frame.payloads)
            self._size_bytes = sum(map(len, self._payloads))
        theirs_ns = now_ns if frame.captured_ns is None else frame.captured_ns
        if self.times_ns is not None or frame.times_ns is not None or theirs_ns != self._now_ns:
            if self._times_ns is None:
                self._times_ns = list(self.frame.times_ns or [self._now_ns] * len(self._payloads))
            self._times_ns += frame.times_ns or [theirs_ns] * len(frame.payloads)
        self._payloads += frame.payloads
        self._size_bytes += sum(map(len, frame.payloads))
