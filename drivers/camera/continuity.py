"""What a camera sends, put in order: where it begins anew, and when each frame was captured. Knows no library, no device.

For each frame
    1. A clock that ran over (32 or 33 bits) counts on: in `pts` and `dts` it only grows by that.
    2. Where something is missing or changed, frames are left out and counted as lost up to the next key frame, which
       bears the mark (`Continuity.take`).
    3. Its time is that of the camera's clock (`dts`, else `pts`), tied to the boot clock at the last mark. Without a clock
       it is when it arrived.

The two clocks drift apart, and what waits in a camera when it is opened comes at once. So the tie follows the frame that
came soonest in ten seconds, by a tenth of the time that passes at most: no frame is before the one ahead of it.
"""

from __future__ import annotations

from dataclasses import replace

from drivers.camera.packet import Packet

NS = 1_000_000_000
WRAPS = (1 << 32, 1 << 33)
"""Clocks of RTP and of MPEG-2 systems run over here."""
BACK_NS = NS // 2
"""A clock that goes back by less was not set: some cameras repeat a time now and then."""
AHEAD_NS = 2 * NS
"""Between two frames further apart, by the camera's clock, something is missing or the clock was set,"""
USUAL_STEPS = 10
"""unless that is below so many of the usual steps: there are cameras that send one frame a minute."""
WINDOW_NS = 10 * NS
SLEW = 10
"""The tie moves by one part in so many of the time that passes."""
APART_NS = 10 * NS
"""Clocks further apart are tied anew, with a mark."""
MAX_KEY_GAP_NS = 10 * NS
"""Key frames should come at least so often: video is found, cut and gone on with only there."""


class Timeline:
    """The camera's clock on the boot clock. `camera_ns` is None where the camera told no time."""

    def __init__(self) -> None:
        self._offset_ns: int | None = None
        self._last_ns: int | None = None
        self._arrived_ns = 0
        self._usual_ns = 0
        self._behind_ns = 0
        self._soonest_ns: int | None = None
        self._window_end_ns = 0

    def judge(self, arrived_ns: int, camera_ns: int | None) -> str:
        """`timestamps` where the clock was set, `lost` where frames are missing, nothing where all is well."""
        if camera_ns is None:
            return ""
        last_ns, self._last_ns = self._last_ns, camera_ns
        waited_ns, self._arrived_ns = arrived_ns - self._arrived_ns, arrived_ns
        if last_ns is None:
            return ""
        step_ns = camera_ns - last_ns
        if step_ns < -BACK_NS or abs(self._behind_ns) > APART_NS:
            return "timestamps"
        usual_ns = self._usual_ns
        if step_ns > 0:
            self._usual_ns = (7 * usual_ns + step_ns) // 8 if usual_ns else step_ns
            self._slew(step_ns)
        if not usual_ns or step_ns <= max(AHEAD_NS, USUAL_STEPS * usual_ns):
            return ""
        return "lost" if abs(step_ns - waited_ns) <= AHEAD_NS else "timestamps"

    def tie(self, arrived_ns: int, camera_ns: int | None) -> None:
        """The frame of `camera_ns` was captured when it arrived."""
        self._offset_ns = None if camera_ns is None else arrived_ns - camera_ns
        self._behind_ns = 0
        self._soonest_ns = None
        self._window_end_ns = arrived_ns + WINDOW_NS

    def captured_ns(self, arrived_ns: int, camera_ns: int | None) -> int:
        """When it was captured. Remembers how long it was on its way."""
        if camera_ns is None:
            return arrived_ns
        if self._offset_ns is None:
            self.tie(arrived_ns, camera_ns)
        assert self._offset_ns is not None
        captured_ns = camera_ns + self._offset_ns
        late_ns = arrived_ns - captured_ns
        self._soonest_ns = late_ns if self._soonest_ns is None else min(self._soonest_ns, late_ns)
        if arrived_ns >= self._window_end_ns:
            self._behind_ns, self._soonest_ns = self._soonest_ns, None
            self._window_end_ns = arrived_ns + WINDOW_NS
        elif late_ns < 0:
            # It can't have arrived before it was captured: the one that the clocks were tied by was late.
            self._behind_ns = min(self._behind_ns, late_ns)
        return captured_ns

    def _slew(self, step_ns: int) -> None:
        if self._offset_ns is not None:
            most_ns = step_ns // SLEW
            moved_ns = max(-most_ns, min(most_ns, self._behind_ns))
            self._offset_ns += moved_ns
            self._behind_ns -= moved_ns


class Continuity:
    """Fed with every frame of one opening of a camera. `first` is the mark of its first frame: `start` or `reopened`.

    `lost` counts frames left out up to a key frame, `bad` those among them that came damaged. `key_gap_ns` is the
    longest time between two key frames so far.
    """

    def __init__(self, first: str) -> None:
        self.lost = 0
        self.bad = 0
        self.key_gap_ns = 0
        self._mark = first
        self._timeline = Timeline()
        self._raw_ticks: int | None = None
        self._lift = 0
        self._key_ns: int | None = None
        self._form: tuple[str, tuple[int, int], bytes] | None = None

    def begin_anew(self, mark: str) -> None:
        """The next frame does not follow on the one before."""
        self._mark = mark

    def take(self, packet: Packet, *, damaged: bool = False) -> Packet | None:
        """`packet`, whose `captured_ns` is when it arrived, as it is to be stored; None where it is left out.

        Marks: `lost` behind a damaged frame or a hole in the camera's time, `timestamps` where its clock was set,
        `changed` where codec, picture size or parameter sets of a key frame are others than before.
        """
        arrived_ns = packet.captured_ns
        packet = self._counting_on(packet)
        camera_ns = _camera_ns(packet)
        found = self._timeline.judge(arrived_ns, camera_ns)
        if damaged:
            self.bad += 1
            found = "lost"
        self._mark = self._mark or found or self._changed(packet)
        if damaged or (self._mark and not packet.key_frame):
            self.lost += 1
            return None
        mark, self._mark = self._mark, ""
        if mark:
            self._timeline.tie(arrived_ns, camera_ns)
        captured_ns = self._timeline.captured_ns(arrived_ns, camera_ns)
        if packet.key_frame:
            self._note_key_frame(packet, captured_ns, mark)
        return replace(packet, captured_ns=captured_ns, discontinuity=mark)

    def _note_key_frame(self, packet: Packet, captured_ns: int, mark: str) -> None:
        if self._key_ns is not None and not mark:
            self.key_gap_ns = max(self.key_gap_ns, captured_ns - self._key_ns)
        self._key_ns = captured_ns
        self._form = (packet.codec, packet.size, packet.extradata)

    def _changed(self, packet: Packet) -> str:
        form = (packet.codec, packet.size, packet.extradata)
        return "changed" if packet.key_frame and self._form is not None and form != self._form else ""

    def _counting_on(self, packet: Packet) -> Packet:
        """`packet` with what its clock lost by running over."""
        ticks = packet.pts if packet.dts is None else packet.dts
        if ticks is None:
            return packet
        last, self._raw_ticks = self._raw_ticks, ticks
        if last is not None and ticks < last:
            near = packet.base.denominator * 10 // packet.base.numerator
            self._lift += next((wrap for wrap in WRAPS if 0 <= ticks + wrap - last <= near), 0)
        if not self._lift:
            return packet
        return replace(
            packet,
            pts=None if packet.pts is None else packet.pts + self._lift,
            dts=None if packet.dts is None else packet.dts + self._lift,
        )


def _camera_ns(packet: Packet) -> int | None:
    ticks = packet.pts if packet.dts is None else packet.dts
    return None if ticks is None else ticks * packet.base.numerator * NS // packet.base.denominator
