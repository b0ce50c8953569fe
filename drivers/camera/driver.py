"""The camera driver: a capturing process, and what becomes of its frames. See the package docstring."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from drivers.camera import records
from drivers.camera.child import Child
from drivers.camera.config import CameraConfig, check, make_job, shown
from drivers.camera.packet import Packet, to_frame
from drivers.contract import Delivery, DeviceLostError, Shape, SourceSettings, new_counters
from storage.clock import Clock
from storage.model import BULK, Append, StreamConfig

OPENED = b"opened"
"""The cursor: it says that this source's stream goes on, and is not at its start."""
SKIPPED = "skipped"

_log = logging.getLogger(__name__)


class CameraDriver:
    """Brings a camera's encoded frames."""

    Config = CameraConfig
    shape: ClassVar[Shape] = Shape.MEMORYLESS
    pushback: ClassVar[str] = "skips to the next key frame and counts"
    waits_in_poll: ClassVar[bool] = True
    stream_config: ClassVar[StreamConfig] = StreamConfig(kind=BULK, when_full="drop-oldest", durable_every_s=1.0)

    def __init__(self, config: CameraConfig, settings: SourceSettings, clock: Clock) -> None:
        check(config, settings.name)
        self._config = config
        self._settings = settings
        self._clock = clock
        self._child: Child | None = None
        self._alive_ns = 0
        self._hangs = False
        self._ended_by = ""
        self._trouble: str | None = None
        self._played = False
        self._skipping = False
        self._cursor: bytes | None = None
        self._counters = {**new_counters(), "gated": 0}

    @property
    def counters(self) -> Mapping[str, int]:
        return self._counters

    @property
    def trouble(self) -> str | None:
        return self._trouble

    def open(self, state: bytes | None) -> None:
        """Start the process. What keeps it from opening the camera is told by a poll."""
        job = make_job(self._config, self._settings.name, "start" if state is None else "reopened")
        self._cursor = OPENED if state is None else None
        try:
            self._child = Child(job)
        except OSError as error:
            raise DeviceLostError(
                f"source {self._settings.name}: no process can be started to read the camera ({error}): "
                "look for what uses up memory or processes"
            ) from error
        self._alive_ns = self._clock.boot_ns()

    def poll(self, timeout_s: float) -> Delivery | None:
        assert self._child is not None, "poll before open"
        if self._ended_by:
            raise self._lost(self._ended_by)
        try:
            found = self._child.records(timeout_s)
            packets = [packet for kind, body in found if (packet := self._heard(kind, body)) is not None]
        except (EOFError, ValueError) as error:
            self._hangs = not isinstance(error, EOFError)
            how = self._child.how_it_ended() if isinstance(error, EOFError) else f"it talks nonsense: {error}"
            raise self._lost(f"the process that reads it is gone ({how})") from error
        if found:
            self._alive_ns = self._clock.boot_ns()
        elif not self._played and self._clock.boot_ns() - self._alive_ns > self._config.stall_timeout * 1e9:
            self._hangs = True
            raise self._lost(f"nothing has come for {self._config.stall_timeout}: check its power and its network")
        if not packets:
            return None
        self._counters["good"] += len(packets)
        self._counters["bytes"] += sum([len(packet.payload) for packet in packets])
        frames = [to_frame(packet, self._settings.routing_key) for packet in packets]
        cursor, self._cursor = self._cursor, None
        return Delivery([Append(self._settings.stream, frames)], cursor)

    def dropped(self, delivery: Delivery) -> None:
        """Without these frames what follows them can't be decoded: go on at a key frame."""
        self._cursor = delivery.cursor or self._cursor
        self._skipping = True

    def ack(self, delivery: Delivery) -> None:
        """No camera waits for it."""

    def close(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.close(hangs=self._hangs)

    def _heard(self, kind: bytes, body: bytes) -> Packet | None:
        """What one record means. Raises ValueError."""
        if kind == records.PACKET:
            return self._behind_skip(records.packet_of(body))
        if kind == records.COUNTS:
            lost, bad, gated = records.counts_of(body)
            self._counters["lost"] += lost
            self._counters["bad"] += bad
            self._counters["gated"] += gated
        elif kind == records.NOTE:
            self._trouble = body.decode(errors="replace")
        elif kind == records.ERROR:
            # Frames may have come before it: it is told by the next poll.
            self._ended_by = _with_remedy(body.decode(errors="replace"))
        elif kind == records.END:
            _log.info("source %s: %s has been played to its end", self._settings.name, shown(self._config))
            self._played = True
        else:
            raise ValueError(f"a record of kind {kind!r}")
        return None

    def _behind_skip(self, packet: Packet) -> Packet | None:
        if not self._skipping:
            return packet
        if not packet.key_frame:
            self._counters["lost"] += 1
            return None
        self._skipping = False
        return replace(packet, discontinuity=SKIPPED)

    def _lost(self, why: str) -> DeviceLostError:
        return DeviceLostError(
            f"source {self._settings.name}: {shown(self._config)}: {why}; it is opened again by itself"
        )


def _with_remedy(why: str) -> str:
    for sign, remedy in _REMEDIES.items():
        if sign in why:
            return f"{why}: {remedy}"
    return why


_REMEDIES = {
    "401": "correct the user and the password",
    "403": "this user may not look: give it the right to in the camera",
    "404": "correct the path in its address: each maker has its own",
    "refused": "is it the camera's address and port, and is its RTSP or HTTP service switched on?",
    "No route": "check its power and its network",
    "No such file": "plug it in or correct its name",
    "Permission denied": "add this user to the group that owns the device (video on Debian)",
    "busy": "stop the other program that uses it",
}
