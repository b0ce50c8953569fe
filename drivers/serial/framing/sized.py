"""Frames that say, or are known to have, their size: fixed length and length-prefixed, found again by a sync and a checksum."""

from __future__ import annotations

from collections.abc import Callable

from drivers.serial.framing.checksums import Checksum, Order
from drivers.serial.framing.contract import Reading

CHECKED_PER_BYTE = 64
"""Bytes put through a checksum for each byte received, in the long run: garbage full of false syncs costs no more."""
MAX_CREDIT_BYTES = 1 << 20

SizeOf = Callable[[bytearray, int], int | None]
"""The size of the frame at a place in a buffer: None where that is not known yet, 0 where it can't be one."""


def fixed_size(size_bytes: int) -> SizeOf:
    """Every frame has `size_bytes`."""
    return lambda buffer, at: size_bytes


def prefixed_size(offset: int, width: int, order: Order, adds: int, least: int, most: int) -> SizeOf:
    """A field of `width` bytes, `offset` bytes into the frame, says its size less `adds`. Sizes are `least` to `most`."""

    def size_of(buffer: bytearray, at: int) -> int | None:
        field = buffer[at + offset : at + offset + width]
        if len(field) < width:
            return None
        size = int.from_bytes(field, order) + adds
        return size if least <= size <= most else 0

    return size_of


class SizedFramer:
    """Whole frames, with their sync, length and checksum.

    With a `sync`, what begins none is skipped, and after a frame that proves wrong the search goes on behind the first byte
    of it: so a good frame is found however it was reached. Without one, a wrong frame leaves nothing to go by, and everything
    up to the next gap is left out.

    A run of garbage counts as one bad frame; where the size is known, as one for each `counted_bytes` begun. What is still in
    the extent of a frame that was counted does not count again. Keeps at most one frame and what came last.
    """

    def __init__(self, sync: bytes, size_of: SizeOf, checksum: Checksum, counted_bytes: int | None = None) -> None:
        self._sync = sync
        self._size_of = size_of
        self._checksum = checksum
        self._counted_bytes = counted_bytes
        self._buffer = bytearray()
        self._lost = False
        self._covered = 0
        self._in_bad = False
        self._spoiled: list[int] = []
        self._credit_bytes = MAX_CREDIT_BYTES
        self.bad = 0

    @property
    def pending(self) -> bool:
        return bool(self._buffer) or self._lost

    def feed(self, data: bytes, time_ns: int = 0) -> list[Reading]:
        if self._lost:
            return []
        self._buffer += data
        self._credit_bytes = min(MAX_CREDIT_BYTES, self._credit_bytes + CHECKED_PER_BYTE * len(data))
        readings: list[Reading] = []
        at = 0
        while at < len(self._buffer) and not self._lost:
            found = self._find(at)
            self._skip(at, found)
            at = found
            if len(self._buffer) - at < len(self._sync):
                break
            size = self._size_of(self._buffer, at)
            if size is None or len(self._buffer) - at < size:
                break
            if size and self._right(at, size):
                readings.append(Reading(bytes(self._buffer[at : at + size])))
                at += size
                self._covered = at
                self._in_bad = False
            else:
                at = self._wrong(at, size)
        self._forget(at)
        return readings

    def spoil(self, data: bytes, time_ns: int = 0) -> list[Reading]:
        last = len(self._buffer) + len(data) - 1
        if last >= 0 and not self._lost and self._spoiled[-1:] != [last]:
            self._spoiled.append(last)
        return self.feed(data, time_ns)

    def gap(self) -> list[Reading]:
        if len(self._buffer) > self._covered:
            self.bad += 1
        self._buffer.clear()
        self._spoiled.clear()
        self._covered = 0
        self._lost = self._in_bad = False
        return []

    def _find(self, at: int) -> int:
        """Where the next frame may begin: at a sync, or the part of one that ends the buffer."""
        if not self._sync:
            return at
        found = self._buffer.find(self._sync, at)
        if found >= 0:
            return found
        for length in range(min(len(self._sync) - 1, len(self._buffer) - at), 0, -1):
            if self._buffer.endswith(self._sync[:length]):
                return len(self._buffer) - length
        return len(self._buffer)

    def _skip(self, at: int, found: int) -> None:
        """What lies between is garbage. Of an unknown size, what follows a bad frame may well be the rest of it."""
        while (at := max(at, self._covered)) < found:
            if self._counted_bytes is None:
                self.bad += not self._in_bad
                at = found
            else:
                self.bad += 1
                self._covered = at + self._counted_bytes
            self._in_bad = True

    def _right(self, at: int, size: int) -> bool:
        if any(at <= spoiled < at + size for spoiled in self._spoiled):
            return False
        self._credit_bytes -= size
        return self._checksum.right(bytes(self._buffer[at : at + size]))

    def _wrong(self, at: int, size: int) -> int:
        """Count the frame at `at`, unless it lies in one that was counted. Where to go on."""
        if at >= self._covered:
            self.bad += 1
            self._covered = at + max(size, 1)
        self._in_bad = True
        if not self._sync:
            self._lost = True
            return len(self._buffer)
        # Once the credit is used up a false sync costs the bytes that it claims.
        return at + 1 if self._credit_bytes > 0 else at + max(size, 1)

    def _forget(self, at: int) -> None:
        if self._lost:
            at = len(self._buffer)
        del self._buffer[:at]
        self._covered = max(0, self._covered - at)
        self._spoiled = [spoiled - at for spoiled in self._spoiled if spoiled >= at]
