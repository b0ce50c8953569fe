"""Joining deliveries: nothing is added, lost or moved within its stream, and each event keeps its own label and time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.batch import merged, within_limits
from drivers.contract import Delivery
from storage.model import Append, Frame

Labelled = tuple[str, bytes, str, int | None, bool]

payload_lists = st.lists(st.binary(max_size=3), min_size=1, max_size=4)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    payloads = draw(payload_lists)
    captured_ns = draw(st.none() | st.integers(0, 100))
    times_ns = None
    if captured_ns is not None and draw(st.booleans()):
        times_ns = [captured_ns + index for index in range(len(payloads))]
    key = draw(st.sampled_from(["", "k"]))
    return Frame(payloads, key, captured_ns=captured_ns, times_ns=times_ns, key_frame=draw(st.booleans()))


appends = st.builds(Append, st.sampled_from(["a", "b"]), st.lists(frames(), min_size=1, max_size=3), st.none())
deliveries = st.lists(st.builds(Delivery, st.lists(appends, max_size=3)), min_size=1, max_size=5)


def events(of: list[Append], stream: str) -> list[Labelled]:
    out: list[Labelled] = []
    for append in of:
        if append.stream != stream:
            continue
        for frame in append.frames:
            times: list[int | None] = [*(frame.times_ns or [])] or [frame.captured_ns] * len(frame.payloads)
            for index, (payload, at) in enumerate(zip(frame.payloads, times, strict=True)):
                out.append((stream, payload, frame.routing_key, at, frame.key_frame and index == 0))
    return out


@pytest.mark.long
@given(deliveries)
def test_every_stream_has_the_same_events_in_the_same_order(given_deliveries: list[Delivery]) -> None:
    before = [append for delivery in given_deliveries for append in delivery.appends]
    after = merged(given_deliveries)
    for stream in ("a", "b"):
        assert events(after, stream) == events(before, stream)


def test_readings_of_one_second_become_one_frame() -> None:
    one_by_one = [Delivery((Append("a", (Frame([b"%d" % at], "k", captured_ns=at),)),)) for at in range(10)]
    (append,) = merged(one_by_one)
    (frame,) = append.frames
    assert frame.times_ns == list(range(10))


def test_a_conditional_append_is_not_joined_with_others() -> None:
    condition = Append("a", (Frame([b"x"]),), expected_length=7)
    after = merged([Delivery((condition,)), Delivery((Append("a", (Frame([b"y"]),)),))])
    assert condition in after
    assert len(after) == 2


def test_an_event_that_no_store_takes_is_left_out_and_the_others_stay() -> None:
    good, long = Frame([b"1"], headers=(("a", b""),)), Frame([b"2"], headers=(("n" * 70_000, b""),))
    kept, refused = within_limits(Delivery([Append("s", [good, long])]), lambda stream: 1 << 20)
    assert [frame for append in kept.appends for frame in append.frames] == [good]
    assert refused == ["an event for s with a header name of 70000 bytes: at most 1024"]
