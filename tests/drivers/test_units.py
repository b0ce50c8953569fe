"""Durations and sizes as drivers' configurations take them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from storage.units import Duration, Size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("500ms", 0.5), ("15m", 900), ("30d", 2_592_000), ("1.5h", 5400), (7, 7), ("0s", 0)],
)
def test_durations_are_read(text: object, seconds: float) -> None:
    assert Duration.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("8GiB", 8 << 30), ("4kB", 4000), ("1MiB", 1 << 20), ("512B", 512), (7, 7), ("1.5KiB", 1536)],
)
def test_sizes_are_read(text: object, size_bytes: int) -> None:
    assert Size.parse(text) == size_bytes


@pytest.mark.parametrize(
    "wrong", ["", "5", "5 parsecs", "-1s", -1, True, None, "nan", float("nan"), float("inf"), "1S"]
)
def test_what_is_no_duration_is_refused_with_an_example(wrong: object) -> None:
    with pytest.raises(ValueError, match='"15m"'):
        Duration.parse(wrong)


@pytest.mark.parametrize("wrong", ["", "8 GB 3", "-1B", -1, True, None, 1.5, "8gib"])
def test_what_is_no_size_is_refused_with_an_example(wrong: object) -> None:
    with pytest.raises(ValueError, match='"8GiB"'):
        Size.parse(wrong)


@given(st.integers(0, 1 << 50), st.integers(0, 10**12))
def test_what_is_written_reads_the_same(size_bytes: int, duration_us: int) -> None:
    assert Size.parse(str(Size(size_bytes))) == size_bytes
    assert Duration.parse(str(Duration(duration_us / 1e6))) == pytest.approx(duration_us / 1e6)


def test_a_configuration_takes_and_describes_them() -> None:
    duration, size = TypeAdapter(Duration), TypeAdapter(Size)
    assert float(duration.validate_python("15m")) == 900.0
    assert size.dump_json(Size(1 << 20)) == b'"1MiB"'
    assert duration.json_schema()["examples"] == ["15m"]
    with pytest.raises(ValidationError, match="no size"):
        size.validate_python("lots")
