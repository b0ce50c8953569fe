"""The capturing process: opens a camera and writes its frames to standard output as records (`drivers.camera.records`).

`python -m drivers.camera.capture`, started by the driver, so that a read that hangs can be killed. The job is the first line
of standard input; when that ends, the driver is gone or wants no more, and so this process ends too, at once.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from threading import Event, Lock, Thread

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet as AvPacket
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from drivers.camera import records
from drivers.camera.config import Job
from drivers.camera.continuity import MAX_KEY_GAP_NS, NS, Continuity
from drivers.camera.gate import make_gate
from drivers.camera.packet import Packet
from drivers.camera.parameters import jpeg_size, parameter_sets
from drivers.camera.records import MAX_PAYLOAD_BYTES

GOODBYE_S = 1.0
"""For telling the camera that nobody looks any more."""
ALIVE_NS = NS // 2
GATHER_S = 0.3
"""What a camera sends meanwhile is read in one go: waking up for each frame costs more than all the rest."""
WAITED_NS = NS // 1000
"""A frame that had to be waited for so long was the newest."""
FLUSH_S = 0.5
NO_CLOCK = ("mpjpeg", "mjpeg")
"""Formats without times: what FFmpeg gives for them it has made up."""
JPEG_QUALITY = "4"
"""Of raw pictures, by FFmpeg's scale: 2 (best) to 31."""


def boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Input:
    """One opening of a camera: its packets, with their sizes and parameter sets."""

    def __init__(self, job: Job) -> None:
        """Raises FFmpegError, ValueError."""
        self._container = _open(job)
        if not self._container.streams.video:
            self._container.close()
            raise ValueError("there is no video in it")
        self._stream: VideoStream = self._container.streams.video[0]
        context = self._stream.codec_context
        self._codec = context.codec.canonical_name
        self._size = (context.width, context.height)
        self._extradata = bytes(context.extradata or b"")
        self._base = self._stream.time_base or Fraction(1, 90_000)
        self.clocked = self._container.format.name not in NO_CLOCK
        self._jpeg = JpegEncoder() if self._codec == "rawvideo" else None

    def packets(self) -> Iterator[tuple[Packet, bool]]:
        """Each with whether it is damaged, until the camera ends. Raises FFmpegError."""
        for raw in self._container.demux(self._stream):
            if raw.size and self._jpeg is None:
                yield self._packet(raw, bytes(raw)), raw.is_corrupt
            elif raw.size and self._jpeg is not None:
                for payload in self._jpeg.encode(raw):
                    yield self._packet(raw, payload), raw.is_corrupt

    def close(self) -> None:
        self._container.close()

    def _packet(self, raw: AvPacket[VideoStream], payload: bytes) -> Packet:
        arrived_ns = boot_ns()
        codec = self._codec if self._jpeg is None else "mjpeg"
        key_frame = raw.is_keyframe or codec == "mjpeg"
        if key_frame:
            self._look_at(codec, payload)
        return Packet(
            payload=payload,
            codec=codec,
            key_frame=key_frame,
            captured_ns=arrived_ns,
            pts=raw.pts if self.clocked else None,
            dts=raw.dts if self.clocked else None,
            base=self._base,
            size=self._size if key_frame else (0, 0),
            extradata=self._extradata if key_frame else b"",
        )

    def _look_at(self, codec: str, payload: bytes) -> None:
        """What a key frame says of itself holds before what the container said when it was opened."""
        if codec == "mjpeg":
            self._size = jpeg_size(payload) or self._size
            return
        sets = parameter_sets(codec, payload, self._extradata)
        if sets and sets != self._extradata:
            self._size = picture_size(codec, payload) or self._size
            self._extradata = sets


class JpegEncoder:
    """Raw pictures as JPEG."""

    def __init__(self) -> None:
        self._context: VideoCodecContext | None = None
        self._encoded = 0

    def encode(self, raw: AvPacket[VideoStream]) -> Iterator[bytes]:
        for picture in raw.decode():
            assert isinstance(picture, av.VideoFrame)
            if self._context is None or (self._context.width, self._context.height) != (picture.width, picture.height):
                self._context = _jpeg_context(picture.width, picture.height)
            frame = picture.reformat(format="yuvj422p")
            # The encoder wants times that grow; those that count are the packet's.
            frame.pts, frame.time_base = self._encoded, self._context.time_base
            self._encoded += 1
            for packet in self._context.encode(frame):
                yield bytes(packet)


def _jpeg_context(width: int, height: int) -> VideoCodecContext:
    context = av.CodecContext.create("mjpeg", "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, "yuvj422p"
    context.time_base = Fraction(1, 30)
    context.options = {"qmin": JPEG_QUALITY, "qmax": JPEG_QUALITY}
    return context


def picture_size(codec: str, payload: bytes) -> tuple[int, int] | None:
    """Of a key frame, by decoding it: parameter sets are changed rarely."""
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, VideoCodecContext)
    with contextlib.suppress(FFmpegError):
        for packet in (AvPacket(payload), None):
            for picture in context.decode(packet):
                return picture.width, picture.height
    return None


def _open(job: Job) -> InputContainer:
    if job.format != "v4l2" or "input_format" in job.options:
        return av.open(job.target, format=job.format or None, options=dict(job.options))
    try:
        return av.open(job.target, format=job.format, options={"input_format": "mjpeg", **job.options})
    except FFmpegError:
        return av.open(job.target, format=job.format, options=dict(job.options))


class Capture:
    """From a camera's packets to records, until it ends or somebody stops it."""

    def __init__(self, job: Job, output: Output, stopped: Event) -> None:
        self._job = job
        self._write = output.add
        self._flush = output.flush
        self._stopped = stopped
        self._continuity = Continuity(job.first)
        self._gate = make_gate(job.gate)
        self._told = (0, 0, 0)
        self._told_ns = 0
        self._warned = False

    def run(self) -> None:
        """Raises FFmpegError, ValueError, BrokenPipeError."""
        while not self._stopped.is_set():
            played = self._one_opening()
            if self._stopped.is_set():
                return
            if not self._job.paced:
                raise ValueError("the camera has ended the stream")
            if not self._job.loop or not played:
                self._write(records.record(records.END))
                self._flush()
                self._stopped.wait()
                return
            self._continuity.begin_anew("reopened")

    def _one_opening(self) -> int:
        """Returns how many frames there were."""
        camera = Input(self._job)
        pace = Pace(self._stopped) if self._job.paced else None
        gathers = self._job.gathers and camera.clocked
        frames, asked_ns = 0, boot_ns()
        try:
            for packet, damaged in camera.packets():
                frames += 1
                due = packet if pace is None else pace.wait_for(packet)
                if self._stopped.is_set():
                    break
                self._pass_on(due, damaged)
                if not gathers:
                    self._flush()
                elif packet.captured_ns - asked_ns > WAITED_NS:
                    self._flush()
                    self._stopped.wait(GATHER_S)
                asked_ns = boot_ns()
        finally:
            self._flush()
            camera.close()
        return frames

    def _pass_on(self, packet: Packet, damaged: bool) -> None:
        if len(packet.payload) > MAX_PAYLOAD_BYTES:
            damaged = True
        kept = self._continuity.take(packet, damaged=damaged)
        for passed in self._gate.feed(kept) if kept is not None else ():
            self._write(records.packet_record(passed))
        self._tell()

    def _tell(self) -> None:
        counts = (self._continuity.lost, self._continuity.bad, self._gate.gated)
        now_ns = boot_ns()
        if counts[:2] != self._told[:2] or now_ns - self._told_ns > ALIVE_NS:
            lost, bad, gated = (now - told for now, told in zip(counts, self._told, strict=True))
            self._write(records.counts_record(lost, bad, gated))
            self._told, self._told_ns = counts, now_ns
        if self._continuity.key_gap_ns > MAX_KEY_GAP_NS and not self._warned:
            self._warned = True
            gap_s = self._continuity.key_gap_ns / NS
            note = f"{gap_s:.0f} s between two key frames: set the camera's I-frame interval to 10 s at most"
            self._write(records.record(records.NOTE, note.encode()))


class Pace:
    """Lets a file's frames through when their time has come, counted from the first."""

    def __init__(self, stopped: Event) -> None:
        self._stopped = stopped
        self._offset_ns: int | None = None

    def wait_for(self, packet: Packet) -> Packet:
        ticks = packet.pts if packet.dts is None else packet.dts
        if ticks is None:
            return packet
        camera_ns = ticks * packet.base.numerator * NS // packet.base.denominator
        if self._offset_ns is None:
            self._offset_ns = boot_ns() - camera_ns
        wait_ns = camera_ns + self._offset_ns - boot_ns()
        if wait_ns > 0:
            self._stopped.wait(wait_ns / NS)
        return replace(packet, captured_ns=boot_ns())


def _why(error: Exception) -> str:
    """What FFmpeg says, without the address that it says it about."""
    return (error.strerror or type(error).__name__) if isinstance(error, FFmpegError) else str(error)


class Output:
    """Records on their way to the driver. Used from two threads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: list[bytes] = []
        self._lock = Lock()

    def add(self, record: bytes) -> None:
        with self._lock:
            self._waiting.append(record)

    def flush(self) -> None:
        """Raises BrokenPipeError when the driver is gone."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            left = memoryview(b"".join(waiting))
            while left:
                left = left[os.write(self._descriptor, left) :]


def _end_with_input(stopped: Event, output: Output) -> None:
    """Meanwhile nothing stays behind here while the camera hangs."""
    with contextlib.suppress(BrokenPipeError):
        while not select.select([0], [], [], FLUSH_S)[0] or os.read(0, 1):
            output.flush()
    stopped.set()
    time.sleep(GOODBYE_S)
    os._exit(0)


def main() -> None:
    output = Output(os.dup(1))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    av.logging.set_level(None)
    job = Job.from_json(sys.stdin.buffer.readline())
    stopped = Event()
    Thread(target=_end_with_input, args=(stopped, output), daemon=True).start()
    try:
        Capture(job, output, stopped).run()
    except BrokenPipeError:
        return
    except Exception as error:  # noqa: BLE001  (whatever it is, the driver has to be told, and this process ends)
        output.add(records.record(records.ERROR, job.redacted(_why(error) or type(error).__name__).encode()))
        output.flush()


if __name__ == "__main__":
    main()
