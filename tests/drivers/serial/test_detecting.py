"""Judging what was heard: right at every rate and parity, on bytes that a UART made of them at the wrong ones."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from drivers.serial.detecting import EIGHT_NONE, RATES, Character, Guess, Heard, guess
from drivers.serial.framing.checksums import crc16_modbus
from drivers.serial.probing import ENOUGH_BYTES, candidates
from tests.drivers.serial.test_framing import cobs, sentence, slip
from tests.drivers.serial.uart import Received, Speech, received

SCALE = [b"ST,GS,+%08.2fkg\r\n" % (weight * 1.37) for weight in range(14)]
THERMOMETER = [b"%.1f\n" % (20 + number / 10) for number in range(12)]
RETURNS = [b"TEMP %d C\r" % number for number in range(15, 29)]
GPS = [
    sentence(b"GPGGA,1235%02d,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,," % second)
    + b"\r\n"
    + sentence(b"GPVTG,054.7,T,034.4,M,005.5,N,010.2,K,A")
    + b"\r\n"
    for second in range(4)
]
JSON = [b'{"t":%d,"p":%.3f}\n' % (1000 + number, 1 + number / 77) for number in range(10)]


def modbus(body: bytes) -> bytes:
    return body + crc16_modbus(body).to_bytes(2, "little")


MODBUS = [
    modbus(struct.pack(">BBHH", 1, 3, address, 4))
    + modbus(b"\x01\x03\x08" + struct.pack(">4H", 230 + address, 7, 0, address))
    for address in range(12)
]
COBS = [cobs(struct.pack("<IfBf", number, number / 7, 0, 12.7)) for number in range(20)]
SLIP = [slip(struct.pack("<IfBf", number * 0xC0, number / 7, 0xDB, 12.7)) for number in range(20)]

SPEECHES = {
    "scale": (SCALE, "lines"),
    "thermometer": (THERMOMETER, "lines"),
    "returns": (RETURNS, "lines"),
    "gps": (GPS, "nmea"),
    "json": (JSON, "lines"),
    "modbus": (MODBUS, "raw"),
    "cobs": (COBS, "cobs"),
    "slip": (SLIP, "slip"),
}
TEXTS = ("scale", "gps")
every_speech = pytest.mark.parametrize("speech", SPEECHES)
every_rate = pytest.mark.parametrize(
    "baud", [rate if rate == 9_600 else pytest.param(rate, marks=pytest.mark.long) for rate in sorted(RATES)]
)
some_rates = pytest.mark.parametrize(
    "baud", [9_600, *(pytest.param(rate, marks=pytest.mark.long) for rate in (1_200, 921_600))]
)


def heard(bursts: Sequence[bytes], spoken: int, listened: int, character: Character, *, marked: bool) -> list[Received]:
    """A pseudo-terminal does not mark what is damaged."""
    came = received(Speech(tuple(bursts), spoken, character, pause_s=0.02), listened, most_bytes=ENOUGH_BYTES)
    return [Received(byte, damaged and marked) for byte, damaged in came]


def found(
    bursts: Sequence[bytes], baud: int, character: Character = EIGHT_NONE, *, marked: bool, from_byte: int = 3
) -> list[Guess]:
    """The candidates for a device that speaks so, joined in the middle of what it says."""

    def listen(rate: int, asked: Character) -> Heard:
        speech = Speech(tuple(bursts), baud, character, pause_s=0.02)
        came = received(speech, rate, asked, ENOUGH_BYTES)[from_byte:]
        return Heard(rate, asked, bytes(byte for byte, _ in came), sum(damaged for _, damaged in came) if marked else 0)

    return candidates(listen)


@pytest.mark.parametrize("marked", [True, False], ids=["marked", "unmarked"])
@every_rate
@every_speech
def test_rate_and_framing_are_found(speech: str, baud: int, marked: bool) -> None:
    bursts, framing = SPEECHES[speech]
    guesses = found(bursts, baud, marked=marked)
    assert (guesses[0].settings["baud"], guesses[0].settings["framing"]) == (baud, framing), guesses
    assert guesses[0].score >= 0.7
    assert all(other.score < guesses[0].score - 0.1 for other in guesses[1:])


@pytest.mark.parametrize("parity", ["even", "odd"])
@pytest.mark.parametrize("speech", TEXTS)
@some_rates
def test_seven_bits_with_parity_are_known_from_the_eighth(speech: str, baud: int, parity: str) -> None:
    bursts, framing = SPEECHES[speech]
    best = found(bursts, baud, Character(7, parity), marked=False)[0]
    assert best.settings == {"baud": baud, "bytesize": 7, "parity": parity, "framing": framing}
    assert best.score >= 0.8


@pytest.mark.parametrize("parity", ["even", "odd"])
@pytest.mark.parametrize("speech", [*TEXTS, "modbus"])
@some_rates
def test_eight_bits_with_parity_are_found_by_what_the_receiver_calls_damaged(
    speech: str, baud: int, parity: str
) -> None:
    bursts, framing = SPEECHES[speech]
    best = found(bursts, baud, Character(8, parity), marked=True)[0]
    assert (best.settings["baud"], best.settings["parity"], best.settings["framing"]) == (baud, parity, framing)
    assert best.score >= 0.7


def test_a_candidate_shows_a_line_of_what_it_would_read() -> None:
    assert found(SCALE, 4800, marked=False)[0].sample in {line.strip().decode() for line in SCALE}
    assert found(GPS, 4800, marked=False)[0].sample.startswith("$GPVTG,054.7,T")
    assert found(MODBUS, 19_200, marked=False)[0].sample.startswith("Modbus RTU: 01 03 08 00 f1")
    assert found(RETURNS, 9600, marked=False)[0].settings["terminator"] == "\r"


@pytest.mark.long
def test_at_a_wrong_rate_nothing_scores_as_if_it_were_right() -> None:
    for bursts, _ in SPEECHES.values():
        for spoken in RATES:
            for listened in RATES:
                if spoken != listened:
                    came = heard(bursts, spoken, listened, EIGHT_NONE, marked=False)
                    judged = guess(Heard(listened, EIGHT_NONE, bytes(byte for byte, _ in came)))
                    assert judged.score < 0.6, (spoken, listened, judged)


def test_a_device_that_says_nothing_is_no_candidate() -> None:
    asked: list[int] = []

    def listen(rate: int, character: Character) -> Heard:
        asked.append(rate)
        return Heard(rate, character, b"")

    assert candidates(listen) == []
    assert len(asked) == 4


def test_noise_is_worth_little() -> None:
    noise = bytes((number * 97 + number * number * 31) % 256 for number in range(300))
    assert guess(Heard(9600, EIGHT_NONE, noise)).score <= 0.3
    assert guess(Heard(9600, EIGHT_NONE, b"\x00" * 300)).score < 0.05


def test_the_uart_hears_what_was_said_where_the_settings_agree() -> None:
    every = bytes(range(256))
    for character in (EIGHT_NONE, Character(8, "even"), Character(8, "odd")):
        came = received(Speech((every,), 9600, character), 9600, character)
        assert came == [Received(byte, False) for byte in every]
    seven = received(Speech((bytes(range(128)),), 9600, Character(7, "even")), 9600, Character(7, "even"))
    assert seven == [Received(byte, False) for byte in range(128)]
