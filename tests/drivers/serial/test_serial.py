"""The serial driver on a real pseudo-terminal: lines in, frames out, through unplugging and garbage."""

from __future__ import annotations

import errno
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from drivers.contract import DeviceLostError, DriverConfigError, SourceSettings
from drivers.serial import SerialConfig, SerialDriver
from drivers.serial.framing import nmea_checksum
from drivers.serial.line import Line
from drivers.status import SourceState
from storage.clock import FakeClock
from storage.units import Duration
from tests.drivers.running import Running
from tests.drivers.serial.adapter import Adapter
from tests.drivers.serial.test_framing import cobs

SETTINGS = SourceSettings(name="flow", driver="serial", stream="plant/flow")


@pytest.fixture
def adapter(tmp_path: Path) -> Iterator[Adapter]:
    made = Adapter(tmp_path / "usb-instrument")
    yield made
    made.unplug()


def source(config: SerialConfig) -> Running:
    return Running(lambda settings, clock: SerialDriver(config, settings, clock), SETTINGS)


def opened(adapter: Adapter, config: SerialConfig | None = None) -> Running:
    adapter.plug_in()
    running = source(config or SerialConfig(port=str(adapter.name)))
    running.until(lambda: running.source.state is SourceState.RUNNING, "the port")
    return running


def test_lines_become_events_with_the_time_at_which_they_came(adapter: Adapter) -> None:
    running = opened(adapter)
    before_ns = running.clock.boot_ns()
    adapter.say(b"12.7\r\n12.8\n")
    running.until(lambda: len(running.sink.events) == 2, "two events")
    after_ns = running.clock.boot_ns()
    assert running.sink.payloads("plant/flow") == [b"12.7", b"12.8"]
    assert {event.routing_key for event in running.sink.events} == {"flow"}
    assert all(before_ns <= event.time_ns <= after_ns for event in running.sink.events)


def test_a_line_may_come_in_pieces(adapter: Adapter) -> None:
    running = opened(adapter)
    for piece in (b"1", b"2.", b"7\n1"):
        adapter.say(piece)
        running.for_a_while(0.05)
    assert running.sink.payloads() == [b"12.7"]


def test_garbage_and_babble_are_counted_and_the_next_line_is_read(adapter: Adapter) -> None:
    running = opened(adapter, SerialConfig(port=str(adapter.name), max_line_bytes=64, pattern=r"\d+\.\d"))
    adapter.say(b"\xff\xfe\x00\n" + b"\x55" * 5000 + b"\n12.7\n")
    running.until(lambda: len(running.sink.events) == 1, "the good line")
    assert running.sink.payloads() == [b"12.7"]
    assert running.counter("bad") == 2


def test_what_was_joined_in_the_middle_can_be_left_out(adapter: Adapter) -> None:
    running = opened(adapter, SerialConfig(port=str(adapter.name), skip_first_line=True))
    adapter.say(b".7\n12.8\n")
    running.until(lambda: len(running.sink.events) == 1, "the whole line")
    assert running.sink.payloads() == [b"12.8"]


def test_an_adapter_pulled_out_and_put_back_under_another_number_resumes(adapter: Adapter) -> None:
    running = opened(adapter)
    adapter.say(b"1\n")
    running.until(lambda: len(running.sink.events) == 1, "the first line")
    adapter.unplug()
    running.until(lambda: running.source.state is SourceState.BACKOFF, "the loss noticed")
    error = str(running.source.status().last_error)
    assert str(adapter.name) in error
    assert "plug it in" in error
    adapter.plug_in()
    running.until(lambda: running.source.state is SourceState.RUNNING, "the port again")
    adapter.say(b"2\n")
    running.until(lambda: len(running.sink.events) == 2, "the second line")
    assert running.sink.payloads() == [b"1", b"2"]
    assert running.counter("restarts") >= 1


def test_a_port_that_is_not_there_at_first_is_waited_for(adapter: Adapter) -> None:
    running = source(SerialConfig(port=str(adapter.name)))
    running.until(lambda: running.source.state is SourceState.BACKOFF, "the failure")
    error = str(running.source.status().last_error)
    assert f"{adapter.name} is not there" in error
    adapter.plug_in()
    running.until(lambda: running.source.state is SourceState.RUNNING, "the port")
    adapter.say(b"1\n")
    running.until(lambda: len(running.sink.events) == 1, "the first line")


def test_a_port_in_use_is_said_to_be(adapter: Adapter) -> None:
    opened(adapter)
    second = source(SerialConfig(port=str(adapter.name)))
    second.until(lambda: second.source.state is SourceState.BACKOFF, "the refusal")
    assert "in use by another program" in str(second.source.status().last_error)


def test_a_file_that_is_no_port_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("12.7\n", encoding="utf-8")
    running = source(SerialConfig(port=str(path)))
    running.until(lambda: running.source.state is SourceState.BACKOFF, "the refusal")
    assert f"{path} is no serial port" in str(running.source.status().last_error)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (serial.SerialException(errno.EACCES, "could not open port"), "add it to the group that owns the device"),
        (termios.error(errno.EIO, "Input/output error"), "can't be opened"),
        (OSError(errno.ENODEV, "No such device"), "can't be opened"),
        (termios.error(errno.ENOTTY, "Inappropriate ioctl for device"), "is no serial port"),
    ],
)
def test_a_port_that_does_not_open_is_said_why_and_tried_again(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    """What the kernel says to a user without the right, and of an adapter that is pulled out while it is set up."""
    adapter.plug_in()

    def refuse(*arguments: object, **settings: object) -> None:
        raise error

    monkeypatch.setattr("drivers.serial.line.serial.Serial", refuse)
    running = source(SerialConfig(port=str(adapter.name)))
    running.until(lambda: running.source.state is SourceState.BACKOFF, "the refusal")
    assert said in str(running.source.status().last_error)
    assert str(adapter.name) in str(running.source.status().last_error)
    monkeypatch.undo()
    running.until(lambda: running.source.state is SourceState.RUNNING, "the port")


def test_an_adapter_pulled_out_while_it_is_set_up_leaves_no_open_file(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter.plug_in()

    lines: list[Line] = []

    def gone(line: Line) -> None:
        lines.append(line)
        raise termios.error(errno.EIO, "Input/output error")

    monkeypatch.setattr(Line, "_ask_for_marks", gone)
    before = open_files()
    with pytest.raises(DeviceLostError, match="can't be opened"):
        Line(str(adapter.name), 9600)
    assert open_files() == before


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_breaks_and_damaged_bytes_are_counted_and_cost_the_frame_that_they_fall_into(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel would mark them: a pseudo-terminal has neither."""
    running = opened(adapter)
    read = iter([b"\xff\x00\x0012.7\n13", b"\xff\x00.5\n14.", b"\xff\x00", b"\x00\n15.1\n"])
    monkeypatch.setattr("drivers.serial.line.os.read", lambda descriptor, size: next(read))
    for _ in range(4):
        adapter.say(b"x")
        running.step()
    running.until(lambda: len(running.sink.events) == 2, "the good lines")
    assert running.sink.payloads() == [b"12.7", b"15.1"]
    assert [running.counter(name) for name in ("bad", "breaks", "damaged_bytes")] == [2, 2, 1]
    monkeypatch.undo()


def test_a_capture_holds_damaged_bytes_as_the_receiver_made_them_out(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = opened(adapter, SerialConfig(port=str(adapter.name), framing="raw"))
    read = iter([b"ab\xff\x00c\xff\x00dx\xff\x00\x00y"])
    monkeypatch.setattr("drivers.serial.line.os.read", lambda descriptor, size: next(read))
    adapter.say(b"x")
    running.until(lambda: len(running.sink.events) == 1, "the chunk")
    assert running.sink.payloads() == [b"abcdxy"]
    assert [running.counter(name) for name in ("bad", "breaks", "damaged_bytes")] == [0, 1, 2]
    monkeypatch.undo()


def test_a_rate_that_no_adapter_has_is_refused(adapter: Adapter) -> None:
    with pytest.raises(DriverConfigError, match="baud = 1: use 50 to"):
        SerialDriver(SerialConfig(port=str(adapter.name), baud=1), SETTINGS, FakeClock())


def test_nmea_keeps_good_sentences_and_counts_bad_ones(adapter: Adapter) -> None:
    running = opened(adapter, SerialConfig(port=str(adapter.name), framing="nmea", payload="raw"))
    body = b"GPGLL,5300.97914,N,00259.98174,E,125926,A"
    good = b"$%s*%02X" % (body, nmea_checksum(body))
    adapter.say(b"$GPGLL,53*00\r\n" + good + b"\r\nnoise\r\n" + good + b"\r\n")
    running.until(lambda: len(running.sink.events) == 2, "two sentences")
    assert running.sink.payloads() == [good, good]
    assert running.sink.events[0].headers == (("nmea.type", b"GPGLL"),)
    assert running.sink.events[0].content_type == "application/vnd.nmea0183"
    assert running.counter("bad") == 2


def test_nothing_of_a_long_burst_is_lost(adapter: Adapter) -> None:
    running = opened(adapter)
    lines = [b"%06d" % number for number in range(5000)]
    for start in range(0, len(lines), 100):
        adapter.say(b"".join(line + b"\n" for line in lines[start : start + 100]))
        running.step()
    running.until(lambda: len(running.sink.events) == len(lines), "all lines")
    assert running.sink.payloads() == lines


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (SerialConfig(terminator=""), "terminator is empty"),
        (SerialConfig(max_line_bytes=0), "max_line_bytes = 0"),
        (SerialConfig(pattern="("), "no regular expression"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_write(config: SerialConfig, said: str) -> None:
    with pytest.raises(DriverConfigError, match=said):
        SerialDriver(config, SETTINGS, FakeClock())


def test_a_half_frame_is_given_up_after_the_silence_that_no_frame_has(adapter: Adapter) -> None:
    running = opened(adapter, SerialConfig(port=str(adapter.name), frame_timeout=Duration(0.05)))
    adapter.say(b"12")
    running.until(lambda: running.counter("bad") == 1, "the half line given up")
    adapter.say(b"13.5\n")
    running.until(lambda: len(running.sink.events) == 1, "the next line")
    assert running.sink.payloads() == [b"13.5"]
    assert running.counter("bad") == 1


def test_a_half_frame_at_an_unplug_is_counted(adapter: Adapter) -> None:
    running = opened(adapter)
    adapter.say(b"1\n12")
    running.until(lambda: len(running.sink.events) == 1, "the first line")
    adapter.unplug()
    running.until(lambda: running.source.state is SourceState.BACKOFF, "the loss noticed")
    assert running.counter("bad") == 1


def test_raw_capture_keeps_every_byte_with_the_time_of_the_first_of_a_burst(adapter: Adapter) -> None:
    config = SerialConfig(port=str(adapter.name), framing="raw", frame_timeout=Duration(0.1))
    running = opened(adapter, config)
    every = bytes(range(256)) + b"\xff\xff\x00\xff\x00\x00"
    before_ns = running.clock.boot_ns()
    adapter.say(every)
    running.for_a_while(0.02)
    between_ns = running.clock.boot_ns()
    running.until(lambda: len(running.sink.events) == 1, "the burst")
    (event,) = running.sink.events
    assert event.payload == every
    assert event.content_type == "application/octet-stream"
    assert before_ns <= event.time_ns <= between_ns
    assert running.counter("breaks") == running.counter("damaged_bytes") == 0


def test_a_capture_that_was_not_complete_is_kept_when_the_adapter_is_pulled_out(adapter: Adapter) -> None:
    running = opened(adapter, SerialConfig(port=str(adapter.name), framing="raw", frame_timeout=Duration(60)))
    adapter.say(b"abc")
    running.for_a_while(0.1)
    assert running.sink.payloads() == []
    adapter.unplug()
    running.until(lambda: running.source.state is SourceState.BACKOFF, "the loss noticed")
    running.until(lambda: running.sink.payloads() == [b"abc"], "what there was")


def test_binary_frames_are_read_from_a_terminal_as_they_were_sent(adapter: Adapter) -> None:
    running = opened(adapter, SerialConfig(port=str(adapter.name), framing="cobs"))
    packet = bytes(range(256)) * 2
    adapter.say(cobs(packet) * 3)
    running.until(lambda: len(running.sink.events) == 3, "three packets")
    assert set(running.sink.payloads()) == {packet}


def test_a_source_says_nothing_about_the_wall_clock(adapter: Adapter) -> None:
    """The time of a reading is the boot clock's, whatever year it is."""
    adapter.plug_in()
    clock = FakeClock(wall_ns=0)
    config = SerialConfig(port=str(adapter.name))
    running = Running(lambda settings, clock: SerialDriver(config, settings, clock), SETTINGS, clock=clock)
    running.until(lambda: running.source.state is SourceState.RUNNING, "the port")
    adapter.say(b"1\n")
    running.until(lambda: len(running.sink.events) == 1, "the line")
    assert running.sink.events[0].time_ns == clock.boot_ns()
