"""Event frames: one or more events that share everything but payload and time, as bytes.

Layout, big endian: length u32 (of the whole frame), flags u8 (1: payloads of one length, 2: times are given, 4: its first
event is a key frame), zero u8, key bytes u16, events u32, captured i64 (boot
clock, ns, of the first event), writer u16 (place in the block's table of writers + 1, 0: none), content type bytes u16,
header bytes u32, number u64 (of the first event) · key · content type · headers · payload lengths u32 each (one only if
all are equal; none for a single event) · capture times i64 each as offsets from the first (only if given) · payloads.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

from storage.errors import DamagedBlockError, StorageError, TooLargeError
from storage.model import MAX_EVENT_BYTES, MAX_KEY_BYTES, Frame, Headers

_HEAD = struct.Struct(">IBBHIqHHIQ")
_HEAD_BYTES = _HEAD.size
_pack_head = _HEAD.pack
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_UNIFORM = 1
_TIMED = 2
_KEY_FRAME = 4

FRAME_TARGET_BYTES = 512 << 10
"""A longer run of events is cut into frames of about this size, so that a reader never unpacks much more."""
FRAME_EVENTS = 65_536
MAX_LABEL_CHARACTERS = 255
"""Of a content type, and of a writer's id."""
MAX_HEADERS = 255
REMEMBERED_LABELS = 4_096
REMEMBERED_BYTES = 1_024
"""Of one label: longer ones are encoded each time."""


def split(frame: Frame) -> Iterable[Frame]:
    """`frame` cut into frames that fit a block. A single event is never cut."""
    count = len(frame.payloads)
    if count == 1 or (count <= FRAME_EVENTS and sum(map(len, frame.payloads)) <= FRAME_TARGET_BYTES):
        return (frame,)
    return _cut(frame)


def _cut(frame: Frame) -> Iterator[Frame]:
    start = size = 0
    for index, payload in enumerate(frame.payloads):
        if index > start and (size + len(payload) > FRAME_TARGET_BYTES or index - start >= FRAME_EVENTS):
            yield part(frame, start, index)
            start, size = index, 0
        size += len(payload)
    yield part(frame, start, len(frame.payloads))


def part(frame: Frame, start: int, stop: int) -> Frame:
    """The events [start, stop) of `frame`, with their numbers and times."""
    if start == 0 and stop == len(frame.payloads):
        return frame
    times = frame.times_ns[start:stop] if frame.times_ns is not None else None
    return Frame(
        frame.payloads[start:stop],
        frame.routing_key,
        frame.content_type,
        frame.headers,
        times[0] if times else frame.captured_ns,
        times,
        frame.writer,
        None if frame.number is None else frame.number + start,
        frame.key_frame and start == 0,
    )


class Label(NamedTuple):
    """What the events of a frame share, as bytes, and how much of it is what. `value_bytes` is what the headers carry."""

    raw: bytes
    key_bytes: int
    type_bytes: int
    header_bytes: int
    value_bytes: int


_labels: dict[tuple[str, str, Headers], Label] = {}


def label_of(frame: Frame) -> Label:
    """Key, content type and headers of `frame`, encoded. Remembered: nearly all frames look like one before.

    Raises TooLargeError.
    """
    what = (frame.routing_key, frame.content_type, frame.headers)
    label = _labels.get(what)
    if label is None:
        label = _make_label(*what)
        if len(label.raw) <= REMEMBERED_BYTES:
            if len(_labels) >= REMEMBERED_LABELS:
                _labels.clear()
            _labels[what] = label
    return label


def _make_label(routing_key: str, content_type: str, headers: Headers) -> Label:
    key, kind = routing_key.encode(), content_type.encode()
    if len(key) > MAX_KEY_BYTES:
        raise TooLargeError(f"a routing key of {len(key)} bytes: at most {MAX_KEY_BYTES}")
    if len(content_type) > MAX_LABEL_CHARACTERS:
        raise TooLargeError(f"a content type of {len(content_type)} characters: at most {MAX_LABEL_CHARACTERS}")
    if len(headers) > MAX_HEADERS:
        raise TooLargeError(f"{len(headers)} headers: at most {MAX_HEADERS}")
    longest = max((len(name.encode()) for name, _ in headers), default=0)
    if longest > MAX_KEY_BYTES:
        raise TooLargeError(f"a header name of {longest} bytes: at most {MAX_KEY_BYTES}")
    encoded = encode_headers(headers)
    return Label(key + kind + encoded, len(key), len(kind), len(encoded), sum(len(value) for _, value in headers))


def encode_headers(headers: Headers) -> bytes:
    """Name and value of each header, each behind its length (u16, u32)."""
    if len(headers) == 1:
        return _header(*headers[0])
    return b"".join([_header(name, value) for name, value in headers])


def _header(name: str, value: bytes) -> bytes:
    encoded = name.encode()
    return b"%b%b%b%b" % (_U16.pack(len(encoded)), encoded, _U32.pack(len(value)), value)


def decode_headers(raw: bytes) -> Headers:
    headers = []
    at = 0
    while at < len(raw):
        name_end = at + 2 + _U16.unpack_from(raw, at)[0]
        value_end = name_end + 4 + _U32.unpack_from(raw, name_end)[0]
        headers.append((raw[at + 2 : name_end].decode(), raw[name_end + 4 : value_end]))
        at = value_end
    return tuple(headers)


def encode(frame: Frame, writer_place: int) -> bytes:
    """`frame` as it is, as bytes. `writer_place` counts from 1 (0: no writer)."""
    return encode_run(frame, frame.payloads, frame.captured_ns or 0, frame.times_ns, writer_place)


def encode_plain(frame: Frame, captured: int) -> bytes:
    """A frame of one event that is like most: no writer, no mark, captured at `captured`."""
    raw, key_bytes, type_bytes, header_bytes, _ = label_of(frame)
    payload = frame.payloads[0]
    size = _HEAD_BYTES + len(raw) + len(payload)
    return _pack_head(size, 0, 0, key_bytes, 1, captured, 0, type_bytes, header_bytes, 0) + raw + payload


def encode_run(
    frame: Frame, payloads: Sequence[bytes], captured: int, times_ns: Sequence[int] | None, writer_place: int
) -> bytes:
    """`payloads` and their capture times as bytes, under all else that `frame` says.

    `captured` is when all of them were captured, where there are no `times_ns`.
    """
    raw, key_bytes, type_bytes, header_bytes, _ = label_of(frame)
    count = len(payloads)
    flags = _KEY_FRAME if frame.key_frame else 0
    lengths = times = b""
    total = len(payloads[0])
    if count > 1:
        sizes = array("I", map(len, payloads))
        total = sum(sizes)
        if min(sizes) == max(sizes):
            flags |= _UNIFORM
            sizes = sizes[:1]
        lengths = _big_endian(sizes)
    if times_ns is not None:
        captured = times_ns[0]
        if count > 1:
            flags |= _TIMED
            times = _big_endian(array("q", [time - captured for time in times_ns]))
    size = _HEAD_BYTES + len(raw) + len(lengths) + len(times) + total
    head = _pack_head(
        size, flags, 0, key_bytes, count, captured, writer_place, type_bytes, header_bytes, frame.number or 0
    )
    return head + raw + payloads[0] if count == 1 else b"".join((head, raw, lengths, times, *payloads))


def _big_endian(values: array[int]) -> bytes:
    if sys.byteorder == "little":
        values.byteswap()
    return values.tobytes()


def _from_big_endian(code: str, raw: bytes) -> array[int]:
    values: array[int] = array(code)
    values.frombytes(raw)
    if sys.byteorder == "little":
        values.byteswap()
    return values


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A frame as read: where it starts in its block's body, its length there, and its events.

    `captured_ns` is when the first event was captured, and all of them where there are no `times_ns` (boot clock).
    """

    at: int
    length: int
    payloads: Sequence[bytes]
    captured_ns: int
    times_ns: Sequence[int] | None
    routing_key: str
    content_type: str
    headers: Headers
    writer_place: int
    number: int
    key_frame: bool


def decode_all(body: bytes) -> list[DecodedFrame]:
    """Every frame of a block's body, in order. Raises DamagedBlockError where they do not add up."""
    frames = []
    at = 0
    try:
        while at < len(body):
            frame = _decode(body, at)
            frames.append(frame)
            at += frame.length
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise DamagedBlockError(f"a frame at byte {at} of a block does not parse: {error}") from error
    return frames


def _decode(body: bytes, at: int) -> DecodedFrame:
    size, flags, _, key_bytes, count, captured, place, type_bytes, header_bytes, number = _HEAD.unpack_from(body, at)
    end = at + size
    if end > len(body) or size < _HEAD_BYTES or count < 1:
        raise ValueError(f"length {size}, {count} events")
    cursor = at + _HEAD_BYTES
    key = body[cursor : cursor + key_bytes].decode()
    cursor += key_bytes
    content_type = body[cursor : cursor + type_bytes].decode()
    cursor += type_bytes
    headers = decode_headers(body[cursor : cursor + header_bytes]) if header_bytes else ()
    cursor += header_bytes
    sizes: Sequence[int] = ()
    if flags & _UNIFORM:
        sizes = [_U32.unpack_from(body, cursor)[0]] * count
        cursor += 4
    elif count > 1:
        sizes = _from_big_endian("I", body[cursor : cursor + 4 * count])
        cursor += 4 * count
    times: Sequence[int] | None = None
    if flags & _TIMED:
        times = [captured + t for t in _from_big_endian("q", body[cursor : cursor + 8 * count])]
        cursor += 8 * count
    if count == 1:
        payloads = [body[cursor:end]]
    elif cursor + sum(sizes) != end:
        raise ValueError("payload lengths do not add up to the frame's")
    elif flags & _UNIFORM and sizes[0]:
        payloads = [payload for (payload,) in struct.iter_unpack(f"{sizes[0]}s", body[cursor:end])]
    else:
        payloads = [body[start:stop] for start, stop in pairwise(accumulate(sizes, initial=cursor))]
    return DecodedFrame(
        at, size, payloads, captured, times, key, content_type, headers, place, number, bool(flags & _KEY_FRAME)
    )


def check_frame(frame: Frame, max_event_bytes: int = MAX_EVENT_BYTES) -> int:
    """The payload bytes of a frame. Raises TooLargeError, StorageError."""
    payloads = frame.payloads
    size = len(payloads[0]) if len(payloads) == 1 else sum(map(len, payloads))
    if size > max_event_bytes and (largest := max(map(len, payloads))) > max_event_bytes:
        raise TooLargeError(f"an event of {largest} bytes: at most {max_event_bytes}")
    if frame.times_ns is not None and len(frame.times_ns) != len(frame.payloads):
        raise StorageError(f"{len(frame.times_ns)} capture times for {len(frame.payloads)} events")
    if frame.number is not None and (frame.writer is None or not 0 <= frame.number < 1 << 62):
        raise StorageError(f"event number {frame.number}: it needs a writer, and to lie in 0 to 2**62")
    if frame.writer is not None and len(frame.writer) > MAX_LABEL_CHARACTERS:
        raise TooLargeError(f"a writer id of {len(frame.writer)} characters: at most {MAX_LABEL_CHARACTERS}")
    return size + label_of(frame).value_bytes
