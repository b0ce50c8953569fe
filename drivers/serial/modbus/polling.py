"""Whose turn it is, and when: silence between frames, timeouts, retries, backoff. No input or output, time is told.

Steps of whoever drives it, again and again
    1. `request(now)`: bytes to put on the line, or None.
    2. Wait for bytes, at most until `wake_ns`.
    3. `take(bytes, now)` with what came, also when nothing did: the rounds that ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from drivers.serial.modbus.exchange import Exchange
from drivers.serial.modbus.plan import Round

BITS_PER_CHARACTER = 11
FAST_BAUD = 19_200
FAST_SILENCE_S = 0.00175
FIRST_BACKOFF_S = 1.0
MOST_BABBLE_S = 5.0
GIVE_UP_AFTER = 3
"""So many times in a row without an answer from any device."""


def silence_s(baud: int) -> float:
    """Between two frames (V1.02, 2.5.1.1)."""
    return FAST_SILENCE_S if baud > FAST_BAUD else 3.5 * BITS_PER_CHARACTER / baud


@dataclass(frozen=True, slots=True)
class Ended:
    """A round that ended. `answered` is False where the device was silent: then there are no values."""

    round: Round
    answered: bool
    values: Mapping[str, int | float | bool] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Device:
    """`silent` rounds in a row without an answer; nothing is asked of it before `not_before_ns`."""

    silent: int = 0
    not_before_ns: int = 0


@dataclass
class _Running:
    """The round that is on: what is still to be asked, and what was answered."""

    round: Round
    next: int = 0
    attempts: int = 0
    values: dict[str, int | float | bool] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


class Polling:
    """Asks in turn. Times are of the boot clock, in nanoseconds."""

    def __init__(
        self, rounds: Sequence[Round], baud: int, timeout_s: float, retries: int, max_backoff_s: float, now_ns: int
    ) -> None:
        # In the order in which they were last asked.
        self._due_ns = dict.fromkeys(rounds, now_ns)
        self._devices = {asked.device: _Device() for asked in rounds}
        self._character_ns = int(BITS_PER_CHARACTER * 1e9 / baud)
        self._silence_ns = int(silence_s(baud) * 1e9)
        self._timeout_ns = int(timeout_s * 1e9)
        self._retries = retries
        self._max_backoff_s = max_backoff_s
        self._quiet_from_ns = now_ns
        self._running: _Running | None = None
        self._exchange: Exchange | None = None
        self._asked_ns = now_ns
        self._deadline_ns = 0
        self.counters = {"timeouts": 0, "exceptions": 0, "bad": 0, "lost": 0}

    @property
    def all_silent(self) -> bool:
        """No device has answered for a while."""
        return min((device.silent for device in self._devices.values()), default=0) >= GIVE_UP_AFTER

    def backoff_s(self, device: int, now_ns: int) -> float:
        """How long a device is left alone."""
        return max(0.0, (self._devices[device].not_before_ns - now_ns) / 1e9)

    @property
    def wake_ns(self) -> int:
        """When something is to be done though nothing comes."""
        if self._exchange is not None:
            return self._deadline_ns
        if self._running is not None:
            return max(self._free_ns, self._devices[self._running.round.device].not_before_ns)
        return max(self._free_ns, min(map(self._ready_ns, self._due_ns)))

    @property
    def _free_ns(self) -> int:
        return self._quiet_from_ns + self._silence_ns

    def _ready_ns(self, due: Round) -> int:
        """When it can begin, or be left out."""
        device = self._devices[due.device]
        return self._due_ns[due] if device.silent else max(self._due_ns[due], device.not_before_ns)

    def give_up_babble(self, now_ns: int) -> bool:
        """True, and what is due is lost: somebody talks all the time, and nothing could be asked for a while."""
        waiting_ns = now_ns - max(self._asked_ns, min(self._due_ns.values()))
        if self._running is not None or waiting_ns < MOST_BABBLE_S * 1e9:
            return False
        for due, due_ns in self._due_ns.items():
            self.counters["lost"] += max(0, (now_ns - due_ns) // int(due.interval_s * 1e9) + 1)
            self._due_ns[due] = now_ns
        return True

    def request(self, now_ns: int) -> bytes | None:
        """What goes out now, if anything does."""
        if self._exchange is not None or now_ns < self._free_ns:
            return None
        if self._running is None:
            self._running = self._next_round(now_ns)
        running = self._running
        if running is None or now_ns < self._devices[running.round.device].not_before_ns:
            return None
        exchange = Exchange(running.round.requests[running.next])
        running.attempts += 1
        self._exchange = exchange
        self._asked_ns = now_ns
        self._quiet_from_ns = now_ns + len(exchange.sent) * self._character_ns
        self._deadline_ns = self._quiet_from_ns + exchange.answer_bytes * self._character_ns + self._timeout_ns
        return exchange.sent

    def take(self, data: bytes, now_ns: int) -> Ended | None:
        """What came, if anything did, and the round that ended with it."""
        if data:
            self._quiet_from_ns = max(self._quiet_from_ns, now_ns)
        exchange, running = self._exchange, self._running
        if exchange is None or running is None:
            # Nobody was asked: noise, or an answer that came too late.
            self.counters["bad"] += bool(data)
            return None
        answer = exchange.feed(data) if data else None
        if answer is None:
            return self._timed_out(exchange, running, now_ns) if now_ns >= self._deadline_ns else None
        self._exchange = None
        device = self._devices[running.round.device]
        device.silent = 0
        if running.attempts > 1:
            device.not_before_ns = now_ns + self._timeout_ns
        self.counters["exceptions"] += answer.exception
        running.values.update(answer.values)
        running.errors.update(answer.errors)
        running.next += 1
        running.attempts = 0
        if running.next < len(running.round.requests):
            return None
        self._running = None
        return Ended(running.round, True, running.values, running.errors)

    def _timed_out(self, exchange: Exchange, running: _Running, now_ns: int) -> Ended | None:
        self._exchange = None
        self.counters["timeouts"] += 1
        self.counters["bad"] += exchange.unused
        device = self._devices[running.round.device]
        # One that was silent before is not worth a second attempt: the others wait meanwhile.
        if running.attempts <= self._retries and not device.silent:
            return None
        self._running = None
        self.counters["lost"] += 1
        backoff_s = min(self._max_backoff_s, FIRST_BACKOFF_S * 2 ** min(device.silent, 30))
        device.silent += 1
        device.not_before_ns = now_ns + int(backoff_s * 1e9)
        return Ended(running.round, False)

    def _next_round(self, now_ns: int) -> _Running | None:
        """Of those that are due the one that was asked longest ago; of a device that is left alone it is lost."""
        for due in list(self._due_ns):
            if self._ready_ns(due) > now_ns:
                continue
            device = self._devices[due.device]
            left_alone = device.silent and now_ns < device.not_before_ns
            due_ns, interval_ns = self._due_ns[due], int(due.interval_s * 1e9)
            missed = (now_ns - due_ns) // interval_ns
            self.counters["lost"] += missed + bool(left_alone)
            next_ns = due_ns + (missed + 1) * interval_ns
            if left_alone:
                self._due_ns[due] = next_ns
                continue
            # To the end of the order.
            del self._due_ns[due]
            self._due_ns[due] = next_ns
            return _Running(due)
        return None
