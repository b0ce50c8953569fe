"""The time line of a file: the camera's clock where there is one, and how long gaps were."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from drivers.camera.packet import Packet
from drivers.camera.timing import Placing, with_decoding_times
from tests.drivers.camera.footage import NS, changed, film, moving

BASE = Fraction(1, 1000)


def frame(pts: int | None, arrived_ms: int, *, dts: int | None = None, why: str = "", key: bool = False) -> Packet:
    return Packet(
        payload=b"",
        codec="h264",
        key_frame=key,
        captured_ns=arrived_ms * NS // 1000,
        pts=pts,
        dts=pts if dts is None else dts,
        base=BASE,
        discontinuity=why,
    )


def placed(packets: list[Packet], *, close_gaps: bool = False) -> list[int]:
    placing = Placing(BASE, close_gaps=close_gaps)
    return [placing.place(packet)[0] for packet in packets]


def test_decoding_times_that_a_camera_left_out_are_those_of_the_encoder() -> None:
    """But for a delay: an encoder may leave more room than its pictures need."""
    packets = film(moving(35), gop=10, b_frames=2)
    bare = changed(packets, lambda _, packet: replace(packet, dts=None))
    filled = list(with_decoding_times(bare))
    apart = {(new.dts or 0) - (old.dts or 0) for new, old in zip(filled, packets, strict=True)}
    assert len(apart) == 1
    assert min((packet.pts or 0) - (packet.dts or 0) for packet in filled) == 0


def test_without_reordering_a_frame_is_decoded_when_it_is_shown() -> None:
    bare = changed(film(moving(12)), lambda _, packet: replace(packet, dts=None))
    assert all(packet.dts == packet.pts for packet in with_decoding_times(bare))


def test_a_group_of_pictures_without_an_end_is_not_waited_for() -> None:
    def endless() -> object:
        yield from (replace(frame(number, number), dts=None) for number in range(5000))
        raise AssertionError("all of it was read")

    assert next(with_decoding_times(endless())).dts == 0  # type: ignore[arg-type]


def test_times_count_from_the_first_frame() -> None:
    assert placed([frame(7000, 0), frame(7040, 50), frame(7080, 70)]) == [0, 40, 80]


def test_jitter_of_the_arrival_is_not_seen() -> None:
    assert placed([frame(0, 0), frame(100, 900), frame(200, 901)]) == [0, 100, 200]


def test_a_frame_without_a_time_is_shown_when_it_came() -> None:
    assert placed([frame(None, 5000), frame(None, 5040), frame(None, 5200)]) == [0, 40, 200]


def test_a_gap_within_the_cameras_clock_is_as_long_as_that_says() -> None:
    assert placed([frame(0, 0), frame(40, 40), frame(5040, 5100, why="lost")]) == [0, 40, 5040]


def test_where_the_cameras_clock_began_anew_the_gateways_counts() -> None:
    packets = [frame(90_000, 0), frame(90_040, 40), frame(0, 8040, why="reopened"), frame(40, 8050)]
    assert placed(packets) == [0, 40, 8040, 8080]


def test_a_clock_that_jumped_ahead_while_it_was_away_is_not_believed() -> None:
    assert placed([frame(0, 0), frame(40, 40), frame(9_000_000, 2040, why="reopened")]) == [0, 40, 2040]


def test_a_clock_that_went_back_without_a_mark_goes_on_by_the_gateways() -> None:
    assert placed([frame(50_000, 0), frame(50_040, 40), frame(100, 80), frame(140, 120)]) == [0, 40, 80, 120]


def test_a_gateways_clock_that_was_set_back_makes_no_frame_go_back() -> None:
    assert placed([frame(0, 9000), frame(40, 9040), frame(0, 100, why="reopened")]) == [0, 40, 80]


def test_two_frames_at_one_moment_are_a_tick_apart() -> None:
    assert placed([frame(0, 0), frame(40, 40), frame(40, 41), frame(80, 80)]) == [0, 40, 41, 80]


def test_gaps_can_be_closed() -> None:
    packets = [frame(0, 0), frame(40, 40), frame(60_040, 60_040, why="gated"), frame(60_080, 60_080)]
    assert placed(packets, close_gaps=True) == [0, 40, 80, 120]
