"""Probing a port: a pseudo-terminal stands in for a device that speaks at one rate and is heard at whichever was set."""

from __future__ import annotations

import os
import termios
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from drivers.contract import DeviceLostError, Found, SourceSettings
from drivers.serial import SerialConfig, SerialDriver, probing
from drivers.serial.detecting import RATES
from drivers.serial.line import Line
from drivers.serial.probing import probe
from storage.clock import FakeClock, SystemClock
from tests.drivers.serial.adapter import Adapter
from tests.drivers.serial.test_detecting import GPS, SCALE, every_rate
from tests.drivers.serial.uart import Speech, received

SPEEDS = {getattr(termios, f"B{rate}"): rate for rate in RATES}


class Talker:
    """Says the same again and again at `baud`, on a thread. What arrives is what a UART at the terminal's rate would hear."""

    def __init__(self, adapter: Adapter, bursts: Sequence[bytes], baud: int) -> None:
        speech = Speech(tuple(bursts), baud, pause_s=0.02)
        self._heard = {rate: bytes(byte for byte, _ in received(speech, rate)) for rate in RATES}
        self._adapter = adapter
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _talk(self) -> None:
        while not self._stop.wait(0.005):
            # A terminal that nobody reads is full one day.
            if self._adapter.unread() < 1000:
                self._adapter.say(self._heard[SPEEDS.get(self._adapter.speed(), 9600)])


@pytest.fixture
def adapter(tmp_path: Path) -> Iterator[Adapter]:
    made = Adapter(tmp_path / "usb-instrument")
    made.plug_in()
    yield made
    made.unplug()


def probed(adapter: Adapter, bursts: Sequence[bytes], baud: int) -> list[Found]:
    talker = Talker(adapter, bursts, baud)
    try:
        return list(probe(SystemClock(), at=str(adapter.name), timeout_s=4.0))
    finally:
        talker.close()


@every_rate
@pytest.mark.parametrize(("bursts", "framing"), [(GPS, "nmea"), (SCALE, "lines")], ids=["gps", "scale"])
def test_each_standard_rate_is_found(adapter: Adapter, bursts: Sequence[bytes], framing: str, baud: int) -> None:
    best, *others = probed(adapter, bursts, baud)
    assert (best.device, best.settings["port"]) == (str(adapter.name), str(adapter.name))
    assert (best.settings["baud"], best.settings["framing"]) == (baud, framing)
    assert best.score is not None and best.score >= 0.8
    assert best.sample.encode() in b"".join(bursts)
    assert all((other.score or 0.0) < best.score for other in others)


def test_what_is_found_is_a_configuration_that_reads_the_device(adapter: Adapter) -> None:
    best = probed(adapter, SCALE, 4800)[0]
    config = SerialConfig(**best.settings)  # type: ignore[arg-type]
    driver = SerialDriver(config, SourceSettings(name="scale", driver="serial", stream="a/b"), FakeClock())
    driver.open(None)
    adapter.say(SCALE[0])
    delivery = driver.poll(5.0)
    driver.close()
    assert delivery is not None
    assert delivery.appends[0].frames[0].payloads == [SCALE[0].strip()]


def test_a_device_that_says_nothing_is_told_without_a_score(adapter: Adapter) -> None:
    found = list(probe(SystemClock(), at=str(adapter.name), timeout_s=0.2))
    assert found == [Found(device=str(adapter.name), settings={"port": str(adapter.name)})]


def test_a_clock_that_stands_still_does_not_keep_a_probe_going(adapter: Adapter) -> None:
    assert len(list(probe(FakeClock(), at=str(adapter.name), timeout_s=0.2))) == 1


def test_the_port_that_was_asked_for_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(DeviceLostError, match="is not there"):
        list(probe(SystemClock(), at=str(tmp_path / "nothing"), timeout_s=0.2))


def test_all_ports_are_listened_to_and_one_in_use_is_told(
    adapter: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Adapter(tmp_path / "busy")
    busy.plug_in()
    line = Line(str(busy.name), 9600)
    monkeypatch.setattr(probing, "_ports", lambda: [str(busy.name), str(adapter.name)])
    talker = Talker(adapter, GPS, 9600)
    found = list(probe(SystemClock(), timeout_s=0.4))
    talker.close()
    line.close()
    busy.unplug()
    assert [(one.device, one.score is None) for one in found] == [(str(busy.name), True), (str(adapter.name), False)]


def test_nothing_is_said_to_a_device(adapter: Adapter) -> None:
    list(probe(SystemClock(), at=str(adapter.name), timeout_s=0.2))
    assert adapter.heard() == b""


def test_a_port_is_named_as_it_will_be_called_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = tmp_path / "ttyUSB0"
    device.touch()
    (tmp_path / "by-id").symlink_to(device)

    class Port:
        def __init__(self, path: Path) -> None:
            self.device = str(path)

    monkeypatch.setattr(probing, "by_id", lambda: [str(tmp_path / "by-id")])
    monkeypatch.setattr("drivers.serial.probing.list_ports.comports", lambda: [Port(device), Port(Path(os.devnull))])
    assert probing._ports() == sorted([str(tmp_path / "by-id"), os.devnull])
