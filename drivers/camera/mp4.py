"""Frames into MP4 files, as the camera encoded them: nothing is decoded, nothing encoded.

What is in a file
    The camera's packets, at the camera's times (`drivers.camera.timing`), counted from the first. Packets in Annex B form
    (ITU-T H.264 and H.265, annex B: start codes) get lengths in place of the start codes, which MP4 asks for (ISO/IEC
    14496-15); their NAL units, and packets of every other form and codec, are untouched.

When another file begins (`NAME-2.mp4`)
    Where codec, size, parameter sets or the unit of the camera's clock change, behind a gap of 6 h (an MP4 holds none that
    is much longer), and after a million frames: FFmpeg's muxer keeps some 100 bytes in memory for each. At most 1,000.

Each file is written beside its name and renamed when it is whole and on disk.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import av

from drivers.camera.packet import Packet
from drivers.camera.template import template_of
from drivers.camera.timing import Placing, file_base, with_decoding_times

MAX_FRAMES = 1_000_000
MAX_FILES = 1000
MAX_GAP_S = 6 * 3600.0


class VideoError(Exception):
    """Frames that can't be made what was asked for. `str()` says what failed and what to do."""


@dataclass(frozen=True, slots=True)
class Written:
    """One file. `why` it began, where it is not the first; times are the events'."""

    path: Path
    frames: int
    first_ns: int
    last_ns: int
    why: str = ""


def write_mp4(
    packets: Iterable[Packet],
    path: Path,
    *,
    close_gaps: bool = False,
    on_skipped: Callable[[int], None] | None = None,
) -> Iterator[Written]:
    """Write `packets` to `path` and, where one file can't hold them, to more; yields each when it is on disk.

    A file begins at a key frame; `on_skipped` hears of how many frames were left out for that. Nothing is yielded where
    there is no key frame. Raises VideoError and OSError; then nothing is left of the file under way.
    """
    file: _File | None = None
    made = skipped = 0
    why = ""
    try:
        for packet in with_decoding_times(packets):
            reason = file.reason_to_end(packet) if file is not None else ""
            if file is not None and reason:
                yield file.finish()
                file, why = None, reason
            if file is None:
                if not packet.key_frame:
                    skipped += 1
                    continue
                made += 1
                if made > MAX_FILES:
                    raise VideoError(
                        f"{path}: more than {MAX_FILES} files: export a shorter range, or use --close-gaps"
                    )
                file = _File(_numbered(path, made), packet, why, close_gaps=close_gaps)
            file.write(packet)
        if file is not None:
            done, file = file.finish(), None
            yield done
    finally:
        if file is not None:
            file.give_up()
    if skipped and on_skipped is not None:
        on_skipped(skipped)


def _numbered(path: Path, number: int) -> Path:
    return path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")


class _File:
    """One MP4 that is being written. `first` is its first key frame."""

    def __init__(self, path: Path, first: Packet, why: str, *, close_gaps: bool) -> None:
        self._path = path
        self._why = why
        self._first = first
        self._last_ns = first.captured_ns
        self._frames = 0
        self._base = file_base(first)
        self._placing = Placing(self._base, close_gaps=close_gaps)
        self._beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._out = self._beside.open("wb")
        try:
            self._container = av.open(self._out, "w", format="mp4")
            self._container.metadata["creation_time"] = _moment(first.captured_ns)
            with template_of(first) as template:
                self._stream = self._container.add_stream_from_template(template, opaque=True)
            self._stream.time_base = self._base
        except (av.FFmpegError, ValueError) as error:
            self.give_up()
            raise VideoError(f"{path}: video of the codec {first.codec} can't be put into an MP4: {error}") from error
        except BaseException:
            self.give_up()
            raise

    def reason_to_end(self, packet: Packet) -> str:
        """Why `packet` can't be in this file, empty where it can."""
        if packet.key_frame and (changed := _change(self._first, packet)):
            return changed
        if packet.key_frame and self._frames >= MAX_FRAMES:
            return f"a file holds {MAX_FRAMES:,} frames"
        if packet.discontinuity and self._placing.gap_s(packet) > MAX_GAP_S:
            return f"nothing for more than {MAX_GAP_S / 3600:g} h"
        return ""

    def write(self, packet: Packet) -> None:
        pts, dts = self._placing.place(packet)
        muxed = av.Packet(packet.payload)
        muxed.stream = self._stream
        muxed.time_base = self._base
        muxed.pts, muxed.dts, muxed.duration = pts, dts, self._placing.step
        muxed.is_keyframe = packet.key_frame
        with self._named(f"frame {self._frames + 1}"):
            self._container.mux_one(muxed)
        self._frames += 1
        self._last_ns = packet.captured_ns

    def finish(self) -> Written:
        """On disk, under its name."""
        try:
            with self._named("its index"):
                self._container.close()
                self._out.flush()
                os.fsync(self._out.fileno())
                self._out.close()
                self._beside.replace(self._path)
        except BaseException:
            self.give_up()
            raise
        return Written(self._path, self._frames, self._first.captured_ns, self._last_ns, self._why)

    def give_up(self) -> None:
        """Leave nothing behind."""
        with suppress(av.FFmpegError, OSError, AttributeError):
            self._container.close()
        with suppress(OSError):
            self._out.close()
        self._beside.unlink(missing_ok=True)

    @contextmanager
    def _named(self, what: str) -> Iterator[None]:
        """Errors with the file in them, which those of a library and of a file that is open are without."""
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            if isinstance(error, OSError) and error.errno in errno.errorcode:
                raise OSError(error.errno, os.strerror(error.errno or 0), str(self._path)) from error
            raise VideoError(f"{self._path}: {what} can't be written as MP4: {error}") from error


def _change(old: Packet, new: Packet) -> str:
    """What is so different between two key frames that one file can't hold both."""
    if new.codec != old.codec:
        return f"the codec changed from {old.codec} to {new.codec}"
    if new.size != old.size:
        return f"the picture's size changed from {_size(old)} to {_size(new)}"
    if new.extradata != old.extradata:
        return "the codec's parameters changed"
    return "the unit of the camera's clock changed" if file_base(new) != file_base(old) else ""


def _size(packet: Packet) -> str:
    return f"{packet.size[0]}x{packet.size[1]}"


def _moment(time_ns: int) -> str:
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat()
    return ""
