"""What a framer is: bytes in as they come off the line, readings out. No input or output here."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from storage.model import Headers


class Reading(NamedTuple):
    """One frame, and what is known of it besides.

    `content_type` is empty where it is the framing's own. `time_ns`, on the boot clock, is given where it is not the time
    at which the frame was complete.
    """

    payload: bytes
    headers: Headers = ()
    content_type: str = ""
    time_ns: int | None = None


class Framer(Protocol):
    """Cuts a byte stream into readings. However the bytes are cut into chunks, the readings are the same."""

    @property
    def bad(self) -> int:
        """Pieces that were no reading: too long, cut off, damaged, a wrong checksum, no match."""

    @property
    def pending(self) -> bool:
        """Something has begun that is not complete."""

    def feed(self, data: bytes, time_ns: int = 0) -> list[Reading]:
        """The readings that `data` completes, which came at `time_ns`."""

    def spoil(self, data: bytes, time_ns: int = 0) -> list[Reading]:
        """A byte came that the receiver says is damaged, or a break (b""): the frame that it falls into is bad.

        The readings that are complete now: where a false frame proves wrong, there may be good ones in it.
        """

    def gap(self) -> list[Reading]:
        """The line was silent for as long as it never is within a frame: what is not complete is given up."""
