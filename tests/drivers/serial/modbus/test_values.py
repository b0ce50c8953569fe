"""Registers as numbers: types, orders, scales."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.contract import DriverConfigError
from drivers.serial.modbus import ModbusConfig, Register
from drivers.serial.modbus.config import WORDS, ValueType, check
from drivers.serial.modbus.values import value_of
from storage.units import Duration

FORMATS = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}


def words_of(raw: bytes) -> list[int]:
    return list(struct.unpack(f">{len(raw) // 2}H", raw))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int16", -300),
        ("uint16", 65_000),
        ("int32", -70_000),
        ("uint32", 4_000_000_000),
        ("int64", -(1 << 40)),
        ("uint64", (1 << 63) + 1),
        ("float32", 12.7),
        ("float64", 0.1),
    ],
)
def test_every_type_in_every_order(kind: ValueType, value: float) -> None:
    words = words_of(struct.pack(f">{FORMATS[kind]}", value))
    swapped = [(word >> 8) | (word & 0xFF) << 8 for word in words]
    for word_order, byte_order, held in (
        ("big", "big", words),
        ("little", "big", words[::-1]),
        ("big", "little", swapped),
        ("little", "little", swapped[::-1]),
    ):
        register = Register(type=kind, word_order=word_order, byte_order=byte_order)  # type: ignore[arg-type]
        found = value_of(register, held)
        assert found == value
        assert isinstance(found, type(value))


def test_every_type_is_shown() -> None:
    assert set(FORMATS) == set(WORDS)


def test_a_scaled_value_is_what_the_manual_says() -> None:
    assert value_of(Register(scale=0.1), [127]) == 12.7
    assert value_of(Register(type="int16", scale=0.01, offset=-40), [2050]) == -19.5
    assert value_of(Register(type="int16", scale=1.0, offset=5), [0xFFFF]) == 4.0


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_keeps_its_value_in_as_few_digits_as_that_takes(value: float) -> None:
    found = value_of(Register(type="float32"), words_of(struct.pack(">f", value)))
    assert struct.pack(">f", found) == struct.pack(">f", value)


@pytest.mark.parametrize("raw", [b"\x7f\xc0\x00\x00", b"\x7f\x80\x00\x00", b"\xff\x80\x00\x00"])
def test_what_is_no_number_is_said_to_be_none(raw: bytes) -> None:
    with pytest.raises(ValueError, match="no number"):
        value_of(Register(type="float32"), words_of(raw))


REGISTER = Register(name="flow")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (ModbusConfig(port="ttyUSB0"), "write a path"),
        (ModbusConfig(registers=(Register(),)), r"registers\[0\] '': give it a name"),
        (ModbusConfig(registers=(Register(name="units"),)), "other than device, errors, units"),
        (ModbusConfig(registers=(REGISTER, REGISTER)), r"registers\[1\].*has another register of this name"),
        (ModbusConfig(registers=(Register(name="a", device=0),)), "use 1 to 247"),
        (ModbusConfig(registers=(Register(name="a", address=65_535, type="int32"),)), "without the leading 4"),
        (ModbusConfig(registers=(Register(name="a", scale=float("inf")),)), "have to be numbers"),
        (ModbusConfig(registers=(Register(name="a", interval=Duration(0.001)),)), "use 0.01 to"),
        (ModbusConfig(timeout=Duration(0)), "timeout = 0"),
        (ModbusConfig(registers=(REGISTER,) * 1001), "at most 1000"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_write(config: ModbusConfig, said: str) -> None:
    with pytest.raises(DriverConfigError, match=said):
        check(config, "plc")


def test_the_same_name_may_be_given_at_two_devices() -> None:
    check(ModbusConfig(registers=(REGISTER, Register(name="flow", device=2))), "plc")
