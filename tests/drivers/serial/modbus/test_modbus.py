"""The Modbus driver against pymodbus's server, over two pseudo-terminals and a wire that a test can cut."""

from __future__ import annotations

import asyncio
import json
import os
import select
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pymodbus.datastore import (
    ModbusDeviceContext,
    ModbusSequentialDataBlock,
    ModbusServerContext,
    ModbusSimulatorContext,
)
from pymodbus.server import ModbusSerialServer

from drivers.contract import SourceSettings
from drivers.serial.modbus import ModbusConfig, ModbusDriver, Register
from drivers.serial.modbus.polling import silence_s
from drivers.status import SourceState
from storage.clock import FakeClock
from storage.units import Duration
from tests.drivers.running import Running

SETTINGS = SourceSettings(name="plc", driver="modbus", stream="plant/plc")
SERVER_TIMEOUT_S = 5.0


class Wire:
    """Two terminals, what one says the other hears. `client` and `server` are paths to open.

    A request to a device in `gone` is heard by nobody: pymodbus's server would answer for devices that it does not have.
    """

    def __init__(self, client: Path) -> None:
        self.client = client
        self.cut = False
        self.gone: set[int] = set()
        self.passed: list[tuple[str, int, bytes]] = []
        self._ours, self._ours_open = self._terminal()
        self._theirs, self._theirs_open = self._terminal()
        client.symlink_to(os.ttyname(self._ours_open))
        self.server = os.ttyname(self._theirs_open)
        self._stop_reading, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def close(self) -> None:
        os.write(self._stop, b"x")
        self._thread.join()
        for descriptor in (
            self._ours,
            self._ours_open,
            self._theirs,
            self._theirs_open,
            self._stop,
            self._stop_reading,
        ):
            os.close(descriptor)

    def silences_s(self) -> list[float]:
        """From the end of each answer to the next request."""
        pairs = zip(self.passed, self.passed[1:], strict=False)
        return [
            (after[1] - before[1]) / 1e9 for before, after in pairs if (before[0], after[0]) == ("server", "client")
        ]

    def _carry(self) -> None:
        while True:
            ready, _, _ = select.select([self._ours, self._theirs, self._stop_reading], [], [])
            if self._stop_reading in ready:
                return
            for descriptor in ready:
                data = os.read(descriptor, 4096)
                who = "client" if descriptor == self._ours else "server"
                self.passed.append((who, time.monotonic_ns(), data))
                if not self.cut and not (who == "client" and data[0] in self.gone):
                    os.write(self._theirs if descriptor == self._ours else self._ours, data)

    def _terminal(self) -> tuple[int, int]:
        master, terminal = os.openpty()
        tty.setraw(terminal)
        return master, terminal


class Server:
    """pymodbus's serial server on a thread. Device 1 has every table up to address 99, device 2 the same."""

    def __init__(self, port: str, baud: int) -> None:
        self._port, self._baud = port, baud
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(SERVER_TIMEOUT_S)

    def close(self) -> None:
        stopped = asyncio.run_coroutine_threadsafe(self._server.shutdown(), self._loop)  # type: ignore[no-untyped-call]
        stopped.result(SERVER_TIMEOUT_S)
        self._thread.join(SERVER_TIMEOUT_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        # pymodbus counts a block's addresses from 1.
        def words() -> ModbusSequentialDataBlock:
            return ModbusSequentialDataBlock(1, [address * 10 for address in range(100)])  # type: ignore[no-untyped-call]

        def bits() -> ModbusSequentialDataBlock:
            return ModbusSequentialDataBlock(1, [address % 3 == 0 for address in range(100)])  # type: ignore[no-untyped-call]

        devices: dict[int, ModbusDeviceContext | ModbusSimulatorContext] = {
            number: ModbusDeviceContext(di=bits(), co=bits(), hr=words(), ir=words()) for number in (1, 2)
        }
        self._server = ModbusSerialServer(
            ModbusServerContext(devices, single=False),
            port=self._port,
            baudrate=self._baud,
        )
        self._ready.set()
        await self._server.serve_forever()


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    made = Wire(tmp_path / "rs485")
    yield made
    made.close()


@pytest.fixture
def server(wire: Wire) -> Iterator[Server]:
    made = Server(wire.server, 19_200)
    yield made
    made.close()


def source(wire: Wire, *registers: Register, **settings: float) -> Running:
    config = ModbusConfig(
        port=str(wire.client),
        registers=registers,
        interval=Duration(settings.get("interval_s", 0.1)),
        timeout=Duration(settings.get("timeout_s", 5.0)),
        baud=int(settings.get("baud", 19_200)),
        retries=0,
    )
    return Running(lambda settings, clock: ModbusDriver(config, settings, clock), SETTINGS)


def test_registers_become_one_reading_with_units(wire: Wire, server: Server) -> None:
    running = source(
        wire,
        Register(name="flow", address=3, scale=0.1, unit="m3/h"),
        Register(name="total", address=4, type="uint32", word_order="little"),
        Register(name="level", table="input", address=9, unit="m"),
        Register(name="running", table="coil", address=6),
        Register(name="door", table="discrete", address=7),
        Register(name="beyond", address=500),
    )
    before_ns = running.clock.boot_ns()
    running.until(lambda: len(running.sink.events) >= 2, "two readings")
    event = running.sink.events[0]
    assert json.loads(event.payload) == {
        "device": 1,
        "flow": 3.0,
        "total": 40 + (50 << 16),
        "level": 90,
        "running": True,
        "door": False,
        "units": {"flow": "m3/h", "level": "m"},
        "errors": {"beyond": "exception 2: illegal data address"},
    }
    assert event.content_type == "application/json"
    assert before_ns < event.time_ns <= running.clock.boot_ns()
    assert running.counter("exceptions") >= 2
    assert running.counter("bad") == running.counter("timeouts") == 0


@pytest.mark.long
def test_a_device_that_is_not_there_costs_the_others_nothing_but_a_timeout(
    wire: Wire, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    wire.gone = {9}
    running = source(
        wire, Register(name="a", device=9), Register(name="a", device=1), Register(name="a", device=2), timeout_s=1
    )
    running.until(lambda: len(running.sink.events) >= 10, "readings of the others")
    devices = [json.loads(event.payload)["device"] for event in running.sink.events]
    assert min(devices.count(1), devices.count(2)) >= 3
    assert running.source.state is SourceState.RUNNING
    assert running.counter("timeouts") >= 1
    assert running.counter("lost") >= 1
    assert caplog.text.count("device 9 does not answer") == 1


@pytest.mark.long
@pytest.mark.parametrize("baud", [1_200, 19_200])
def test_between_an_answer_and_the_next_request_the_line_is_silent_as_long_as_it_has_to_be(
    wire: Wire, baud: int
) -> None:
    server = Server(wire.server, baud)
    try:
        running = source(
            wire,
            *(Register(name=f"r{address}", address=address) for address in range(0, 90, 10)),
            interval_s=0.05,
            baud=baud,
        )
        running.until(lambda: len(running.sink.events) >= 2, "two rounds")
    finally:
        server.close()
    silences_s = wire.silences_s()
    assert len(silences_s) >= 10
    assert min(silences_s) >= silence_s(baud)


@pytest.mark.long
def test_a_cut_wire_is_told_and_mended_it_goes_on(wire: Wire, server: Server) -> None:
    running = source(wire, Register(name="a"), timeout_s=0.05)
    running.until(lambda: len(running.sink.events) >= 2, "readings")
    wire.cut = True
    running.until(lambda: running.source.state is SourceState.BACKOFF, "the silence told")
    assert "no device answers" in str(running.source.status().last_error)
    assert "asked: 1" in str(running.source.status().last_error)
    wire.cut = False
    count = len(running.sink.events)
    running.until(lambda: len(running.sink.events) >= count + 2, "readings again")
    assert running.counter("timeouts") >= 3


def test_without_registers_it_is_said_what_is_missing(tmp_path: Path) -> None:
    running = Running(lambda settings, clock: ModbusDriver(ModbusConfig(), settings, clock), SETTINGS)
    running.until(lambda: running.source.state is SourceState.FAILED, "the refusal")
    assert "registers is empty" in str(running.source.status().last_error)


def test_a_poll_waits_no_longer_than_it_may_whatever_the_clock_says(wire: Wire) -> None:
    """Of a clock that stands still too."""
    config = ModbusConfig(port=str(wire.client), registers=(Register(name="a"),), timeout=Duration(10))
    driver = ModbusDriver(config, SETTINGS, FakeClock())
    driver.open(None)
    for _ in range(3):
        assert driver.poll(0.05) is None
    driver.close()
