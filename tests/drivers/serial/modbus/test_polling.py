"""Asking in turn, on a bus that is simulated in time: silence, timeouts, retries, backoff, and who waits for whom."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from drivers.serial.framing.checksums import crc16_modbus
from drivers.serial.modbus import ModbusConfig, Register
from drivers.serial.modbus.plan import rounds
from drivers.serial.modbus.polling import Ended, Polling, silence_s
from storage.units import Duration

BAUD = 9600
CHARACTER_S = 11 / BAUD

Device = Callable[[bytes, int], Sequence[tuple[float, bytes]]]
"""What it says to a request, the how-manieth: delays after the request was heard, and bytes."""


def signed(body: bytes) -> bytes:
    return body + crc16_modbus(body).to_bytes(2, "little")


def answer(request: bytes) -> bytes:
    """Every register holds its address."""
    device, function, address, count = struct.unpack(">BBHH", request[:6])
    if function in (3, 4):
        data = b"".join(struct.pack(">H", address + index) for index in range(count))
    else:
        data = bytes((count + 7) // 8)
    return signed(bytes([device, function, len(data)]) + data)


def good(request: bytes, number: int) -> Sequence[tuple[float, bytes]]:
    return [(0.01, answer(request))]


def dead(request: bytes, number: int) -> Sequence[tuple[float, bytes]]:
    return []


class Bus:
    """Devices by address; `sent` are the requests with the time at which they began."""

    def __init__(self, config: ModbusConfig, devices: dict[int, Device]) -> None:
        self.now_ns = 0
        self.polling = Polling(
            rounds(config), config.baud, config.timeout, config.retries, config.max_backoff, self.now_ns
        )
        self.devices = devices
        self.sent: list[tuple[float, bytes]] = []
        self.ended: list[tuple[float, Ended]] = []
        self.busy_until_s: list[float] = [0.0]
        self._coming: list[tuple[int, bytes]] = []
        self._heard: Counter[int] = Counter()

    def say(self, at_s: float, data: bytes) -> None:
        """Somebody says something unasked."""
        self._coming.append((int(at_s * 1e9), data))

    def run(self, until_s: float) -> None:
        while self.now_ns < until_s * 1e9:
            request = self.polling.request(self.now_ns)
            if request is not None:
                self._send(request)
            self._coming.sort()
            next_ns = min([self.polling.wake_ns, *(at_ns for at_ns, _ in self._coming[:1]), int(until_s * 1e9)])
            self.now_ns = max(self.now_ns + 1, next_ns)
            data = b""
            if self._coming and self._coming[0][0] <= self.now_ns:
                data = self._coming.pop(0)[1]
            ended = self.polling.take(data, self.now_ns)
            if ended is not None:
                self.ended.append((self.now_ns / 1e9, ended))

    def _send(self, request: bytes) -> None:
        now_s = self.now_ns / 1e9
        self.sent.append((now_s, request))
        heard_s = now_s + len(request) * CHARACTER_S
        for delay_s, data in self.devices[request[0]](request, self._heard[request[0]]):
            self._coming.append((int((heard_s + delay_s + len(data) * CHARACTER_S) * 1e9), data))
        self._heard[request[0]] += 1

    def answered(self, device: int) -> int:
        return sum(ended.answered for _, ended in self.ended if ended.round.device == device)

    def asked(self, device: int) -> list[float]:
        return [at_s for at_s, request in self.sent if request[0] == device]


def config(*registers: Register, **settings: float) -> ModbusConfig:
    return ModbusConfig(
        registers=registers,
        baud=BAUD,
        interval=Duration(settings.get("interval_s", 1.0)),
        timeout=Duration(settings.get("timeout_s", 0.2)),
        retries=int(settings.get("retries", 1)),
        max_backoff=Duration(settings.get("max_backoff_s", 60.0)),
    )


def one(device: int = 1, address: int = 0, **more: float) -> Register:
    return Register(name=f"r{address}", device=device, address=address, interval=Duration(more.get("interval_s", 0.0)))


def test_each_register_is_read_at_its_interval() -> None:
    bus = Bus(config(one(address=0), one(address=9, interval_s=0.25)), {1: good})
    bus.run(10.0)
    seconds = [at_s for at_s, ended in bus.ended if "r0" in ended.values]
    quarters = [at_s for at_s, ended in bus.ended if "r9" in ended.values]
    assert (len(seconds), len(quarters)) == (10, 40)
    assert bus.ended[0][1].values == {"r0": 0}
    assert dict(bus.polling.counters) == {"timeouts": 0, "exceptions": 0, "bad": 0, "lost": 0}


@pytest.mark.parametrize(
    ("baud", "expected_s"),
    [(1200, 0.0320833), (9600, 0.0040104), (19_200, 0.0020052), (19_201, 0.00175), (115_200, 0.00175)],
)
def test_the_silence_between_frames_is_the_standards(baud: int, expected_s: float) -> None:
    assert silence_s(baud) == pytest.approx(expected_s, abs=1e-7)


def test_no_request_goes_out_before_the_line_was_silent_long_enough() -> None:
    bus = Bus(
        config(*(one(device, address) for device in (1, 2) for address in (0, 50, 100))), dict.fromkeys((1, 2), good)
    )
    bus.say(1.5, b"\x00")
    bus.run(3.0)
    last_s = 0.0
    for at_s, request in bus.sent:
        assert at_s >= last_s
        last_s = at_s + (len(request) + 7) * CHARACTER_S + 0.01 + silence_s(BAUD) - 1e-6
    assert len(bus.sent) == 18


def test_the_silence_counts_from_the_last_byte_that_anybody_said() -> None:
    bus = Bus(config(one()), {1: good})
    for step in range(100):
        bus.say(0.99 + step * 0.002, b"\x00")
    bus.run(1.5)
    assert bus.sent[1][0] >= 0.99 + 99 * 0.002 + silence_s(BAUD) - 1e-6


def test_a_lost_answer_is_asked_for_again_at_once() -> None:
    bus = Bus(config(one()), {1: lambda request, number: [] if number == 0 else good(request, number)})
    bus.run(0.9)
    assert bus.answered(1) == 1
    assert len(bus.sent) == 2
    assert (bus.polling.counters["timeouts"], bus.polling.counters["lost"]) == (1, 0)


def test_a_silent_device_is_left_alone_for_longer_and_longer_and_the_others_do_not_wait() -> None:
    bus = Bus(config(one(1), one(2), max_backoff_s=8), {1: good, 2: dead})
    bus.run(60.0)
    assert bus.answered(1) == 60
    # Two attempts, then single ones 1, 2, 4, 8, 8 … seconds after the one before, at the next second.
    assert [round(at_s) for at_s in bus.asked(2)] == [0, 0, 2, 5, 10, 19, 28, 37, 46, 55]
    assert bus.polling.counters["lost"] + bus.answered(2) == 60
    assert not bus.polling.all_silent


def test_a_device_that_is_back_is_asked_as_before() -> None:
    # Asked again at once, too, where one answer is lost later on.
    bus = Bus(config(one()), {1: lambda request, number: good(request, number) if number >= 4 and number != 8 else []})
    bus.run(20.0)
    back_s = bus.ended[[ended.answered for _, ended in bus.ended].index(True)][0]
    assert bus.answered(1) == 20 - int(back_s)
    assert bus.polling.counters["lost"] == int(back_s)


def test_when_nobody_answers_it_is_said() -> None:
    bus = Bus(config(one(1), one(2)), {1: dead, 2: dead})
    bus.run(3.0)
    assert not bus.polling.all_silent
    bus.run(10.0)
    assert bus.polling.all_silent


def test_an_exception_is_an_answer() -> None:
    refused = signed(b"\x01\x83\x02")
    bus = Bus(
        config(one(address=0), one(address=100)),
        {1: lambda request, number: good(request, number) if request[3] == 0 else [(0.01, refused)]},
    )
    bus.run(0.5)
    ((_, ended),) = bus.ended
    assert ended.values == {"r0": 0}
    assert ended.errors == {"r100": "exception 2: illegal data address"}
    assert bus.polling.counters["exceptions"] == 1


@pytest.mark.parametrize(
    "before", [b"\x00", b"\xff\x01", b"\x01\x03", signed(b"\x02\x03\x02\x00\x07"), b"\x01\x83\x02"]
)
def test_noise_and_other_devices_late_answers_cost_nothing(before: bytes) -> None:
    bus = Bus(config(one()), {1: lambda request, number: [(0.005, before), (0.02, answer(request) + b"\x00")]})
    bus.run(0.5)
    assert [ended.values for _, ended in bus.ended] == [{"r0": 0}]
    assert len(bus.sent) == 1


def test_the_echo_of_an_adapter_that_hears_itself_is_taken_off() -> None:
    # An echo that would pass for an answer: 24 coils from 768 on are asked for in as many bytes as they are told.
    register = Register(name="run", device=1, table="coil", address=0x0300)
    many = [Register(name=f"c{index}", device=1, table="coil", address=0x0301 + index) for index in range(23)]
    bus = Bus(config(register, *many), {1: lambda request, number: [(0.0, request), (0.01, answer(request))]})
    bus.run(0.5)
    ((_, ended),) = bus.ended
    assert ended.answered
    assert not any(ended.values.values())


def test_a_damaged_answer_is_counted_and_asked_for_again() -> None:
    def damaged(request: bytes, number: int) -> Sequence[tuple[float, bytes]]:
        said = answer(request)
        return [(0.01, said if number else said[:3] + bytes([said[3] ^ 1]) + said[4:])]

    bus = Bus(config(one()), {1: damaged})
    bus.run(0.9)
    assert bus.answered(1) == 1
    assert (bus.polling.counters["timeouts"], bus.polling.counters["bad"]) == (1, 1)


def test_an_answer_that_comes_too_late_is_not_taken_for_that_to_the_next_request() -> None:
    """Both answers to a repeated request come, the second when something else could have been asked for."""

    def late(request: bytes, number: int) -> Sequence[tuple[float, bytes]]:
        return [(0.25 if number == 0 else 0.15, answer(request))]

    bus = Bus(config(one(address=7), one(address=70)), {1: late})
    bus.run(2.0)
    assert [ended.values for _, ended in bus.ended] == [{"r7": 7, "r70": 70}] * 2


def test_a_line_that_cannot_keep_up_says_how_much_it_left_out() -> None:
    bus = Bus(config(one(1), one(2), interval_s=0.05), {1: good, 2: good})
    bus.run(10.0)
    in_all = bus.answered(1) + bus.answered(2)
    assert abs(bus.answered(1) - bus.answered(2)) <= 1
    assert in_all > 300
    assert 395 <= in_all + bus.polling.counters["lost"] <= 400


def test_a_line_that_is_never_silent_is_given_up() -> None:
    bus = Bus(config(one(1), one(2)), {1: good, 2: good})
    for step in range(4000):
        bus.say(0.5 + step * 0.002, b"U")
    bus.run(5.5)
    assert not bus.polling.give_up_babble(bus.now_ns)
    bus.run(6.2)
    assert bus.polling.give_up_babble(bus.now_ns)
    assert bus.polling.counters["lost"] == 12
    assert bus.polling.counters["bad"] > 2000


def test_a_byte_of_noise_on_a_line_that_cannot_keep_up_is_no_babble() -> None:
    slow = [one(device, interval_s=0.5) for device in range(1, 240)]
    bus = Bus(config(*slow), dict.fromkeys(range(1, 240), good))
    for step in range(100):
        bus.say(20 + step / 1e4, b"U")
    bus.run(20.01)
    assert min(bus.polling._due_ns.values()) < 14.9e9
    assert not bus.polling.give_up_babble(bus.now_ns)


def test_neighbours_are_read_together_and_nothing_that_nobody_asked_for() -> None:
    registers = (
        Register(name="a", address=0),
        Register(name="b", address=1, type="float32"),
        Register(name="c", address=4),
        Register(name="d", address=1),
        Register(name="e", address=0, table="input"),
        Register(name="f", address=3, table="coil"),
        Register(name="g", address=4, table="coil"),
        *(Register(name=f"n{index}", address=100 + 4 * index, type="int64") for index in range(40)),
    )
    (only,) = rounds(config(*registers))
    assert [(request.table, request.address, request.count) for request in only.requests] == [
        ("coil", 3, 2),
        ("holding", 0, 3),
        ("holding", 4, 1),
        ("holding", 100, 124),
        ("holding", 224, 36),
        ("input", 0, 1),
    ]
    assert sorted(register.name for request in only.requests for register in request.registers) == sorted(
        register.name for register in registers
    )
