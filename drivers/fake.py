"""Stand-ins at this package's two seams, for tests: a device with its driver, and a store that only records."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import ClassVar

from drivers.contract import Delivery, DeviceLostError, DriverError, Shape, SourceSettings, config, new_counters
from storage.clock import Clock
from storage.errors import StorageError
from storage.event import Event
from storage.model import Append, Frame, Position, Receipt, StreamConfig
from storage.ticket import Ticket


class RecordingSink:
    """A store in memory that commits when told to, and refuses what it is told to refuse.

    `refuse_payload` is raised by every `submit` that contains this payload (a poison record), `refuse_with` by every other.
    What is for a stream that is `sealed` when it commits is left out.
    """

    def __init__(self) -> None:
        self.streams: dict[str, StreamConfig] = {}
        self.events: list[Event] = []
        self._cursors: dict[str, bytes] = {}
        self.sealed: set[str] = set()
        self.commits = 0
        self.refuse_with: StorageError | None = None
        self.refuse_payload: tuple[bytes, StorageError] | None = None
        self._waiting: deque[tuple[list[Append], dict[str, bytes], Ticket]] = deque()

    def submit(
        self, appends: Sequence[Append], cursors: Mapping[str, bytes] | None = None, *, whole: bool = True
    ) -> Ticket:
        assert not whole, "a source lets the store leave out what is sealed"
        if self.refuse_payload is not None:
            poison, error = self.refuse_payload
            if any(poison in frame.payloads for append in appends for frame in append.frames):
                raise error
        if self.refuse_with is not None:
            raise self.refuse_with
        ticket = Ticket(self)
        self._waiting.append((list(appends), dict(cursors or {}), ticket))
        return ticket

    def create_stream(self, name: str, config: StreamConfig | None = None) -> bool:
        new = name not in self.streams
        self.streams.setdefault(name, config or StreamConfig())
        return new

    def has_stream(self, name: str) -> bool:
        return name in self.streams

    def takes(self, name: str) -> bool:
        return name not in self.sealed

    def cursor(self, name: str) -> bytes | None:
        return self._cursors.get(name)

    def cursors(self) -> dict[str, bytes]:
        return dict(self._cursors)

    def drive(self) -> bool:
        return self.commit()

    def wait_for_outcomes(self, ticket: Ticket, timeout_s: float) -> None:
        """Nobody else commits: there is nothing to wait for."""

    def commit(self, at_most: int | None = None) -> bool:
        """Make what waits durable, the oldest `at_most` submissions of it."""
        count = len(self._waiting) if at_most is None else min(at_most, len(self._waiting))
        for _ in range(count):
            appends, cursors, ticket = self._waiting.popleft()
            self.commits += 1
            left_out = tuple(append.stream for append in appends if append.stream in self.sealed)
            for append in appends:
                if append.stream not in self.sealed:
                    self._store(append)
            moved = self._cursors | cursors
            self._cursors = {name: state for name, state in moved.items() if state}
            ticket.resolve(Receipt(self.commits, tuple(None for _ in appends), len(appends), 0, left_out))
        return count > 0

    def fail(self, error: StorageError) -> None:
        """Everything that waits is refused with `error`, and so is everything after it."""
        self.refuse_with = error
        while self._waiting:
            self._waiting.popleft()[2].resolve(error)

    def lose_power(self) -> None:
        """What was not committed is gone."""
        self._waiting.clear()

    @property
    def waiting(self) -> int:
        """Submissions not committed."""
        return len(self._waiting)

    def payloads(self, stream: str | None = None) -> list[bytes]:
        return [event.payload for event in self.events if stream in (None, event.stream)]

    def _store(self, append: Append) -> None:
        assert append.stream in self.streams, f"append to {append.stream}, which nobody created"
        for frame in append.frames:
            for index, payload in enumerate(frame.payloads):
                offset = len(self.events)
                time_ns = frame.times_ns[index] if frame.times_ns is not None else frame.captured_ns or 0
                self.events.append(
                    Event(
                        stream=append.stream,
                        position=Position(0, 0, offset),
                        next=Position(0, 0, offset + 1),
                        time_ns=time_ns,
                        routing_key=frame.routing_key,
                        writer=None,
                        number=None,
                        content_type=frame.content_type,
                        headers=frame.headers,
                        payload=payload,
                    )
                )


class FakeDevice:
    """A device that outlives its drivers. `say` puts something on the line; `errors` are raised by the next polls.

    It keeps what was said until it is acknowledged, and says it again to the next driver, in order.
    """

    def __init__(self) -> None:
        self.plugged_in = True
        self.errors: deque[Exception] = deque()
        self.ack_errors: deque[Exception] = deque()
        self.opened_with: list[bytes | None] = []
        self.closed = 0
        self.polls = 0
        self.unacknowledged: list[bytes] = []
        self.acknowledged: list[bytes] = []
        self.delivered = 0

    def say(self, *payloads: bytes) -> None:
        self.unacknowledged += payloads


@config
class FakeConfig:
    """The fake device has no settings of its own."""

    per_poll: int = 1
    """Payloads in one delivery."""


class FakeDriver:
    """Reads a FakeDevice. Acknowledged; its subclasses are of the other shapes."""

    Config = FakeConfig
    shape: ClassVar[Shape] = Shape.ACKNOWLEDGED
    pushback: ClassVar[str] = "waits; the device keeps what was not acknowledged"
    waits_in_poll: ClassVar[bool] = False

    def __init__(self, device: FakeDevice, settings: SourceSettings, clock: Clock, config: FakeConfig) -> None:
        self._device = device
        self._settings = settings
        self._clock = clock
        self._config = config
        self._counters = new_counters()

    @property
    def counters(self) -> Mapping[str, int]:
        return self._counters

    def open(self, state: bytes | None) -> None:
        if not self._device.plugged_in:
            raise DeviceLostError("the fake device is not plugged in: plug it in")
        self._device.opened_with.append(state)
        self._device.delivered = 0

    def poll(self, timeout_s: float) -> Delivery | None:
        device = self._device
        device.polls += 1
        if device.errors:
            raise device.errors.popleft()
        if not device.plugged_in:
            raise DeviceLostError("the fake device was unplugged: plug it in")
        payloads = device.unacknowledged[device.delivered : device.delivered + self._config.per_poll]
        if not payloads:
            return None
        device.delivered += len(payloads)
        self._counters["good"] += len(payloads)
        self._counters["bytes"] += sum(map(len, payloads))
        frame = Frame(payloads, routing_key=self._settings.routing_key, captured_ns=self._clock.boot_ns())
        return Delivery((Append(self._settings.stream, (frame,)),), self._cursor(payloads), token=len(payloads))

    def ack(self, delivery: Delivery) -> None:
        device = self._device
        if device.ack_errors:
            raise device.ack_errors.popleft()
        count = delivery.token
        if not isinstance(count, int):
            raise DriverError("a delivery that this driver did not make")
        device.acknowledged += device.unacknowledged[:count]
        del device.unacknowledged[:count]
        device.delivered -= count

    def close(self) -> None:
        self._device.closed += 1

    def _cursor(self, payloads: Sequence[bytes]) -> bytes | None:
        return None


class MemorylessFakeDriver(FakeDriver):
    """What it read is gone from the device at once."""

    shape: ClassVar[Shape] = Shape.MEMORYLESS
    pushback: ClassVar[str] = "reads on; what does not fit is lost and counted"

    def poll(self, timeout_s: float) -> Delivery | None:
        delivery = super().poll(timeout_s)
        del self._device.unacknowledged[: self._device.delivered]
        self._device.delivered = 0
        return delivery

    def ack(self, delivery: Delivery) -> None:
        if self._device.ack_errors:
            raise self._device.ack_errors.popleft()


class CursoredFakeDriver(FakeDriver):
    """Its cursor is the last payload handed over."""

    shape: ClassVar[Shape] = Shape.CURSORED

    def _cursor(self, payloads: Sequence[bytes]) -> bytes | None:
        return payloads[-1]
