"""The verdict, on data that is right and on data that was doctored."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.demo.numbering import read_number, sentence, stamp
from edge.demo.verdict import judge

SENT = {"a": 10}
ALL = {"a": set(range(10))}


def held(*numbers: int) -> list[tuple[str, int] | None]:
    return [("a", number) for number in numbers]


def test_all_of_it_once_and_in_order_is_clean() -> None:
    verdict = judge(ALL, SENT, held(*range(10)))
    assert verdict.clean
    assert (verdict.acknowledged, verdict.upstream) == (10, 10)


def test_what_nobody_was_told_is_safe_may_be_missing_or_there() -> None:
    verdict = judge({"a": {2, 3}}, SENT, held(2, 3, 5))
    assert verdict.clean
    assert (verdict.acknowledged, verdict.upstream) == (2, 3)


@pytest.mark.parametrize(
    ("numbers", "prefix", "middle", "suffix"),
    [
        ((2, 3, 4, 5, 6, 7, 8, 9), 2, 0, 0),
        ((0, 1, 2, 3, 6, 7, 8, 9), 0, 2, 0),
        ((0, 1, 2, 3, 4, 5, 6), 0, 0, 3),
        ((1, 2, 4, 5, 6, 7, 8), 1, 1, 1),
        ((), 0, 0, 10),
    ],
)
def test_losses_are_told_apart(numbers: Sequence[int], prefix: int, middle: int, suffix: int) -> None:
    verdict = judge(ALL, SENT, held(*numbers))
    assert not verdict.clean
    assert (verdict.lost_prefix, verdict.lost_middle, verdict.lost_suffix) == (prefix, middle, suffix)
    assert (verdict.duplicate, verdict.out_of_order) == (0, 0)


def test_a_duplicate_is_one_and_is_not_out_of_order() -> None:
    verdict = judge(ALL, SENT, held(*range(10), 4, 4))
    assert (verdict.duplicate, verdict.out_of_order, verdict.lost) == (2, 0, 0)
    assert not verdict.clean


def test_an_exchange_is_out_of_order() -> None:
    verdict = judge(ALL, SENT, held(0, 1, 3, 2, 4, 5, 6, 7, 8, 9))
    assert (verdict.duplicate, verdict.out_of_order, verdict.lost) == (0, 1, 0)
    assert not verdict.clean


def test_order_is_per_key() -> None:
    verdict = judge({"a": {0, 1}, "b": {0, 1}}, {"a": 2, "b": 2}, [("b", 0), ("a", 0), ("a", 1), ("b", 1)])
    assert verdict.clean


@pytest.mark.parametrize("event", [None, ("a", 10), ("x", 0)])
def test_what_was_never_sent_is_strange(event: tuple[str, int] | None) -> None:
    verdict = judge(ALL, SENT, [*held(*range(10)), event])
    assert verdict.strange == 1
    assert not verdict.clean


def test_a_source_of_which_nothing_arrived_is_not_clean() -> None:
    assert judge(ALL, SENT, []).lost == 10


@given(st.permutations(range(8)), st.lists(st.integers(0, 7), max_size=3), st.sets(st.integers(0, 7), max_size=3))
def test_clean_means_that_nothing_was_done_to_it(order: list[int], again: list[int], gone: set[int]) -> None:
    numbers = [number for number in order if number not in gone] + again
    verdict = judge({"a": set(range(8))}, {"a": 8}, held(*numbers))
    assert verdict.clean == (numbers == list(range(8)))
    assert verdict.lost == len(set(range(8)) - set(numbers))
    assert verdict.duplicate == len(numbers) - len(set(numbers))


@pytest.mark.parametrize("payload", [stamp("north", 12), sentence("flow", 12, -3.25)])
def test_a_number_is_read_back_and_no_byte_of_it_may_change(payload: bytes) -> None:
    number = read_number(payload)
    assert number is not None
    assert number[1] == 12
    for place in range(len(payload)):
        changed = payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :]
        assert read_number(changed) is None, changed
        assert read_number(payload[:place]) is None
