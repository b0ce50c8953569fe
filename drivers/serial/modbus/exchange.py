"""One request as bytes, and the answer to it found among what came. No input or output here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU, ReadCoilsRequest, ReadHoldingRegistersRequest
from pymodbus.pdu.bit_message import ReadDiscreteInputsRequest
from pymodbus.pdu.register_message import ReadInputRegistersRequest

from drivers.serial.framing.checksums import crc16_modbus
from drivers.serial.modbus.config import Table
from drivers.serial.modbus.plan import Request
from drivers.serial.modbus.values import value_of, words_of

MOST_KEPT_BYTES = 512
"""Twice the longest frame (V1.02, 2.5.1)."""
_EXCEPTION_BYTES = 5
_ERROR_FLAG = 0x80
_PDUS: Mapping[Table, type[ModbusPDU]] = {
    "coil": ReadCoilsRequest,
    "discrete": ReadDiscreteInputsRequest,
    "holding": ReadHoldingRegistersRequest,
    "input": ReadInputRegistersRequest,
}
EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge",
    6: "server device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}
"""V1.1b3, section 7."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Values and errors by register's name. `exception` says that the device refused."""

    values: Mapping[str, int | float | bool] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    exception: bool = False


class Exchange:
    """A request that is out. `feed` gives the answer once it is there. Keeps at most `MOST_KEPT_BYTES`."""

    def __init__(self, request: Request) -> None:
        self.request = request
        pdu = _PDUS[request.table](address=request.address, count=request.count)
        self._function = pdu.function_code
        self.sent = _framed(bytes([request.device, pdu.function_code]) + pdu.encode())
        bits = request.table in ("coil", "discrete")
        self._data_bytes = math.ceil(request.count / 8) if bits else 2 * request.count
        self.answer_bytes = 5 + self._data_bytes
        self._came = bytearray()
        self._first = True

    @property
    def unused(self) -> bool:
        """Something came that was not the answer, apart from an echo."""
        return bool(self._came)

    def feed(self, data: bytes) -> Answer | None:
        """The answer, wherever it is in what came. What comes before it (noise, another device's late answer) is left out."""
        self._came += data
        if self._first and len(self._came) >= len(self.sent):
            # Some adapters hear what they say.
            self._first = False
            if self._came.startswith(self.sent):
                del self._came[: len(self.sent)]
        del self._came[: max(0, len(self._came) - MOST_KEPT_BYTES)]
        for at in range(len(self._came)):
            frame = self._frame(at)
            if frame is not None:
                del self._came[: at + len(frame)]
                return self._decoded(frame)
        return None

    def _frame(self, at: int) -> bytes | None:
        """The answer that begins at a place, if one does and it is whole."""
        head = self._came[at : at + 3]
        if len(head) < 3 or head[0] != self.request.device:
            return None
        if head[1] == self._function and head[2] == self._data_bytes:
            size = self.answer_bytes
        elif head[1] == self._function | _ERROR_FLAG:
            size = _EXCEPTION_BYTES
        else:
            return None
        frame = bytes(self._came[at : at + size])
        return frame if len(frame) == size and _framed(frame[:-2]) == frame else None

    def _decoded(self, frame: bytes) -> Answer:
        pdu = DecodePDU(False).decode(frame[1:-2])
        registers = self.request.registers
        if isinstance(pdu, ExceptionResponse):
            said = f"exception {pdu.exception_code}: {EXCEPTIONS.get(pdu.exception_code, 'not in the standard')}"
            return Answer(errors={register.name: said for register in registers}, exception=True)
        if pdu is None:
            return Answer(errors={register.name: "an answer that can't be decoded" for register in registers})
        values: dict[str, int | float | bool] = {}
        errors: dict[str, str] = {}
        for register in registers:
            at = register.address - self.request.address
            try:
                if self.request.table in ("coil", "discrete"):
                    values[register.name] = bool(pdu.bits[at])
                else:
                    values[register.name] = value_of(register, pdu.registers[at : at + words_of(register)])
            except ValueError as error:
                errors[register.name] = str(error)
        return Answer(values, errors)


def _framed(body: bytes) -> bytes:
    """With the checksum, low byte first (V1.02, 2.5.1.2)."""
    return body + crc16_modbus(body).to_bytes(2, "little")
