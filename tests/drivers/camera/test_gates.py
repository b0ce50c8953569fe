"""What gates let through, on video that was encoded for the purpose: still, moving, in changing light, with noise."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest

from drivers.camera.gate import Gate, GateSettings, check_gate, make_gate
from drivers.camera.motion import MotionDetector, MotionGate
from drivers.camera.packet import Packet
from drivers.camera.time_lapse import TimeLapseGate
from drivers.contract import DriverConfigError
from tests.drivers.camera.footage import FPS, NS, START_NS, Picture, film, moving, scene, with_ball

GOP = 10
"""One second."""
MOTION = GateSettings("motion", pre_roll=2.0, post_roll=2.0)


def fed(gate: Gate, packets: Iterable[Packet]) -> list[Packet]:
    return [passed for packet in packets for passed in gate.feed(packet)]


def seconds(packets: Iterable[Packet]) -> list[float]:
    return [(packet.captured_ns - START_NS) / NS for packet in packets]


def seen_in(jpeg: bytes, shown: Sequence[Picture]) -> int:
    """Which of the pictures that is."""
    seen = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert seen is not None
    apart = [float(cv2.norm(seen, each, cv2.NORM_L1)) for each in shown]
    return apart.index(min(apart))


def still(count: int) -> list[Picture]:
    return [scene()] * count


def noisy(pictures: Iterable[Picture], sigma: float) -> list[Picture]:
    chance = np.random.default_rng(7)
    return [
        np.clip(each + chance.normal(0, sigma, each.shape), 0, 255).astype(np.uint8)  # as a sensor at night
        for each in pictures
    ]


def walk(before: int, moves: int, after: int) -> list[Picture]:
    """A scene through which a ball goes."""
    return [*still(before), *(with_ball(scene(), number) for number in range(moves)), *still(after)]


def test_without_a_gate_everything_passes() -> None:
    packets = film(moving(12))
    assert fed(make_gate(GateSettings()), packets) == packets


def test_an_interval_keeps_one_key_frame_in_it() -> None:
    gate = make_gate(GateSettings("interval", every=3.0))
    packets = film(moving(100), gop=GOP)
    kept = fed(gate, packets)
    assert seconds(kept) == [0, 3, 6, 9]
    assert [packet.payload for packet in kept] == [packet.payload for packet in packets[::30]]
    assert {packet.discontinuity for packet in kept} == {"gated"}
    assert gate.gated == 96


def test_an_interval_that_key_frames_do_not_meet_does_not_drift() -> None:
    kept = fed(make_gate(GateSettings("interval", every=1.5)), film(moving(90), gop=GOP))
    assert seconds(kept) == [0, 2, 3, 5, 6, 8]


def test_an_interval_goes_on_when_the_clock_went_back() -> None:
    packets = film(moving(40), gop=GOP)
    earlier = [replace(packet, captured_ns=packet.captured_ns - 1000 * NS) for packet in packets]
    assert len(fed(make_gate(GateSettings("interval", every=2.0)), [*packets, *earlier])) == 4


def test_a_gate_leaves_a_mark_that_says_more_as_it_is() -> None:
    first, *rest = film(moving(12))
    kept = fed(make_gate(GateSettings("interval", every=1.0)), [replace(first, discontinuity="reopened"), *rest])
    assert [packet.discontinuity for packet in kept] == ["reopened", "gated"]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mjpeg"])
def test_a_time_lapse_is_a_picture_of_each_moment(codec: str) -> None:
    shown = moving(60)
    gate = make_gate(GateSettings("time-lapse", every=1.5))
    kept = fed(gate, film(shown, codec, gop=30))
    assert [packet.codec for packet in kept] == ["mjpeg"] * 4
    assert seconds(kept) == [0, 1.5, 3, 4.5]
    assert [seen_in(packet.payload, shown) for packet in kept] == [0, 15, 30, 45]
    assert all(packet.key_frame and packet.size == (160, 120) and packet.extradata == b"" for packet in kept)
    assert [packet.discontinuity for packet in kept] == ["gated"] * 4


def test_a_time_lapse_takes_key_frames_where_they_are_close_and_decodes_no_others() -> None:
    shown = moving(120)
    gate = make_gate(GateSettings("time-lapse", every=4.5))
    assert isinstance(gate, TimeLapseGate)
    kept = fed(gate, film(shown, gop=GOP))
    assert [seen_in(packet.payload, shown) for packet in kept] == [0, 50, 90]
    assert gate.decoded == 3
    assert gate.gated == 117


def test_a_time_lapse_decodes_no_group_of_pictures_without_a_moment_in_it() -> None:
    gate = make_gate(GateSettings("time-lapse", every=5.0))
    assert isinstance(gate, TimeLapseGate)
    # Key frames every 2 s: too far apart to wait for one.
    assert len(fed(gate, film(moving(110), gop=20))) == 3
    # The first is a key frame, so is the one at 10 s; at 5 s it takes the 11 from 4 s on.
    assert gate.decoded == 1 + 11 + 1


def test_a_time_lapse_of_long_groups_waits_with_a_bounded_lot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.camera.time_lapse.MAX_WAITING_BYTES", 5000)
    shown = moving(60)
    gate = TimeLapseGate(5.0)
    most = 0
    kept: list[Packet] = []
    for packet in film(shown, gop=100):
        kept += gate.feed(packet)
        most = max(most, gate._waiting_bytes)
    assert [seen_in(packet.payload, shown) for packet in kept] == [0, 50]
    assert most <= 5000


def test_what_a_time_lapse_can_not_decode_is_counted_and_the_next_taken() -> None:
    packets = film(moving(60), gop=GOP)
    packets[0] = replace(packets[0], payload=b"\0\0\0\1garbage")
    gate = TimeLapseGate(2.0)
    kept = fed(gate, packets)
    assert gate.failed >= 1
    assert 0 < seconds(kept)[0] <= 1.0


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
def test_nothing_passes_while_nothing_moves(codec: str) -> None:
    gate = make_gate(MOTION)
    assert fed(gate, film(still(80), codec, gop=GOP)) == []
    assert gate.gated >= 50


def test_motion_passes_in_whole_groups_with_what_was_around_it() -> None:
    packets = film(walk(60, 20, 80), gop=GOP)
    gate = make_gate(MOTION)
    kept = fed(gate, packets)
    # The ball comes at 6 s, where a key frame sees it, and is gone at 8 s, which the next one sees.
    assert seconds(kept)[0] == 4.0
    assert seconds(kept)[-1] == 10.9
    assert [packet.payload for packet in kept] == [packet.payload for packet in packets[40:110]]
    assert kept[0].key_frame
    assert [packet.discontinuity for packet in kept] == ["gated"] + [""] * 69
    assert gate.gated == 60


@pytest.mark.long
def test_motion_in_two_places_of_time_is_two_pieces() -> None:
    kept = fed(make_gate(MOTION), film([*walk(50, 10, 80), *walk(0, 10, 60)], gop=GOP))
    marks = [packet for packet in kept if packet.discontinuity]
    assert len(marks) == 2
    assert all(packet.key_frame for packet in marks)


def test_a_codec_of_key_frames_is_looked_at_twice_a_second() -> None:
    gate = make_gate(MOTION)
    assert isinstance(gate, MotionGate)
    kept = fed(gate, film(walk(50, 20, 60), "mjpeg"))
    assert gate.looks == 130 * 2 // FPS
    assert (seconds(kept)[0], seconds(kept)[-1]) == (3.0, 9.0)


def darker(pictures: list[Picture]) -> list[Picture]:
    """A cloud, and then the lamp goes off."""
    half = len(pictures) // 2
    faded = [(each * (1 - 0.5 * number / half)).astype(np.uint8) for number, each in enumerate(pictures[:half])]
    return [*faded, *((each * 0.3 + 10).astype(np.uint8) for each in pictures[half:])]


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
def test_a_change_of_light_is_no_motion(codec: str) -> None:
    assert fed(make_gate(MOTION), film(darker(still(100)), codec, gop=GOP)) == []


@pytest.mark.parametrize("sigma", [8.0, 25.0])
def test_noise_is_no_motion(sigma: float) -> None:
    """Also where the threshold alone would take it for some."""
    settings = replace(MOTION, motion_threshold=6.0)
    assert fed(make_gate(settings), film(noisy(still(60), sigma), "mjpeg")) == []


def test_motion_is_seen_in_noise_and_in_fading_light() -> None:
    for pictures in (noisy(walk(30, 20, 10), 12.0), darker(walk(30, 10, 10))):
        assert seconds(fed(make_gate(MOTION), film(pictures, "mjpeg")))[:1] == [1.0]


def test_motion_is_seen_in_the_moment_in_which_the_light_changes() -> None:
    dark = [(each * 0.4 + 10).astype(np.uint8) for each in (scene(), with_ball(scene(), 3))]
    for after, moves in zip(dark, (False, True), strict=True):
        detector = MotionDetector(20.0, 0.002)
        assert not detector.moved(scene())
        assert detector.moved(after) is moves


def test_what_is_smaller_than_asked_for_is_no_motion() -> None:
    small = [with_ball(scene(), number, radius=3) for number in range(40)]
    assert fed(make_gate(replace(MOTION, motion_area=0.02)), film(small, gop=GOP)) == []
    assert fed(make_gate(replace(MOTION, motion_area=0.0005)), film(small, gop=GOP)) != []


def test_what_can_not_be_decoded_passes() -> None:
    packets = film(still(60), gop=GOP)
    packets[30] = replace(packets[30], payload=b"\0\0\0\1garbage")
    gate = make_gate(MOTION)
    assert packets[30] in fed(gate, packets)
    assert isinstance(gate, MotionGate)
    assert gate.failed == 1


def test_the_pre_roll_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.camera.motion.MAX_PRE_ROLL_BYTES", 20_000)
    gate = MotionGate(MotionDetector(20.0, 0.002), 1000.0, 1.0)
    most = 0
    kept: list[Packet] = []
    for packet in film(walk(80, 10, 10), gop=GOP):
        kept += gate.feed(packet)
        most = max(most, gate._groups_bytes)
    assert most <= 20_000
    assert kept[0].key_frame
    assert 0 < seconds(kept)[0] < 8


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (GateSettings("interval", every=0), 'every = 0: gate = "interval" needs a time above 0'),
        (GateSettings("motion", motion_area=3), "motion_area = 3: a share of the picture"),
        (GateSettings("motion", motion_threshold=0), "motion_threshold = 0: levels of brightness"),
    ],
)
def test_what_can_not_work_is_refused(settings: GateSettings, text: str) -> None:
    with pytest.raises(DriverConfigError, match=text):
        check_gate(settings)


@pytest.mark.long
def test_a_gate_that_does_not_look_loads_no_library() -> None:
    program = (
        "import sys; from drivers.camera.gate import *; make_gate(GateSettings('interval')); "
        "print([name for name in ('av', 'cv2', 'numpy') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
