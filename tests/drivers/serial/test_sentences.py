"""What sentences say, as JSON with units; what is not understood stays as it came."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.serial.framing import NmeaFramer, nmea_checksum
from drivers.serial.framing.sentences import SENTENCES, decode

SAID: dict[str, dict[str, object]] = {
    "IIDBT,036.4,f,011.1,M,006.1,F": {
        "depth_feet": 36.4,
        "depth": 11.1,
        "depth_fathoms": 6.1,
        "units": {"depth_feet": "ft", "depth": "m", "depth_fathoms": "fathom"},
    },
    "SDDPT,2.4,-0.5,": {"depth": 2.4, "transducer_offset": -0.5, "units": {"depth": "m", "transducer_offset": "m"}},
    "GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,": {
        "utc": "12:35:19",
        "latitude": 48.1173,
        "longitude": 11.5166667,
        "quality": 1,
        "satellites": 8,
        "hdop": 0.9,
        "altitude": 545.4,
        "geoid_separation": 46.9,
        "units": {"latitude": "deg", "longitude": "deg", "altitude": "m", "geoid_separation": "m"},
    },
    "GPGLL,5300.97914,N,00259.98174,W,125926.50,A": {
        "latitude": 53.016319,
        "longitude": -2.9996957,
        "utc": "12:59:26.50",
        "valid": True,
        "units": {"latitude": "deg", "longitude": "deg"},
    },
    "HCHDG,101.1,,,7.1,W": {"heading": 101.1, "variation": -7.1, "units": {"heading": "deg", "variation": "deg"}},
    "HCHDM,238.5,M": {"heading_magnetic": 238.5, "units": {"heading_magnetic": "deg"}},
    "HEHDT,274.07,T": {"heading_true": 274.07, "units": {"heading_true": "deg"}},
    "WIMDA,30.2,I,1.0227,B,18.3,C,,C,61.2,,10.7,C,211.1,T,,M,5.5,N,2.83,M": {
        "pressure_inches": 30.2,
        "pressure": 1.0227,
        "air_temperature": 18.3,
        "relative_humidity": 61.2,
        "dew_point": 10.7,
        "wind_direction_true": 211.1,
        "wind_speed_knots": 5.5,
        "wind_speed": 2.83,
        "units": {
            "pressure_inches": "inHg",
            "pressure": "bar",
            "air_temperature": "degC",
            "relative_humidity": "%",
            "dew_point": "degC",
            "wind_direction_true": "deg",
            "wind_speed_knots": "kn",
            "wind_speed": "m/s",
        },
    },
    "YXMTW,17.75,C": {"water_temperature": 17.75, "units": {"water_temperature": "degC"}},
    "WIMWD,254,T,251,M,6.8,N,3.5,M": {
        "wind_direction_true": 254.0,
        "wind_direction_magnetic": 251.0,
        "wind_speed_knots": 6.8,
        "wind_speed": 3.5,
        "units": {
            "wind_direction_true": "deg",
            "wind_direction_magnetic": "deg",
            "wind_speed_knots": "kn",
            "wind_speed": "m/s",
        },
    },
    "IIMWV,045.0,R,10.4,N,A": {
        "wind_angle": 45.0,
        "reference": "R",
        "wind_speed": 10.4,
        "valid": True,
        "units": {"wind_angle": "deg", "wind_speed": "kn"},
    },
    "GPRMC,081836,A,3751.65,S,14507.36,E,000.0,360.0,130998,011.3,E": {
        "utc": "08:18:36",
        "valid": True,
        "latitude": -37.8608333,
        "longitude": 145.1226667,
        "speed": 0.0,
        "course_true": 360.0,
        "date": "1998-09-13",
        "variation": 11.3,
        "units": {"latitude": "deg", "longitude": "deg", "speed": "kn", "course_true": "deg", "variation": "deg"},
    },
    "TIROT,-12.5,A": {"rate_of_turn": -12.5, "valid": True, "units": {"rate_of_turn": "deg/min"}},
    "IIVHW,245.1,T,,M,05.3,N,9.8,K": {
        "heading_true": 245.1,
        "water_speed_knots": 5.3,
        "water_speed": 9.8,
        "units": {"heading_true": "deg", "water_speed_knots": "kn", "water_speed": "km/h"},
    },
    "GPVTG,054.7,T,034.4,M,005.5,N,010.2,K,A": {
        "course_true": 54.7,
        "course_magnetic": 34.4,
        "speed_knots": 5.5,
        "speed": 10.2,
        "mode": "A",
        "units": {"course_true": "deg", "course_magnetic": "deg", "speed_knots": "kn", "speed": "km/h"},
    },
    "WIXDR,C,18.3,C,AIRTEMP,P,1.0227,B,BARO,A,-3.1,D,PITCH": {
        "AIRTEMP": 18.3,
        "BARO": 1.0227,
        "PITCH": -3.1,
        "units": {"AIRTEMP": "degC", "BARO": "bar", "PITCH": "deg"},
    },
    "GPZDA,160012.71,11,03,2004,-1,00": {"utc": "16:00:12.71", "date": "2004-03-11", "units": {}},
}


@pytest.mark.parametrize("body", SAID)
def test_a_sentence_says_its_values_and_their_units(body: str) -> None:
    decoded = decode(body.encode())
    assert decoded is not None
    assert json.loads(decoded) == {"talker": body[:2], "type": body[2:5]} | SAID[body]


def test_every_sentence_of_the_table_is_shown_here() -> None:
    assert {body[2:5] for body in SAID} == set(SENTENCES)


@pytest.mark.parametrize(
    "body",
    [
        "GPGSV,3,1,11,03,03,111,00",  # not in the table
        "PGRMZ,246,f,3",  # a manufacturer's own
        "PXMTW,1,C",  # likewise, though it ends as one that is known
        "IIMWV,045.0,R,10.4,X,A",  # no such unit
        "IIMWV,045.0,R,nan,N,A",
        "IIMWV,045.0",
        "GPGGA,123519,4877.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,",  # 77 minutes
        "GPGGA,253519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,",
        "YXMTW,17.75,F",
        "WIXDR,C,18.3,C,A,P,1.0227,B,A",  # two of one name
        "WIXDR,C,18.3,C",
        "GPRMC,081836,A,3751.65,S,14507.36,E,000.0,360.0,139998,011.3,E",
    ],
)
def test_what_is_not_understood_is_not_decoded(body: str) -> None:
    assert decode(body.encode()) is None


@given(st.sampled_from(sorted(SAID)), st.text(max_size=12), st.integers(min_value=6, max_value=60))
def test_whatever_a_field_holds_the_answer_is_json_or_none(body: str, text: str, at: int) -> None:
    decoded = decode((body[:at] + text + body[at:]).encode())
    assert decoded is None or set(json.loads(decoded)) >= {"talker", "type", "units"}


def test_the_framer_decodes_what_is_known_and_keeps_the_rest() -> None:
    def sentence(body: bytes) -> bytes:
        return b"$%s*%02X" % (body, nmea_checksum(body))

    framer = NmeaFramer(decoded=True)
    known, other = framer.feed(sentence(b"YXMTW,17.75,C") + b"\r\n" + sentence(b"EDQ,pump,3,1.2") + b"\r\n")
    assert json.loads(known.payload)["water_temperature"] == 17.75
    assert (known.content_type, known.headers) == ("application/json", (("nmea.type", b"YXMTW"),))
    assert (other.payload, other.content_type) == (sentence(b"EDQ,pump,3,1.2"), "")
