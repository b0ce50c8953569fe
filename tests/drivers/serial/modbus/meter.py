"""A Modbus meter that answers when it has something to say, for the conformance suite."""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path

from drivers.contract import Driver, SourceSettings
from drivers.serial.modbus import ModbusConfig, ModbusDriver, Register
from storage.clock import Clock
from storage.units import Duration
from tests.drivers.serial.adapter import Adapter
from tests.drivers.serial.modbus.test_polling import signed

REQUEST_BYTES = 8


class Meter:
    """Holds a request until there is a reading, and then answers the newest one alone."""

    settings = SourceSettings(name="meter", driver="modbus", stream="plant/meter")
    comes_and_goes = True

    def __init__(self, folder: Path) -> None:
        self.expected: list[bytes] = []
        self._adapter = Adapter(folder / "usb-rs485")
        self._lock = threading.Lock()
        self._to_say: deque[int] = deque()
        self._asked = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def driver(self, settings: SourceSettings, clock: Clock) -> Driver:
        config = ModbusConfig(
            port=str(self._adapter.name),
            registers=(Register(name="n"),),
            interval=Duration(0.01),
            timeout=Duration(10),
        )
        return ModbusDriver(config, settings, clock)

    def plug_in(self) -> None:
        with self._lock:
            self._adapter.plug_in()

    def unplug(self) -> None:
        with self._lock:
            self._adapter.unplug()
            self._asked = False

    def say(self, count: int) -> None:
        numbers = range(len(self.expected), len(self.expected) + count)
        self.expected += [b'{"device":1,"n":%d,"units":{}}' % number for number in numbers]
        with self._lock:
            self._hear()
            self._to_say += numbers
            self._answer()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._adapter.unplug()

    def _listen(self) -> None:
        while not self._closed.wait(0.001):
            with self._lock:
                self._hear()
                self._answer()

    def _hear(self) -> None:
        """Whoever asked before has been forgotten by then."""
        if self._adapter.plugged_in and len(self._adapter.heard()) >= REQUEST_BYTES:
            self._asked = True

    def _answer(self) -> None:
        if self._asked and self._to_say:
            self._asked = False
            self._adapter.say(signed(b"\x01\x03\x02" + self._to_say.popleft().to_bytes(2, "big")))
