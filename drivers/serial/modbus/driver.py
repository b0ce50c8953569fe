"""The Modbus driver: the line and the clock for `polling`, and readings of what it yields."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import ClassVar

from drivers.contract import Delivery, DeviceLostError, DriverConfigError, Shape, SourceSettings, new_counters
from drivers.serial.line import Line
from drivers.serial.marks import Kind, Piece
from drivers.serial.modbus.config import ModbusConfig, check
from drivers.serial.modbus.plan import rounds
from drivers.serial.modbus.polling import Ended, Polling
from storage.clock import Clock
from storage.model import Append, Frame

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_log = logging.getLogger(__name__)


class ModbusDriver:
    """Polls Modbus devices on a serial line. See the package docstring."""

    Config = ModbusConfig
    shape: ClassVar[Shape] = Shape.MEMORYLESS
    pushback: ClassVar[str] = "asks on; readings that do not fit are lost and counted"
    waits_in_poll: ClassVar[bool] = True

    def __init__(self, config: ModbusConfig, settings: SourceSettings, clock: Clock) -> None:
        check(config, settings.name)
        self._config = config
        self._settings = settings
        self._clock = clock
        self._rounds = rounds(config)
        self._units = {(register.device, register.name): register.unit for register in config.registers}
        self._line: Line | None = None
        self._polling: Polling | None = None
        self._silent: set[int] = set()
        self._told: dict[tuple[int, str], str] = {}
        self._counters = new_counters() | {"timeouts": 0, "exceptions": 0, "breaks": 0}

    @property
    def counters(self) -> Mapping[str, int]:
        return self._counters | (self._polling.counters if self._polling is not None else {})

    def open(self, state: bytes | None) -> None:
        config, name = self._config, self._settings.name
        if not self._rounds:
            raise DriverConfigError(f"source {name}: registers is empty: list what to read")
        try:
            self._line = Line(config.port, config.baud, 8, config.parity, config.stopbits)
        except ValueError as error:
            raise DriverConfigError(
                f"source {name}: {config.port} can't be set up as configured ({error}): correct baud, parity or stopbits"
            ) from error
        except DeviceLostError as error:
            raise DeviceLostError(f"source {name}: {error}") from error
        self._polling = Polling(
            self._rounds, config.baud, config.timeout, config.retries, config.max_backoff, self._clock.boot_ns()
        )

    def poll(self, timeout_s: float) -> Delivery | None:
        """Ask, and wait for answers, for `timeout_s` at most: an exchange goes on in the next poll."""
        line, polling = self._line, self._polling
        assert line is not None and polling is not None, "poll before open"
        left_s = timeout_s
        try:
            while True:
                now_ns = self._clock.boot_ns()
                request = polling.request(now_ns)
                if request is not None:
                    line.write(request)
                wait_s = min(left_s, max(0.0, (polling.wake_ns - now_ns) / 1e9))
                pieces = line.read(wait_s)
                after_ns = self._clock.boot_ns()
                ended = polling.take(self._data(pieces), after_ns)
                if ended is not None:
                    return self._told_and_delivered(ended, after_ns)
                if pieces and polling.give_up_babble(after_ns):
                    raise DeviceLostError(
                        f"{self._config.port} is never silent: a device talks unasked, or another client asks on this line; "
                        "find it and disconnect it; it is tried again by itself"
                    )
                left_s -= max((after_ns - now_ns) / 1e9, 0.0 if pieces else wait_s)
                if left_s <= 0:
                    return None
        except DeviceLostError as error:
            raise DeviceLostError(f"source {self._settings.name}: {error}") from error

    def ack(self, delivery: Delivery) -> None:
        """No device waits for it."""

    def interrupt(self) -> None:
        """As `ack`: a poll goes on."""

    def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def _data(self, pieces: Sequence[Piece]) -> bytes:
        """Damaged bytes stay in: the checksum is there for them."""
        self._counters["breaks"] += sum(piece.kind is Kind.BREAK for piece in pieces)
        return b"".join([piece.data for piece in pieces])

    def _told_and_delivered(self, ended: Ended, now_ns: int) -> Delivery | None:
        if not ended.answered:
            self._tell_silence(ended.round.device, now_ns)
            return None
        self._tell_answer(ended)
        return self._delivery(ended, now_ns)

    def _tell_silence(self, device: int, now_ns: int) -> None:
        config, polling, name = self._config, self._polling, self._settings.name
        assert polling is not None
        if polling.all_silent:
            raise DeviceLostError(
                f"no device answers at {config.port} with {config.baud} baud, parity {config.parity}, {config.stopbits} stop "
                f"bits (asked: {', '.join(map(str, sorted({asked.device for asked in self._rounds})))}): check power, wiring "
                "(A and B swapped?), addresses and these settings; it is tried again by itself"
            )
        if device not in self._silent:
            self._silent.add(device)
            _log.warning(
                "source %s: device %d does not answer within %s: check its power, wiring and address; asked again in %.0f s "
                "and then on",
                name,
                device,
                config.timeout,
                polling.backoff_s(device, now_ns),
            )

    def _tell_answer(self, ended: Ended) -> None:
        """What changed, once."""
        name, device = self._settings.name, ended.round.device
        if device in self._silent:
            self._silent.discard(device)
            _log.info("source %s: device %d answers again", name, device)
        for register, error in ended.errors.items():
            if self._told.get((device, register)) != error:
                _log.warning("source %s: device %d: %s: %s", name, device, register, error)
                self._told[device, register] = error
        for register in ended.values:
            self._told.pop((device, register), None)

    def _delivery(self, ended: Ended, now_ns: int) -> Delivery:
        device = ended.round.device
        said: dict[str, object] = {"device": device, **ended.values}
        said["units"] = {name: unit for name in ended.values if (unit := self._units[device, name])}
        if ended.errors:
            said["errors"] = dict(ended.errors)
        payload = _ENCODER.encode(said).encode()
        self._counters["good"] += 1
        self._counters["bytes"] += len(payload)
        frame = Frame(
            [payload],
            routing_key=self._settings.routing_key,
            content_type=self._settings.content_type or "application/json",
            captured_ns=now_ns,
        )
        return Delivery((Append(self._settings.stream, (frame,)),))
