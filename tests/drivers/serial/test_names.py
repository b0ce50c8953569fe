"""What a `port` means: a path, a pattern, an adapter by its USB numbers; found again wherever it comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.contract import DeviceLostError, DriverConfigError, SourceSettings
from drivers.serial import SerialConfig, SerialDriver, names
from drivers.serial.names import Attached, check_port, find_port
from drivers.status import SourceState
from storage.clock import FakeClock
from tests.drivers.running import Running
from tests.drivers.serial.adapter import Adapter

FTDI = Attached("/dev/ttyUSB0", 0x0403, 0x6001, "A6008isP", "1-1.1")
TWIN = Attached("/dev/ttyUSB1", 0x0403, 0x6001, "A6008xyz", "1-1.2")
CHEAP = Attached("/dev/ttyUSB2", 0x1A86, 0x7523, "", "1-1.3")
CHEAP_TWIN = Attached("/dev/ttyUSB3", 0x1A86, 0x7523, "", "2-1")
THERE = [FTDI, TWIN, CHEAP, CHEAP_TWIN]


@pytest.mark.parametrize(
    ("port", "path"),
    [
        ("/dev/ttyUSB7", "/dev/ttyUSB7"),
        ("usb:0403:6001:A6008xyz", "/dev/ttyUSB1"),
        ("usb:0403:6001@1-1.1", "/dev/ttyUSB0"),
        ("usb:1A86:7523@2-1", "/dev/ttyUSB3"),
    ],
)
def test_an_adapter_is_known_by_what_it_says_of_itself_and_by_its_socket(port: str, path: str) -> None:
    assert find_port(port, lambda: THERE) == path


def test_what_an_adapter_is_called_names_it_again() -> None:
    for adapter in THERE:
        assert find_port(adapter.name(), lambda: THERE) == adapter.path


def test_two_that_match_are_both_named_and_none_is_taken() -> None:
    with pytest.raises(DeviceLostError, match=r"matches 2 devices .*/dev/ttyUSB0, /dev/ttyUSB1.*serial number"):
        find_port("usb:0403:6001", lambda: THERE)


def test_one_that_is_not_there_is_answered_with_what_is() -> None:
    with pytest.raises(
        DeviceLostError, match=r"no device matches usb:0403:6015 .*usb:0403:6001:A6008isP.*usb:1a86:7523@2-1"
    ):
        find_port("usb:0403:6015", lambda: THERE)


def test_a_pattern_finds_one_path_and_refuses_two_devices(tmp_path: Path) -> None:
    (tmp_path / "usb-FTDI-1").touch()
    (tmp_path / "usb-FTDI-same").symlink_to(tmp_path / "usb-FTDI-1")
    assert find_port(f"{tmp_path}/usb-FTDI*") == f"{tmp_path}/usb-FTDI-1"
    (tmp_path / "usb-FTDI-2").touch()
    with pytest.raises(DeviceLostError, match="matches 3 devices"):
        find_port(f"{tmp_path}/usb-FTDI*")
    with pytest.raises(DeviceLostError, match="no device matches"):
        find_port(f"{tmp_path}/usb-CH34*")


@pytest.mark.parametrize("port", ["ttyUSB0", "usb:0403", "usb:403:6001", "usb:0403:6001:", "COM3", ""])
def test_what_names_no_device_is_refused_at_once(port: str) -> None:
    with pytest.raises(ValueError, match="write"):
        check_port(port)
    with pytest.raises(DriverConfigError, match="port = "):
        SerialDriver(SerialConfig(port=port), SourceSettings(name="f", driver="serial", stream="a/b"), FakeClock())


def test_an_adapter_that_comes_back_under_another_path_is_read_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Adapter(tmp_path / "first"), Adapter(tmp_path / "second")
    there: list[Attached] = []
    monkeypatch.setattr(names, "attached", lambda: list(there))
    config = SerialConfig(port="usb:0403:6001")
    running = Running(
        lambda settings, clock: SerialDriver(config, settings, clock),
        SourceSettings(name="flow", driver="serial", stream="plant/flow"),
    )
    for adapter, said in ((first, b"1"), (second, b"2")):
        adapter.plug_in()
        there[:] = [Attached(str(adapter.name), 0x0403, 0x6001, "", "1-1")]
        running.until(lambda: running.source.state is SourceState.RUNNING, "the adapter")
        adapter.say(said + b"\n")
        running.until(lambda said=said: said in running.sink.payloads(), "the line")  # type: ignore[misc]
        adapter.unplug()
        there.clear()
        running.until(lambda: running.source.state is SourceState.BACKOFF, "the loss noticed")
    assert running.sink.payloads() == [b"1", b"2"]
