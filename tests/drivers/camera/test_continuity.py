"""Where a camera's video begins anew, and when each frame was captured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest

from drivers.camera.continuity import NS, Continuity
from drivers.camera.packet import Packet

STEP = 3_600
"""25 frames a second on a clock of 90 kHz."""
STEP_NS = NS // 25


def frame(number: int, ticks: int | None = None, arrived_ns: int | None = None, *, every: int = 25) -> Packet:
    """Frame `number`: on time unless told otherwise, a key frame once a second."""
    return Packet(
        payload=b"%d" % number,
        codec="h264",
        key_frame=number % every == 0,
        captured_ns=number * STEP_NS + 5 * NS if arrived_ns is None else arrived_ns,
        pts=number * STEP if ticks is None else ticks,
        dts=number * STEP if ticks is None else ticks,
        base=Fraction(1, 90_000),
        size=(640, 480),
        extradata=b"sets",
    )


def taken(continuity: Continuity, frames: Iterable[Packet]) -> list[Packet]:
    return [kept for each in frames if (kept := continuity.take(each)) is not None]


def marks(packets: Iterable[Packet]) -> list[tuple[bytes, str]]:
    return [(packet.payload, packet.discontinuity) for packet in packets if packet.discontinuity]


def test_the_first_frame_is_a_key_frame_and_says_why() -> None:
    continuity = Continuity("reopened")
    kept = taken(continuity, map(frame, range(7, 60)))
    assert kept[0].payload == b"25"
    assert marks(kept) == [(b"25", "reopened")]
    assert continuity.lost == 18
    assert len(kept) == 35


def test_frames_bear_the_cameras_time_and_not_the_networks() -> None:
    random = Random(1)
    late = [frame(n, arrived_ns=5 * NS + n * STEP_NS + random.randrange(STEP_NS)) for n in range(1, 500)]
    kept = taken(Continuity("start"), [frame(0), *late])
    steps_ns = [later.captured_ns - earlier.captured_ns for earlier, later in pairwise(kept)]
    assert max(abs(step_ns - STEP_NS) for step_ns in steps_ns) < NS // 1000
    assert kept[0].captured_ns == 5 * NS


def test_what_waited_in_the_camera_when_it_was_opened_does_not_shift_the_rest() -> None:
    at_once = [frame(n, arrived_ns=5 * NS + 75 * STEP_NS) for n in range(75)]
    kept = taken(Continuity("start"), [*at_once, *map(frame, range(75, 1500))])
    assert len(marks(kept)) == 1
    assert kept[-1].captured_ns == pytest.approx(5 * NS + 1499 * STEP_NS, abs=NS // 100)
    assert all(earlier.captured_ns < later.captured_ns for earlier, later in pairwise(kept))


@pytest.mark.parametrize("off", [0.9995, 1.0005])
def test_a_camera_whose_clock_is_wrong_is_followed(off: float) -> None:
    frames = [frame(n, arrived_ns=5 * NS + int(n * STEP_NS * off)) for n in range(25 * 600)]
    kept = taken(Continuity("start"), frames)
    assert len(kept) == len(frames)
    assert len(marks(kept)) == 1
    assert max(abs(one.captured_ns - its.captured_ns) for one, its in zip(kept, frames, strict=True)) < NS // 50


@pytest.mark.parametrize("bits", [32, 33])
def test_a_clock_that_runs_over_counts_on(bits: int) -> None:
    before = (1 << bits) - 30 * STEP
    kept = taken(Continuity("start"), [frame(n, (before + n * STEP) % (1 << bits)) for n in range(100)])
    assert [packet.pts for packet in kept] == [before + n * STEP for n in range(100)]
    assert [packet.dts for packet in kept] == [before + n * STEP for n in range(100)]
    assert marks(kept) == [(b"0", "start")]
    assert kept[99].captured_ns == 5 * NS + 99 * STEP_NS


@pytest.mark.parametrize("jump_s", [-3600, -1, 5, 86_400])
def test_a_clock_that_was_set_is_marked_and_gone_on_with_at_a_key_frame(jump_s: int) -> None:
    continuity = Continuity("start")
    jumped = [frame(n, 4000 * 90_000 + n * STEP + (jump_s * 90_000 if n >= 60 else 0)) for n in range(200)]
    kept = taken(continuity, jumped)
    assert marks(kept) == [(b"0", "start"), (b"75", "timestamps")]
    assert continuity.lost == 15
    assert [packet.captured_ns for packet in kept] == [int(p.payload) * STEP_NS + 5 * NS for p in kept]


def test_a_hole_in_the_cameras_time_is_marked() -> None:
    continuity = Continuity("start")
    kept = taken(continuity, map(frame, [*range(60), *range(160, 300)]))
    assert marks(kept) == [(b"0", "start"), (b"175", "lost")]
    assert continuity.lost == 15


def test_a_camera_that_sends_a_frame_every_minute_has_no_holes() -> None:
    sparse = [replace(frame(n * 1500), key_frame=True) for n in range(20)]
    assert marks(taken(Continuity("start"), sparse)) == [(b"0", "start")]


def test_a_link_that_stood_still_loses_nothing_and_marks_nothing() -> None:
    late = [frame(n, arrived_ns=5 * NS + max(n, 400 if n > 100 else 0) * STEP_NS) for n in range(1000)]
    kept = taken(Continuity("start"), late)
    assert len(kept) == 1000
    assert len(marks(kept)) == 1


def test_behind_a_damaged_frame_it_goes_on_at_a_key_frame() -> None:
    continuity = Continuity("start")
    kept = [each for n in range(60) if (each := continuity.take(frame(n), damaged=n == 30)) is not None]
    assert marks(kept) == [(b"0", "start"), (b"50", "lost")]
    assert (continuity.bad, continuity.lost) == (1, 20)


@pytest.mark.parametrize("change", [{"size": (320, 240)}, {"codec": "hevc"}, {"extradata": b"others"}])
def test_another_form_of_video_is_marked(change: dict[str, object]) -> None:
    frames = [replace(frame(n), **change) if n >= 50 else frame(n) for n in range(100)]  # type: ignore[arg-type]
    kept = taken(Continuity("start"), frames)
    assert marks(kept) == [(b"0", "start"), (b"50", "changed")]
    assert len(kept) == 100


def test_without_a_clock_frames_bear_the_time_at_which_they_came() -> None:
    arrived = [5 * NS + n * STEP_NS + n % 7 * 1000 for n in range(50)]
    frames = [replace(frame(n, arrived_ns=at), pts=None, dts=None) for n, at in enumerate(arrived)]
    kept = taken(Continuity("start"), frames)
    assert [packet.captured_ns for packet in kept] == arrived
    assert {packet.pts for packet in kept} == {None}
    assert len(marks(kept)) == 1


def test_a_frame_without_a_time_among_others_changes_nothing() -> None:
    frames = [frame(n) if n % 10 else replace(frame(n), pts=None, dts=None) for n in range(100)]
    kept = taken(Continuity("start"), frames)
    assert [packet.captured_ns for packet in kept] == [each.captured_ns for each in frames]
    assert len(marks(kept)) == 1


def test_the_time_between_key_frames_is_known() -> None:
    continuity = Continuity("start")
    taken(continuity, [frame(n, every=300) for n in range(1000)])
    assert continuity.key_gap_ns == 12 * NS
