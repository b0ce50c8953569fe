"""What every framing has in common, and the binary ones: found again behind garbage, bounded, counted."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.contract import DriverConfigError
from drivers.serial.config import SerialConfig, framer
from drivers.serial.framing import Checksum, Framer, nmea_checksum
from drivers.serial.framing.checksums import crc16_modbus, xor8
from drivers.serial.framing.stuffing import cobs_decode, slip_decode

SYNC = b"\xaa\x55"
FIXED = SerialConfig(framing="fixed", sync="AA 55", frame_bytes=8, checksum="crc16-modbus", checksum_order="little")
LENGTH = SerialConfig(framing="length", sync="AA55", length_offset=2, length_adds=5, checksum="crc16-ccitt")
SLIP = SerialConfig(framing="slip", max_frame_bytes=40, checksum="xor8")
COBS = SerialConfig(framing="cobs", max_frame_bytes=300)


def sentence(body: bytes) -> bytes:
    return b"$%s*%02X" % (body, nmea_checksum(body))


def fixed(body: bytes) -> bytes:
    assert len(body) == 4
    return SYNC + body + Checksum("crc16-modbus", "little").of(SYNC + body)


def prefixed(body: bytes) -> bytes:
    start = SYNC + bytes([len(body)]) + body
    return start + Checksum("crc16-ccitt").of(start)


def slip(packet: bytes) -> bytes:
    return b"\xc0" + packet.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"


def cobs(packet: bytes) -> bytes:
    """The encoder of Cheshire & Baker 1999, listing 1, and the delimiter."""
    coded = bytearray(b"\x00")
    code_at, code = 0, 1
    for byte in packet:
        if byte:
            coded.append(byte)
            code += 1
        if not byte or code == 0xFF:
            coded[code_at] = code
            code_at, code = len(coded), 1
            coded.append(0)
    coded[code_at] = code
    return bytes(coded) + b"\x00"


def checked(packet: bytes) -> bytes:
    return packet + Checksum("xor8").of(packet)


def readings_of(made: Framer, *chunks: bytes) -> list[bytes]:
    return [reading.payload for chunk in chunks for reading in made.feed(chunk)]


def made(config: SerialConfig) -> Framer:
    return framer(config, "flow")


def kept(framing: Framer) -> int:
    """Bytes and marks that it holds."""
    holders = (framing, vars(framing).get("_cutter", framing))
    values = [value for holder in holders for value in vars(holder).values()]
    return sum(len(value) for value in values if isinstance(value, bytearray | list))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[low:high] for low, high in pairwise(edges)]


EVERY = {
    "lines": (SerialConfig(), b"12.7\r\n"),
    "nmea": (SerialConfig(framing="nmea"), sentence(b"IIMTW,18.5,C") + b"\r\n"),
    "fixed": (FIXED, fixed(b"\x00\x01\xaa\x55")),
    "length": (LENGTH, prefixed(b"hello")),
    "slip": (SLIP, slip(checked(b"a\xc0b\xdbc"))),
    "cobs": (COBS, cobs(b"a\x00b" + bytes(range(1, 256)))),
}
every_framing = pytest.mark.parametrize(("config", "frame"), EVERY.values(), ids=EVERY)

noise = st.lists(
    st.one_of(
        st.sampled_from([frame for _, frame in EVERY.values()]),
        st.sampled_from([SYNC, SYNC[:1], b"\xc0", b"\x00", b"$", b"\n", prefixed(b"")[:4], fixed(b"abcd")[:-1]]),
        st.binary(max_size=30),
    ),
    max_size=12,
).map(b"".join)


@every_framing
@settings(max_examples=60)
@given(data=noise, places=st.lists(st.integers(min_value=0), max_size=20))
def test_any_chunking_gives_the_same_readings_and_counts(
    config: SerialConfig, frame: bytes, data: bytes, places: list[int]
) -> None:
    whole, chunked = made(config), made(config)
    assert readings_of(chunked, *cut(data, places)) == readings_of(whole, data)
    assert chunked.bad == whole.bad


@every_framing
def test_frames_come_out_one_by_one_and_none_is_bad(config: SerialConfig, frame: bytes) -> None:
    framing = made(config)
    (payload,) = set(readings_of(framing, frame * 3))
    assert payload
    assert framing.bad == 0
    assert not framing.pending


@every_framing
@settings(max_examples=40)
@given(data=noise, after=st.integers(min_value=2, max_value=4))
def test_after_any_garbage_good_frames_are_read_again(
    config: SerialConfig, frame: bytes, data: bytes, after: int
) -> None:
    framing = made(config)
    readings_of(framing, data)
    # Garbage may claim a frame of the greatest length: so much is waited for before it proves wrong.
    assert len(readings_of(framing, frame * 80)) >= 80 - 300 // len(frame) - 1
    bad = framing.bad
    assert len(readings_of(framing, frame * after)) == after
    assert framing.bad == bad


@every_framing
def test_a_babbling_line_is_counted_and_not_kept(config: SerialConfig, frame: bytes) -> None:
    framing = made(config)
    for _ in range(50):
        framing.feed(b"\x55\xaa" * 500)
    assert kept(framing) <= 5000
    assert framing.bad >= 1


@every_framing
def test_a_flood_of_damaged_bytes_and_breaks_is_not_kept(config: SerialConfig, frame: bytes) -> None:
    """As a receiver at the wrong rate hears it: not one good byte among them."""
    framing = made(replace(config, max_line_bytes=100, max_frame_bytes=100))
    for _ in range(3000):
        framing.spoil(b"\xaa")
        framing.spoil(b"")
        framing.spoil(b"\x55")
    assert kept(framing) <= 300
    assert framing.bad >= 1


def test_a_good_frame_in_a_false_one_is_found_when_a_damaged_byte_proves_it_false() -> None:
    framing = made(LENGTH)
    inside = prefixed(b"one")
    assert readings_of(framing, SYNC + bytes([len(inside)]) + inside + b"x") == []
    assert [reading.payload for reading in framing.spoil(b"y")] == [inside]


@every_framing
def test_a_frame_that_is_cut_off_is_bad_once_and_the_next_one_is_read(config: SerialConfig, frame: bytes) -> None:
    framing = made(config)
    readings_of(framing, frame, frame[: len(frame) // 2])
    assert framing.pending
    framing.gap()
    assert framing.bad == 1
    assert len(readings_of(framing, frame, frame)) == 2
    assert framing.bad == 1


@every_framing
def test_a_damaged_byte_spoils_the_frame_that_it_falls_into_and_no_other(config: SerialConfig, frame: bytes) -> None:
    framing = made(config)
    half = len(frame) // 2
    readings = readings_of(framing, frame, frame[:half])
    assert framing.spoil(frame[half : half + 1]) == []
    assert len(readings) + len(readings_of(framing, frame[half + 1 :], frame, frame)) == 3
    assert framing.bad == 1


@every_framing
def test_a_break_between_frames_costs_nothing_and_within_one_that_frame(config: SerialConfig, frame: bytes) -> None:
    framing = made(config)
    framing.feed(frame)
    framing.spoil(b"")
    assert len(readings_of(framing, frame, frame[:3])) == 1
    assert framing.bad == 0
    framing.spoil(b"")
    assert readings_of(framing, frame[3:], frame)[-1:] == readings_of(made(config), frame)
    assert framing.bad == 1


@pytest.mark.parametrize(
    ("config", "frame"),
    [EVERY[name] for name in ("nmea", "fixed", "length", "slip")],
    ids=["nmea", "fixed", "length", "slip"],
)
@given(index=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
def test_a_changed_byte_never_passes(config: SerialConfig, frame: bytes, index: int, flip: int) -> None:
    damaged = bytearray(frame)
    damaged[index % len(frame)] ^= flip
    framing = made(config)
    good = readings_of(made(config), frame)
    came = readings_of(framing, bytes(damaged), frame, frame, frame)
    # The case of a hexadecimal digit of NMEA's checksum is no damage.
    assert set(came) <= set(good) or bytes(damaged).upper() == frame.upper()


def test_of_two_frames_damaged_side_by_side_each_is_counted() -> None:
    for config, frame in (EVERY["fixed"], EVERY["length"], EVERY["slip"], EVERY["cobs"]):
        for first, second in ((3, 3), (3, 4), (4, 3)):
            one, other = bytearray(frame), bytearray(frame)
            one[first] ^= 0x40
            other[second] ^= 0x40
            framing = made(config if config.checksum != "none" else replace(config, checksum="crc32"))
            signed = frame if config.checksum != "none" else cobs(b"1" + Checksum("crc32").of(b"1"))
            assert len(readings_of(framing, signed, bytes(one), bytes(other), signed)) == 2
            assert framing.bad == 2


def test_noise_between_frames_of_fixed_length_counts_as_many_as_it_could_have_been() -> None:
    framing = made(FIXED)
    assert len(readings_of(framing, fixed(b"abcd"), b"\x01" * 17, fixed(b"efgh"))) == 2
    assert framing.bad == 3


def test_a_false_sync_hides_no_frame() -> None:
    framing = made(LENGTH)
    assert readings_of(framing, SYNC + b"\x20" + prefixed(b"one") + prefixed(b"two") * 20)[0] == prefixed(b"one")
    assert framing.bad == 1


def test_a_flood_of_false_syncs_is_checked_at_a_bounded_cost() -> None:
    checked_bytes = 0
    framing = made(SerialConfig(framing="fixed", sync="55", frame_bytes=4096, checksum="crc16-modbus"))
    checksum = vars(framing)["_checksum"]
    right = checksum.right

    def counting(frame: bytes) -> bool:
        nonlocal checked_bytes
        checked_bytes += len(frame)
        return bool(right(frame))

    checksum.right = counting
    for _ in range(40):
        framing.feed(b"\x55" * 1000)
    assert checked_bytes <= 40_000 * 64 + (1 << 20) + 4096


def test_a_fixed_length_without_sync_is_cut_by_length_and_aligned_by_silence() -> None:
    framing = made(
        replace(FIXED, sync="", checksum="sum8", frame_bytes=3, frame_timeout=FIXED.frame_timeout.parse("50ms"))
    )
    assert readings_of(framing, b"\x01\x02\x03\x02\x02\x04") == [b"\x01\x02\x03", b"\x02\x02\x04"]
    assert readings_of(framing, b"\x09\x01\x02\x03\x01\x02\x03") == []
    # It could be in the middle of a frame as well.
    assert readings_of(framing, b"\x01\x02\x03") == []
    assert framing.bad == 1
    framing.gap()
    assert readings_of(framing, b"\x01\x02\x03") == [b"\x01\x02\x03"]
    assert framing.bad == 1


def test_length_fields_of_any_width_order_and_place() -> None:
    config = SerialConfig(
        framing="length", sync="7E", length_offset=1, length_bytes=2, length_order="little", length_adds=3
    )
    assert readings_of(made(config), b"\x7e\x04\x00abcd\x7e\x00\x00") == [b"\x7e\x04\x00abcd", b"\x7e\x00\x00"]
    behind = SerialConfig(framing="length", sync="7E", length_offset=3, length_adds=4, max_frame_bytes=10)
    assert readings_of(made(behind), b"\x7exx\x02ab") == [b"\x7exx\x02ab"]
    too_long = made(behind)
    assert readings_of(too_long, b"\x7exx\x07abcdefg\x7exx\x02ab") == [b"\x7exx\x02ab"]
    assert too_long.bad == 1


def test_slip_as_in_rfc_1055() -> None:
    assert slip_decode(b"a\xdb\xdcb\xdb\xdd") == b"a\xc0b\xdb"
    assert slip_decode(b"a\xdbb") is None
    assert slip_decode(b"a\xdb") is None


@pytest.mark.parametrize(
    ("packet", "coded"),
    [
        (b"\x00", b"\x01\x01"),
        (b"\x00\x00", b"\x01\x01\x01"),
        (b"\x11\x22\x00\x33", b"\x03\x11\x22\x02\x33"),
        (b"\x11\x22\x33\x44", b"\x05\x11\x22\x33\x44"),
        (b"\x11\x00\x00\x00", b"\x02\x11\x01\x01\x01"),
        (bytes(range(1, 255)), b"\xff" + bytes(range(1, 255))),
        (bytes(range(1, 256)), b"\xff" + bytes(range(1, 255)) + b"\x02\xff"),
        (bytes(range(2, 256)) + b"\x00", b"\xff" + bytes(range(2, 256)) + b"\x01\x01"),
    ],
)
def test_cobs_as_published(packet: bytes, coded: bytes) -> None:
    assert cobs_decode(coded) == packet


@given(st.binary(max_size=700))
def test_cobs_and_slip_bring_back_what_was_sent(packet: bytes) -> None:
    assert cobs_decode(cobs(packet)[:-1]) == packet
    assert slip_decode(slip(packet)[1:-1]) == packet


@pytest.mark.parametrize("coded", [b"\x05abc", b"\x01\x02"])
def test_cobs_that_points_beyond_its_end_is_bad(coded: bytes) -> None:
    framing = made(COBS)
    assert readings_of(framing, coded + b"\x00" + cobs(b"next")) == [b"next"]
    assert framing.bad == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sum8", 0xDD),
        ("crc16-modbus", 0x4B37),
        ("crc16-ccitt", 0x29B1),
        ("crc16-xmodem", 0x31C3),
        ("crc32", 0xCBF43926),
    ],
)
def test_checksums_have_the_check_values_of_the_catalogue(name: str, value: int) -> None:
    """Of "123456789", as in Greg Cook's catalogue of CRC algorithms."""
    checksum = Checksum(name)  # type: ignore[arg-type]
    assert int.from_bytes(checksum.of(b"123456789")) == value
    assert checksum.right(b"123456789" + checksum.of(b"123456789"))
    assert not checksum.right(b"123456780" + checksum.of(b"123456789"))


@given(st.binary(max_size=300))
def test_xor_by_halves_is_the_xor_of_all_bytes(data: bytes) -> None:
    expected = 0
    for byte in data:
        expected ^= byte
    assert xor8(data) == expected


def test_the_crc_of_modbus_goes_low_byte_first() -> None:
    """The example of MODBUS over Serial Line V1.02, 6.2.2: 02 07 gives 41 12."""
    assert crc16_modbus(b"\x02\x07") == 0x1241
    assert Checksum("crc16-modbus", "little").of(b"\x02\x07") == b"\x41\x12"


def test_raw_gives_each_chunk_with_the_time_of_its_first_byte() -> None:
    framing = made(SerialConfig(framing="raw", max_frame_bytes=4))
    assert [(r.payload, r.time_ns) for r in framing.feed(b"ab", 5)] == [(b"ab", 5)]
    assert [(r.payload, r.time_ns) for r in framing.feed(b"abcdef", 6)] == [(b"abcd", 6), (b"ef", 6)]


def test_raw_with_a_timeout_gives_what_lies_between_two_silences() -> None:
    framing = made(SerialConfig(framing="raw", max_frame_bytes=8, frame_timeout=FIXED.frame_timeout.parse("50ms")))
    assert framing.feed(b"abc", 5) == framing.feed(b"def", 6) == []
    assert [(r.payload, r.time_ns) for r in framing.gap()] == [(b"abcdef", 5)]
    assert framing.gap() == []
    framing.feed(b"abcdef", 7)
    assert [(r.payload, r.time_ns) for r in framing.feed(b"ghi", 8)] == [(b"abcdef", 7)]
    assert framing.bad == 0


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (replace(FIXED, sync=""), "needs `sync` or `frame_timeout`"),
        (replace(LENGTH, sync=""), "needs `sync` or `frame_timeout`"),
        (replace(FIXED, sync="xyz"), "hexadecimal"),
        (replace(FIXED, sync="00" * 17), "at most 16"),
        (replace(FIXED, frame_bytes=3), "alone take 4"),
        (replace(LENGTH, length_offset=1), "the sync alone takes 2"),
        (replace(LENGTH, max_frame_bytes=2), "take"),
        (SerialConfig(pattern="("), "no regular expression"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_write(config: SerialConfig, said: str) -> None:
    with pytest.raises(DriverConfigError, match=said):
        made(config)
