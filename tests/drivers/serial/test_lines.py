"""Framers: however the line is cut into chunks, the same readings come out, and garbage costs only itself."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from drivers.serial.framing import Framer, LineFramer, NmeaFramer, nmea_checksum

GGA = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47"


def sentence(body: bytes) -> bytes:
    return b"$%s*%02X" % (body, nmea_checksum(body))


def readings_of(framer: Framer, *chunks: bytes) -> list[bytes]:
    return [reading.payload for chunk in chunks for reading in framer.feed(chunk)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[low:high] for low, high in pairwise(edges)]


noisy_lines = st.lists(
    st.one_of(
        st.sampled_from([GGA, b"12.7", b"", b"a\r", b"$GPGGA,1*00", b"\xff\x00$" + GGA, b"x" * 40]),
        st.binary(max_size=30),
    ),
    max_size=12,
).flatmap(lambda lines: st.sampled_from([b"\n".join(lines), b"\r\n".join(lines), b"\r\n".join(lines) + b"\r\n"]))

framers: st.SearchStrategy[Callable[[], Framer]] = st.sampled_from(
    [
        lambda: LineFramer(max_line_bytes=20),
        lambda: LineFramer(b"\r\n", 20),
        lambda: LineFramer(b"\n", 20, r"[0-9.]+"),
        lambda: NmeaFramer(max_line_bytes=80),
    ]
)


@given(framers, noisy_lines, st.lists(st.integers(min_value=0), max_size=20))
def test_any_chunking_gives_the_same_readings_and_counts(
    make: Callable[[], Framer], data: bytes, places: list[int]
) -> None:
    whole, chunked = make(), make()
    assert readings_of(chunked, *cut(data, places)) == readings_of(whole, data)
    assert chunked.bad == whole.bad


@given(st.lists(st.binary(min_size=1, max_size=20).filter(lambda line: not set(line) & set(b"\r\n")), max_size=10))
def test_every_line_within_the_limit_comes_out_as_it_went_in(lines: list[bytes]) -> None:
    framer = LineFramer(max_line_bytes=20)
    assert readings_of(framer, b"".join(line + b"\r\n" for line in lines)) == lines
    assert framer.bad == 0


def test_an_overlong_line_is_counted_once_and_the_next_one_is_read() -> None:
    framer = LineFramer(max_line_bytes=10)
    assert readings_of(framer, b"x" * 8, b"y" * 8, b"z" * 1000, b"tail\nnext\n") == [b"next"]
    assert framer.bad == 1


def test_a_line_of_exactly_the_limit_is_a_reading() -> None:
    framer = LineFramer(max_line_bytes=10)
    assert readings_of(framer, b"x" * 10, b"\n" + b"y" * 11 + b"\n") == [b"x" * 10]
    assert framer.bad == 1


def test_a_babbling_line_is_not_kept_in_memory() -> None:
    framer = LineFramer(max_line_bytes=100)
    for _ in range(1000):
        framer.feed(b"\x00" * 1000)
    assert framer.bad == 1
    assert readings_of(framer, b"\nback\n") == [b"back"]


def test_a_terminator_may_come_in_two_pieces() -> None:
    framer = LineFramer(b"\r\n")
    assert readings_of(framer, b"12.7\r", b"\n") == [b"12.7"]


def test_lines_that_do_not_match_the_pattern_are_bad() -> None:
    framer = LineFramer(pattern=r"-?\d+\.\d")
    assert readings_of(framer, b"12.7\n\xf0\x9f\x00\n-3.1\n12.7x\n") == [b"12.7", b"-3.1"]
    assert framer.bad == 2


def test_nmea_keeps_the_sentence_whole_and_names_its_type() -> None:
    framer = NmeaFramer()
    (reading,) = framer.feed(GGA + b"\r\n")
    assert reading.payload == GGA
    assert reading.headers == (("nmea.type", b"GPGGA"),)


def test_nmea_takes_encapsulated_and_long_sentences() -> None:
    body = b"AIVDM,1,1,,B,177KQJ5000G?tO`K>RA1wUbN0TKH,0"
    ais = b"!%s*%02X" % (body, nmea_checksum(body))
    long = sentence(b"PGRMX," + b"1," * 60)
    assert readings_of(NmeaFramer(), ais + b"\r\n" + long + b"\r\n") == [ais, long]


@given(st.integers(min_value=1, max_value=len(GGA) - 1), st.integers(min_value=1, max_value=255))
def test_nmea_never_lets_a_damaged_sentence_through(index: int, flip: int) -> None:
    damaged = bytearray(GGA)
    damaged[index] ^= flip
    framer = NmeaFramer()
    came_out = readings_of(framer, bytes(damaged) + b"\r\n")
    # The case of a hexadecimal digit of the checksum is no damage.
    assert came_out == [] or bytes(damaged).upper() == GGA


def test_nmea_without_a_checksum_is_bad() -> None:
    framer = NmeaFramer()
    assert readings_of(framer, b"$GPGGA,1,2,3\r\n$GPGGA,1,2,3*\r\nhello\r\n") == []
    assert framer.bad == 3


def test_nmea_finds_the_sentence_behind_one_that_was_cut_off() -> None:
    framer = NmeaFramer()
    assert readings_of(framer, b"\x00\xfe$GPRMC,1235" + GGA + b"\r\n") == [GGA]
    assert framer.bad == 1
