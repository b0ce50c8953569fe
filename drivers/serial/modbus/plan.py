"""Which requests read which registers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drivers.serial.modbus.config import ModbusConfig, Register, Table
from drivers.serial.modbus.values import words_of

MOST_WORDS = 125
"""Registers in one answer (V1.1b3, 6.3 and 6.4)."""
MOST_BITS = 2_000
"""Coils or discrete inputs in one answer (V1.1b3, 6.1 and 6.2)."""


@dataclass(frozen=True, slots=True)
class Request:
    """Reads `count` registers or bits from `address` on, which hold `registers`."""

    device: int
    table: Table
    address: int
    count: int
    registers: tuple[Register, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """What is asked of one device every `interval_s`, and becomes one reading. It is itself alone: a cheap key."""

    device: int
    interval_s: float
    requests: tuple[Request, ...]


def rounds(config: ModbusConfig) -> tuple[Round, ...]:
    """In the order in which devices and intervals first appear."""
    grouped: dict[tuple[int, float], list[Register]] = {}
    for register in config.registers:
        grouped.setdefault((register.device, float(register.interval or config.interval)), []).append(register)
    return tuple(Round(device, interval_s, _requests(of_it)) for (device, interval_s), of_it in grouped.items())


def _requests(registers: Sequence[Register]) -> tuple[Request, ...]:
    """Neighbours are read together. Nothing is read that nobody asked for: devices refuse what they do not have."""
    requests: list[Request] = []
    for register in sorted(registers, key=lambda register: (register.table, register.address)):
        last = requests[-1] if requests else None
        if last is not None and last.table == register.table and register.address <= last.address + last.count:
            count = max(last.count, register.address + words_of(register) - last.address)
            if count <= (MOST_WORDS if register.table in ("holding", "input") else MOST_BITS):
                requests[-1] = Request(last.device, last.table, last.address, count, (*last.registers, register))
                continue
        requests.append(Request(register.device, register.table, register.address, words_of(register), (register,)))
    return tuple(requests)
