"""When a frame is shown in a file: the camera's own clock, from 0 on, with what it left out filled in.

In a file every frame has a presentation time (`pts`) and a decoding time (`dts`), decoding times only grow, and none is
behind its presentation. Cameras keep to some of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

from drivers.camera.packet import Packet

MAX_PIECE_FRAMES = 1000
MAX_PIECE_BYTES = 64 << 20
AGREE_S = 1.0
"""Camera and gateway agree on how long a gap was where they differ by no more: arrival has jitter."""
USUAL_STEP_S = 0.04
"""Between two frames, until a camera has shown how long it is."""
_BY_ARRIVAL = Fraction(1, 90_000)
_NS = 1_000_000_000


def with_decoding_times(packets: Iterable[Packet]) -> Iterator[Packet]:
    """The same packets, each with a `dts` where the camera gave it at least a `pts`.

    A group of pictures is decoded in another order than it is shown, but within it the times are the same ones: so the
    decoding times are the presentation times in order, early enough for the picture that is shown soonest.
    """
    early = 0
    for piece in _pieces(packets):
        if len(piece) == 1 and (piece[0].dts is not None or piece[0].pts is None):
            yield piece[0]
            continue
        shown = [packet.pts for packet in piece if packet.pts is not None]
        in_order = sorted(shown)
        early = max(early, *(when - pts for when, pts in zip(in_order, shown, strict=True)))
        for packet, when in zip(piece, in_order, strict=True):
            yield replace(packet, dts=when - early)


def _pieces(packets: Iterable[Packet]) -> Iterator[list[Packet]]:
    """Groups of pictures whose decoding times are missing; what needs nothing comes alone and at once."""
    piece: list[Packet] = []
    size_bytes = 0
    for packet in packets:
        complete = packet.dts is not None or packet.pts is None
        full = len(piece) >= MAX_PIECE_FRAMES or size_bytes >= MAX_PIECE_BYTES
        if piece and (complete or full or packet.key_frame or packet.discontinuity):
            yield piece
            piece, size_bytes = [], 0
        if complete:
            yield [packet]
        else:
            piece.append(packet)
            size_bytes += len(packet.payload)
    if piece:
        yield piece


def file_base(first: Packet) -> Fraction:
    """The unit of time in a file that begins with `first`: the camera's where it has a clock."""
    return first.base if has_clock(first) else _BY_ARRIVAL


def has_clock(packet: Packet) -> bool:
    return packet.pts is not None or packet.dts is not None


class Placing:
    """Places the frames of one file on its time line, in units of `base`.

    What the camera's clock says stands, exactly. Behind a discontinuity, or where that clock jumped, the gap is as long
    as it was: by the camera's clock where the gateway's agrees, else by the gateway's. With `close_gaps` it is left out.
    """

    def __init__(self, base: Fraction, *, close_gaps: bool = False) -> None:
        self._base = base
        self._close_gaps = close_gaps
        self._shift = 0
        self._before: tuple[int, int, int] | None = None
        self._clocked = False
        self.step = max(1, round(USUAL_STEP_S / base))
        """Between the newest two frames, in units of `base`."""

    def gap_s(self, packet: Packet) -> float:
        """How long after the frame before it `packet` would be placed."""
        if self._before is None:
            return 0.0
        _, dts = self._ticks(packet)
        return float((dts + self._shift_for(packet, dts) - self._before[1]) * self._base)

    def place(self, packet: Packet) -> tuple[int, int]:
        """Presentation and decoding time of `packet` in the file. Its `base` is that of the file."""
        pts, dts = self._ticks(packet)
        self._clocked = self._clocked or has_clock(packet)
        self._shift = self._shift_for(packet, dts) if self._before is not None else -pts
        when = dts + self._shift
        if self._before is not None:
            # Two frames at one moment: a file has no room for that, but for one tick behind it.
            when = max(when, self._before[1] + 1)
            self.step = when - self._before[1] if not packet.discontinuity else self.step
        self._before = dts, when, packet.captured_ns
        return max(pts + self._shift, when), when

    def _ticks(self, packet: Packet) -> tuple[int, int]:
        """The camera's `pts` and `dts`, by whichever clock there is where it gave none."""
        if packet.dts is not None:
            return (packet.dts if packet.pts is None else packet.pts), packet.dts
        if self._clocked and self._before is not None:
            # One frame without a time among others.
            return (self._before[0] + self.step,) * 2
        by_arrival = round(Fraction(packet.captured_ns, _NS) / self._base)
        return by_arrival, by_arrival

    def _shift_for(self, packet: Packet, dts: int) -> int:
        """What is added to the camera's times from `packet` on."""
        assert self._before is not None
        camera_before, before, captured_before_ns = self._before
        by_camera_s = float((dts - camera_before) * self._base)
        by_gateway_s = (packet.captured_ns - captured_before_ns) / _NS
        if not packet.discontinuity and by_camera_s > -AGREE_S:
            return self._shift
        if self._close_gaps:
            ahead = self.step
        elif by_camera_s > 0 and abs(by_camera_s - by_gateway_s) <= AGREE_S:
            return self._shift
        else:
            ahead = max(round(by_gateway_s / self._base), self.step)
        return before + ahead - dts
