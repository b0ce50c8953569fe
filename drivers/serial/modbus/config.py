"""The Modbus driver's configuration."""

from __future__ import annotations

import math
from typing import Literal

from drivers.contract import DriverConfigError, config
from drivers.serial.config import Parity
from drivers.serial.framing import Order
from drivers.serial.names import check_port
from storage.units import Duration

MAX_REGISTERS = 1_000
RESERVED_NAMES = {"device", "units", "errors"}

Table = Literal["holding", "input", "coil", "discrete"]
ValueType = Literal["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
WORDS = {"int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "float32": 2, "int64": 4, "uint64": 4, "float64": 4}


@config
class Register:
    """One value of a device."""

    name: str = ""
    """What the value is called in the reading."""
    device: int = 1
    """Address of the device on the line, 1 to 247."""
    table: Table = "holding"
    """`holding` (function 3) and `input` (4) have registers of 16 bits, `coil` (1) and `discrete` (2) single bits."""
    address: int = 0
    """As the protocol counts, from 0. What a manual calls 40001 is holding 0, 30001 is input 0."""
    type: ValueType = "uint16"
    """What one register holds, or two, or four."""
    word_order: Order = "big"
    """Which of several registers comes first: the high one (`big`) or the low one (`little`)."""
    byte_order: Order = "big"
    """Order of the bytes in a register. The standard says `big`; some devices do otherwise."""
    scale: float = 1.0
    """The value is scale times what was read, plus offset."""
    offset: float = 0.0
    """See scale."""
    unit: str = ""
    """Unit of the value, such as "m3/h"."""
    interval: Duration = Duration(0)
    """How often it is read. 0: as often as the source says."""


@config
class ModbusConfig:
    """Asks devices on a serial line for their registers (Modbus RTU)."""

    port: str = "/dev/ttyUSB0"
    """The adapter, as the serial driver names it: a path, a pattern, or "usb:VID:PID[:SERIAL]"."""
    baud: int = 19_200
    """Bits a second. 19,200 and even parity are the standard's default; many devices come with 9,600 and none."""
    parity: Parity = "even"
    """Parity bit."""
    stopbits: Literal[1, 2] = 1
    """Stop bits. Without parity the standard asks for 2; most devices do with 1."""
    registers: tuple[Register, ...] = ()
    """What to read."""
    interval: Duration = Duration(1)
    """How often a register is read that does not say."""
    timeout: Duration = Duration(0.5)
    """How long a device may take to answer."""
    retries: int = 1
    """How often a request without an answer is repeated at once."""
    max_backoff: Duration = Duration(60)
    """A device that does not answer is left alone for longer and longer, up to this."""


def check(config: ModbusConfig, source: str) -> None:
    """Raises DriverConfigError for what can't work, and says what to write instead."""
    try:
        check_port(config.port)
    except ValueError as error:
        raise DriverConfigError(f"source {source}: port = {config.port!r}: {error}") from error
    bounds = {
        "baud": (config.baud, 300, 10_000_000),
        "interval": (config.interval, 0.01, 86_400),
        "timeout": (config.timeout, 0.01, 10),
        "retries": (config.retries, 0, 10),
        "max_backoff": (config.max_backoff, 1, 3_600),
    }
    for name, (value, least, most) in bounds.items():
        if not least <= value <= most:
            raise DriverConfigError(f"source {source}: {name} = {value}: use {least:g} to {most:g}")
    if len(config.registers) > MAX_REGISTERS:
        raise DriverConfigError(f"source {source}: {len(config.registers)} registers: at most {MAX_REGISTERS}")
    named: set[tuple[int, str]] = set()
    for index, register in enumerate(config.registers):
        wrong = _wrong(register)
        if (register.device, register.name) in named:
            wrong = f"device {register.device} has another register of this name: each needs its own"
        if wrong:
            raise DriverConfigError(f"source {source}: registers[{index}] {register.name!r}: {wrong}")
        named.add((register.device, register.name))


def _wrong(register: Register) -> str:
    """What can't work about it, or nothing."""
    if not register.name or register.name in RESERVED_NAMES:
        return f"give it a name, other than {', '.join(sorted(RESERVED_NAMES))}"
    if not 1 <= register.device <= 247:
        return f"device = {register.device}: use 1 to 247"
    last = register.address + (WORDS[register.type] if register.table in ("holding", "input") else 1) - 1
    if not (register.address >= 0 and last <= 0xFFFF):
        return f"address = {register.address}: use 0 to 65535, without the leading 4 or 3 of a manual's 40001"
    if register.interval and not 0.01 <= register.interval <= 86_400:
        return f"interval = {register.interval}: use 0.01 to 86400 s"
    if not math.isfinite(register.scale) or not math.isfinite(register.offset):
        return "scale and offset have to be numbers"
    return ""
