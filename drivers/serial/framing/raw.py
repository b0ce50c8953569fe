"""What the line carried, uncut: chunks as they came, each with the time of its first byte."""

from __future__ import annotations

from drivers.serial.framing.contract import Reading


class RawFramer:
    """Every chunk is a reading; with `until_gap`, all that comes between two gaps is one, of at most `max_bytes`.

    Nothing is bad: bytes that the receiver calls damaged are captured as it read them.
    """

    def __init__(self, max_bytes: int, *, until_gap: bool) -> None:
        self._max_bytes = max_bytes
        self._until_gap = until_gap
        self._buffer = bytearray()
        self._began_ns = 0
        self.bad = 0

    @property
    def pending(self) -> bool:
        return bool(self._buffer)

    def feed(self, data: bytes, time_ns: int = 0) -> list[Reading]:
        readings = []
        if self._buffer and len(self._buffer) + len(data) > self._max_bytes:
            readings += self.gap()
        if not self._buffer:
            self._began_ns = time_ns
        self._buffer += data
        while len(self._buffer) >= self._max_bytes or (self._buffer and not self._until_gap):
            readings.append(Reading(bytes(self._buffer[: self._max_bytes]), time_ns=self._began_ns))
            del self._buffer[: self._max_bytes]
            self._began_ns = time_ns
        return readings

    def spoil(self, data: bytes, time_ns: int = 0) -> list[Reading]:
        return self.feed(data, time_ns)

    def gap(self) -> list[Reading]:
        if not self._buffer:
            return []
        reading = Reading(bytes(self._buffer), time_ns=self._began_ns)
        self._buffer.clear()
        return [reading]
