"""Runs: events of one commit that follow each other and become one frame."""

from __future__ import annotations

from collections.abc import Sequence

from storage.frame import FRAME_EVENTS, FRAME_TARGET_BYTES
from storage.model import Frame


def alike(one: Frame, other: Frame) -> bool:
    """Whether the events of `other` share all with those of `one` but payload and time, and numbers if they have such."""
    return (
        one.routing_key == other.routing_key
        and one.headers == other.headers
        and one.content_type == other.content_type
        and one.writer == other.writer
        and not other.key_frame
    )


class Run:
    """Frames that are alike and follow each other: they become one.

    Most runs are one frame as it came, so nothing of it is copied before another joins.
    """

    __slots__ = ("_grown", "_size_bytes", "captured_ns", "frame", "payloads", "times_ns")

    def __init__(self, frame: Frame, now_ns: int) -> None:
        """`now_ns` is when it was captured, where the frame does not say so."""
        self.frame = frame
        self.payloads: Sequence[bytes] = frame.payloads
        self.captured_ns = now_ns if frame.captured_ns is None else frame.captured_ns
        """When all of them were captured, where there are no `times_ns`."""
        self.times_ns: Sequence[int] | None = frame.times_ns
        """When each was captured; None: all of them then, when the first was."""
        self._grown: tuple[list[bytes], list[int]] | None = None
        self._size_bytes = 0

    def takes(self, frame: Frame) -> bool:
        """Whether `frame`, which is alike, goes on where this ends, and there is room for it."""
        payloads = self.payloads
        return (
            (frame.writer is None or (self.frame.number or 0) + len(payloads) == frame.number)
            and len(payloads) < FRAME_EVENTS
            and (self._size_bytes or sum(map(len, payloads))) < FRAME_TARGET_BYTES
        )

    def add(self, frame: Frame, now_ns: int) -> None:
        if self._grown is None:
            self._grown = list(self.payloads), list(self.times_ns or ())
            self.payloads = self._grown[0]
            self._size_bytes = sum(map(len, self.payloads))
        payloads, times_ns = self._grown
        theirs_ns = now_ns if frame.captured_ns is None else frame.captured_ns
        if self.times_ns is not None or frame.times_ns is not None or theirs_ns != self.captured_ns:
            times_ns += [self.captured_ns] * (len(payloads) - len(times_ns))
            times_ns += frame.times_ns or [theirs_ns] * len(frame.payloads)
            self.times_ns = times_ns
        payloads += frame.payloads
        self._size_bytes += sum(map(len, frame.payloads))
