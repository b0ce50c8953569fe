"""What is done to deliveries before they are submitted: leave out what no store takes, join what fits together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from drivers.contract import (
    MAX_CURSOR_BYTES,
    MAX_DELIVERY_BYTES,
    MAX_DELIVERY_EVENTS,
    MAX_PART_BYTES,
    MAX_PART_NAME_BYTES,
    Delivery,
    DriverError,
)
from storage.errors import InvalidNameError, TooLargeError
from storage.frame import label_of
from storage.model import MAX_EVENT_BYTES, Append, Frame, check_stream_name
from storage.runs import alike


def check_size(delivery: Delivery) -> None:
    """Raises DriverError where a driver hands over more at once than the contract allows."""
    events, size_bytes = delivery.events, delivery.size_bytes
    # One event above its own limit is refused alone, so it does not count against the delivery that it came in.
    if events > MAX_DELIVERY_EVENTS or (events > 1 and size_bytes > 2 * MAX_DELIVERY_BYTES):
        raise DriverError(
            f"a delivery of {events} events and {size_bytes} bytes: at most {MAX_DELIVERY_EVENTS} and "
            f"{MAX_DELIVERY_BYTES}; the driver has to hand over smaller ones"
        )
    if delivery.cursor is not None and len(delivery.cursor) > MAX_CURSOR_BYTES:
        raise DriverError(f"a cursor of {len(delivery.cursor)} bytes: at most {MAX_CURSOR_BYTES}")
    if delivery.parts:
        _check_parts(delivery.parts)


def _check_parts(parts: Mapping[str, bytes]) -> None:
    if parts_bytes(parts) > MAX_DELIVERY_BYTES:
        raise DriverError(f"a delivery with {parts_bytes(parts)} bytes of parts: at most {MAX_DELIVERY_BYTES}")
    for name, part in parts.items():
        if len(part) > MAX_PART_BYTES or not 1 <= len(name.encode()) <= MAX_PART_NAME_BYTES:
            raise DriverError(
                f"part {name[:40]!r} of {len(part)} bytes: at most {MAX_PART_BYTES}, under a name of 1 to "
                f"{MAX_PART_NAME_BYTES} bytes"
            )


def parts_bytes(parts: Mapping[str, bytes]) -> int:
    """What they add to a submission."""
    return sum(map(len, parts.values()))


def _of_any_stream(stream: str) -> int:
    return MAX_EVENT_BYTES


def within_limits(delivery: Delivery, most_bytes: Callable[[str], int] = _of_any_stream) -> tuple[Delivery, list[str]]:
    """`delivery` without the events that no store takes, and one line for each of these.

    `most_bytes` says how large an event of a stream may be.
    """
    refused: list[str] = []
    appends = []
    for append in delivery.appends:
        try:
            check_stream_name(append.stream)
        except InvalidNameError as error:
            refused += [str(error)] * sum(len(frame.payloads) for frame in append.frames)
            continue
        most = most_bytes(append.stream)
        if _all_within_limits(append.frames, most):
            appends.append(append)
            continue
        frames = [
            kept for frame in append.frames if (kept := _frame_within_limits(append.stream, frame, most, refused))
        ]
        if frames:
            appends.append(
                append if len(frames) == len(append.frames) and not refused else append._replace(frames=frames)
            )
    if not refused:
        return delivery, refused
    return replace(delivery, appends=appends), refused


def _all_within_limits(frames: Sequence[Frame], most_bytes: int) -> bool:
    """Whether there is nothing to leave out, as nearly always. False: it has to be looked at more closely."""
    try:
        for frame in frames:
            payloads = frame.payloads
            largest = len(payloads[0]) if len(payloads) == 1 else max(map(len, payloads), default=most_bytes + 1)
            if largest > most_bytes:
                return False
            label_of(frame)
    except TooLargeError:
        return False
    return True


def _frame_within_limits(stream: str, frame: Frame, most_bytes: int, refused: list[str]) -> Frame | None:
    wrong = _wrong_label(frame)
    if wrong is not None:
        refused += [f"an event for {stream} with {wrong}"] * len(frame.payloads)
        return None
    if max(map(len, frame.payloads), default=0) <= most_bytes:
        return frame if frame.payloads else None
    kept = [index for index, payload in enumerate(frame.payloads) if len(payload) <= most_bytes]
    refused += [
        f"an event of {len(payload)} bytes for {stream}: at most {most_bytes}"
        for payload in frame.payloads
        if len(payload) > most_bytes
    ]
    if not kept:
        return None
    times_ns = frame.times_ns
    return frame._replace(
        payloads=[frame.payloads[index] for index in kept],
        captured_ns=times_ns[kept[0]] if times_ns is not None else frame.captured_ns,
        times_ns=[times_ns[index] for index in kept] if times_ns is not None else None,
    )


def _wrong_label(frame: Frame) -> str | None:
    try:
        label_of(frame)
    except TooLargeError as error:
        return str(error)
    return None


def cursors(deliveries: Sequence[Delivery], name: str) -> dict[str, bytes]:
    """What is committed with `deliveries` for the cursor `name`: the latest of it, and of each of its parts."""
    made = {}
    for delivery in deliveries:
        if delivery.cursor is not None:
            made[name] = delivery.cursor
        for part, state in delivery.parts.items():
            made[f"{name}/{part}"] = state
    return made


def merged(deliveries: Sequence[Delivery]) -> list[Append]:
    """One append for each stream, in the order in which the streams first appear; neighbouring frames are joined.

    A conditional append stands alone: it must not be joined with others.
    """
    if len(deliveries) == 1:
        return list(deliveries[0].appends)
    frames: dict[str, list[Frame]] = {}
    conditional: list[Append] = []
    for delivery in deliveries:
        for append in delivery.appends:
            if append.expected_length is not None:
                conditional.append(append)
                continue
            frames.setdefault(append.stream, []).extend(append.frames)
    return conditional + [Append(stream, _joined(of_stream)) for stream, of_stream in frames.items()]


def _joined(frames: Iterable[Frame]) -> list[Frame]:
    """Neighbours that differ in payload and time alone become one frame."""
    runs: list[list[Frame]] = []
    for frame in frames:
        if runs and _joinable(runs[-1][0], frame):
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return [run[0] if len(run) == 1 else _join(run) for run in runs]


def _joinable(one: Frame, other: Frame) -> bool:
    timed_alike = (one.captured_ns is None) == (other.captured_ns is None)
    return alike(one, other) and one.writer is None and timed_alike


def _join(run: Sequence[Frame]) -> Frame:
    payloads = [payload for frame in run for payload in frame.payloads]
    if run[0].captured_ns is None:
        return run[0]._replace(payloads=payloads)
    return run[0]._replace(payloads=payloads, times_ns=[time_ns for frame in run for time_ns in _times_ns(frame)])


def _times_ns(frame: Frame) -> Sequence[int]:
    if frame.times_ns is not None:
        return frame.times_ns
    assert frame.captured_ns is not None
    return [frame.captured_ns] * len(frame.payloads)
