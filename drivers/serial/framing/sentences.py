"""What NMEA 0183 sentences say: their fields as a JSON object, flat, with the units beside.

    $IIMWV,045.0,R,10.4,N,A  ->  {"talker":"II","type":"MWV","wind_angle":45.0,"reference":"R","wind_speed":10.4,
                                  "valid":true,"units":{"wind_angle":"deg","wind_speed":"kn"}}

Field orders as in IEC 61162-1 (MDA: NMEA 0183 2.3). An empty field is left out. `units` names every value that has one.
A sentence that is not in the table, or whose fields are not what the table says, is not decoded: it stays as it came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

Value = str | int | float | bool
Unit = str


class Decoded(NamedTuple):
    name: str
    value: Value
    unit: Unit = ""


_Field = Callable[[Iterator[str]], Decoded | None]
_Parser = Callable[[Sequence[str]], list[Decoded]]

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_SPEEDS = {"K": "km/h", "M": "m/s", "N": "kn", "S": "mph"}
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d)([0-5]\d|60)(\.\d+)?")
_DATE = re.compile(r"(0[1-9]|[12]\d|3[01])(0[1-9]|1[0-2])(\d\d)")
_ANGLE = re.compile(r"(\d{1,3})(\d\d(?:\.\d*)?)")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")
_TRANSDUCERS: Mapping[tuple[str, str], str] = {
    ("A", "D"): "deg",
    ("C", "C"): "degC",
    ("D", "M"): "m",
    ("F", "H"): "Hz",
    ("H", "P"): "%",
    ("I", "A"): "A",
    ("N", "N"): "N",
    ("P", "B"): "bar",
    ("P", "P"): "Pa",
    ("R", "l"): "l/s",
    ("T", "R"): "rpm",
    ("U", "V"): "V",
    ("V", "M"): "m3",
    ("L", "S"): "ppt",
}
"""Transducer type and unit letter of XDR -> unit."""


def _number(text: str) -> float:
    """float() also takes what no instrument means: nan, inf, 1_000."""
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no number")
    return float(text)


def _value(name: str, unit: Unit = "") -> _Field:
    def take(fields: Iterator[str]) -> Decoded | None:
        text = next(fields)
        return Decoded(name, _number(text), unit) if text else None

    return take


def _measured(name: str, letter: str, unit: Unit) -> _Field:
    """A value and the letter of its unit, which is always the same."""

    def take(fields: Iterator[str]) -> Decoded | None:
        text, found = next(fields), next(fields)
        if found not in ("", letter):
            raise ValueError(f"{name} in {found!r}, not in {letter!r}")
        return Decoded(name, _number(text), unit) if text else None

    return take


def _whole(name: str) -> _Field:
    def take(fields: Iterator[str]) -> Decoded | None:
        text = next(fields)
        if text and not text.isdecimal():
            raise ValueError(f"{name} {text!r}")
        return Decoded(name, int(text)) if text else None

    return take


def _text(name: str) -> _Field:
    def take(fields: Iterator[str]) -> Decoded | None:
        text = next(fields, "")
        return Decoded(name, text) if text else None

    return take


def _valid(fields: Iterator[str]) -> Decoded | None:
    text = next(fields)
    if text not in ("", "A", "V"):
        raise ValueError(f"status {text!r}")
    return Decoded("valid", text == "A") if text else None


def _utc(fields: Iterator[str]) -> Decoded | None:
    text = next(fields)
    if not text:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time")
    return Decoded("utc", f"{match[1]}:{match[2]}:{match[3]}{match[4] or ''}")


def _date(fields: Iterator[str]) -> Decoded | None:
    """Two digits of a year: GPS began in 1980."""
    text = next(fields)
    if not text:
        return None
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no date")
    century = 1900 if int(match[3]) >= 80 else 2000
    return Decoded("date", f"{century + int(match[3])}-{match[2]}-{match[1]}")


def _angle(name: str, positive: str, negative: str) -> _Field:
    """Degrees and minutes, and a hemisphere: degrees with a sign, to the tenth of a micro-degree."""

    def take(fields: Iterator[str]) -> Decoded | None:
        text, hemisphere = next(fields), next(fields)
        if not text:
            return None
        match = _ANGLE.fullmatch(text)
        if match is None or hemisphere not in (positive, negative) or float(match[2]) >= 60:
            raise ValueError(f"{name} {text!r} {hemisphere!r}")
        degrees = round(int(match[1]) + float(match[2]) / 60, 7)
        return Decoded(name, degrees if hemisphere == positive else -degrees, "deg")

    return take


def _towards(name: str) -> _Field:
    """A magnitude and E or W: east counts positive."""

    def take(fields: Iterator[str]) -> Decoded | None:
        text, side = next(fields), next(fields)
        if not text:
            return None
        if side not in ("E", "W"):
            raise ValueError(f"{name} {side!r}")
        return Decoded(name, _number(text) if side == "E" else -_number(text), "deg")

    return take


def _all(*takes: _Field) -> _Parser:
    """The fields in this order; what follows them belongs to a later edition of the standard and is left out."""

    def parse(fields: Sequence[str]) -> list[Decoded]:
        left = iter(fields)
        return [decoded for take in takes if (decoded := take(left)) is not None]

    return parse


def _mwv(fields: Sequence[str]) -> list[Decoded]:
    angle, reference, speed, unit, status = fields[:5]
    if reference not in ("R", "T") or status not in ("A", "V"):
        raise ValueError("reference or status")
    values = [Decoded("wind_angle", _number(angle), "deg")] if angle else []
    values.append(Decoded("reference", reference))
    if speed:
        values.append(Decoded("wind_speed", _number(speed), _SPEEDS[unit]))
    return [*values, Decoded("valid", status == "A")]


def _xdr(fields: Sequence[str]) -> list[Decoded]:
    """Any number of transducers, each with type, value, unit and name."""
    if len(fields) % 4 or not fields:
        raise ValueError("not four fields a transducer")
    values = []
    for kind, value, unit, name in zip(fields[::4], fields[1::4], fields[2::4], fields[3::4], strict=True):
        if value:
            values.append(Decoded(name or kind, _number(value), _TRANSDUCERS.get((kind, unit), unit)))
    if len({decoded.name for decoded in values} | {"type", "talker", "units"}) != len(values) + 3:
        raise ValueError("two transducers of one name")
    return values


def _zda(fields: Sequence[str]) -> list[Decoded]:
    values = _all(_utc, _whole("day"), _whole("month"), _whole("year"))(fields)
    named = {decoded.name: decoded.value for decoded in values}
    if set(named) != {"utc", "day", "month", "year"}:
        return values
    return [values[0], Decoded("date", f"{named['year']:04}-{named['month']:02}-{named['day']:02}")]


_LATITUDE, _LONGITUDE = _angle("latitude", "N", "S"), _angle("longitude", "E", "W")
_PARSERS: Mapping[str, _Parser] = {
    "DBT": _all(
        _measured("depth_feet", "f", "ft"), _measured("depth", "M", "m"), _measured("depth_fathoms", "F", "fathom")
    ),
    "DPT": _all(_value("depth", "m"), _value("transducer_offset", "m")),
    "GGA": _all(
        _utc,
        _LATITUDE,
        _LONGITUDE,
        _whole("quality"),
        _whole("satellites"),
        _value("hdop"),
        _measured("altitude", "M", "m"),
        _measured("geoid_separation", "M", "m"),
        _value("correction_age", "s"),
        _text("station"),
    ),
    "GLL": _all(_LATITUDE, _LONGITUDE, _utc, _valid),
    "HDG": _all(_value("heading", "deg"), _towards("deviation"), _towards("variation")),
    "HDM": _all(_measured("heading_magnetic", "M", "deg")),
    "HDT": _all(_measured("heading_true", "T", "deg")),
    "MDA": _all(
        _measured("pressure_inches", "I", "inHg"),
        _measured("pressure", "B", "bar"),
        _measured("air_temperature", "C", "degC"),
        _measured("water_temperature", "C", "degC"),
        _value("relative_humidity", "%"),
        _value("absolute_humidity", "%"),
        _measured("dew_point", "C", "degC"),
        _measured("wind_direction_true", "T", "deg"),
        _measured("wind_direction_magnetic", "M", "deg"),
        _measured("wind_speed_knots", "N", "kn"),
        _measured("wind_speed", "M", "m/s"),
    ),
    "MTW": _all(_measured("water_temperature", "C", "degC")),
    "MWD": _all(
        _measured("wind_direction_true", "T", "deg"),
        _measured("wind_direction_magnetic", "M", "deg"),
        _measured("wind_speed_knots", "N", "kn"),
        _measured("wind_speed", "M", "m/s"),
    ),
    "MWV": _mwv,
    "RMC": _all(
        _utc,
        _valid,
        _LATITUDE,
        _LONGITUDE,
        _value("speed", "kn"),
        _value("course_true", "deg"),
        _date,
        _towards("variation"),
        _text("mode"),
    ),
    "ROT": _all(_value("rate_of_turn", "deg/min"), _valid),
    "VHW": _all(
        _measured("heading_true", "T", "deg"),
        _measured("heading_magnetic", "M", "deg"),
        _measured("water_speed_knots", "N", "kn"),
        _measured("water_speed", "K", "km/h"),
    ),
    "VTG": _all(
        _measured("course_true", "T", "deg"),
        _measured("course_magnetic", "M", "deg"),
        _measured("speed_knots", "N", "kn"),
        _measured("speed", "K", "km/h"),
        _text("mode"),
    ),
    "XDR": _xdr,
    "ZDA": _zda,
}

SENTENCES = tuple(_PARSERS)
"""The sentence formatters that are decoded."""


def decode(body: bytes) -> bytes | None:
    """The JSON object of a sentence, given what is between its `$` and `*`. None where it is not decoded."""
    address, *fields = body.decode("latin-1").split(",")
    # An address that begins with P is a manufacturer's own, whatever follows (IEC 61162-1, 7.3.4).
    parse = _PARSERS.get(address[2:]) if len(address) == 5 and address[0] != "P" else None
    if parse is None:
        return None
    try:
        values = parse(fields)
    except (ValueError, KeyError, StopIteration):
        return None
    said: dict[str, object] = {"talker": address[:2], "type": address[2:]}
    said |= {decoded.name: decoded.value for decoded in values}
    said["units"] = {decoded.name: decoded.unit for decoded in values if decoded.unit}
    return _ENCODER.encode(said).encode()
