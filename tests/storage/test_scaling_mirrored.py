"""A stream that scales is mirrored: the same segments, the same offsets, at every moment a prefix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import Append, Frame, SegmentStore, committer
from storage.kv.memory import MemoryTwin
from storage.model import KeyRange, Position
from storage.records import StreamRecord
from tests.storage.conftest import Reopen
from tests.storage.mirrored import next_unit, replicate
from tests.storage.scaled import KEYS, append, merge, open_segments, scaled, split


def drain(gateway: SegmentStore, hub: SegmentStore, max_bytes: int = 1) -> None:
    while (unit := next_unit(gateway, hub, max_bytes=max_bytes)) is not None:
        hub.submit_unit(unit).result()
        here = [(event.routing_key, event.payload) for event in gateway.read("s")]
        there = [(event.routing_key, event.payload) for event in hub.read("g/s")]
        assert there == here[: len(there)]


def same(gateway: SegmentStore, hub: SegmentStore) -> None:
    here, there = gateway.stream("s"), hub.stream("g/s")
    assert [(s.id.number, s.id.epoch, s.keys, s.until, s.length, s.events) for s in there.segments] == [
        (s.id.number, s.id.epoch, s.keys, s.until, s.length, s.events) for s in here.segments
    ]
    events = list(gateway.read("s"))
    assert [event.in_stream("s") for event in hub.read("g/s")] == events
    for index, event in enumerate(events):
        assert len(list(hub.read("g/s", event.next))) == len(events) - index - 1
    assert gateway.check().findings == hub.check().findings == []


def test_scales_reach_the_hub_with_what_was_written_around_them() -> None:
    with SegmentStore.in_memory() as gateway, SegmentStore.in_memory() as hub:
        scaled(gateway, 24)
        drain(gateway, hub)
        same(gateway, hub)


def test_a_scale_or_a_seal_reaches_the_hub_though_nothing_is_written_behind_it() -> None:
    with SegmentStore.in_memory() as gateway, SegmentStore.in_memory() as hub:
        gateway.create_stream("s")
        append(gateway, "a", b"0")
        drain(gateway, hub)
        split(gateway)
        drain(gateway, hub)
        same(gateway, hub)
        assert not any(hub.takes(stream.name) for stream in hub.streams())
        gateway.seal("s")
        drain(gateway, hub)
        same(gateway, hub)
        assert next_unit(gateway, hub) is None


def test_a_unit_from_before_a_scale_does_not_tell_of_it() -> None:
    with SegmentStore.in_memory() as gateway, SegmentStore.in_memory() as hub:
        gateway.create_stream("s")
        append(gateway, "a", b"0")
        split(gateway)
        unit = next_unit(gateway, hub)
        assert unit is not None
        hub.submit_unit(unit).result()
        assert [segment.until for segment in hub.stream("g/s").segments] == [None]


def test_a_head_given_up_before_it_was_sent_is_a_gap_in_each_segment() -> None:
    with SegmentStore.in_memory() as gateway, SegmentStore.in_memory() as hub:
        gateway.create_stream("s")
        append(gateway, "a", b"0")
        drain(gateway, hub)
        split(gateway)
        for number in range(20):
            append(gateway, KEYS[number % 8], b"%d" % number)
        kept = list(gateway.read("s"))[15:]
        gateway.truncate("s", gateway.cut("s", kept[0].position))
        replicate(gateway, hub, max_bytes=1)
        assert [event.payload for event in hub.read("g/s")] == [b"0", *(event.payload for event in kept)]
        assert sum(segment.gaps for segment in hub.stream("g/s").segments) == 2
        assert hub.check().ok


def test_a_head_given_up_behind_a_scale_that_is_not_sent_yet_waits_for_it() -> None:
    with SegmentStore.in_memory() as gateway, SegmentStore.in_memory() as hub:
        gateway.create_stream("s")
        append(gateway, "a", b"0")
        drain(gateway, hub)
        for number in range(2):
            append(gateway, "a", b"%d" % number)
        segment = open_segments(gateway)[0]
        gateway.scale("s", [segment.id], [segment.keys])
        for number in range(3):
            last = append(gateway, "a", b"%d" % number)
        gateway.truncate("s", last)
        replicate(gateway, hub, max_bytes=1)
        assert [event.payload for event in hub.read("g/s")] == [event.payload for event in gateway.read("s")]
        assert sum(segment.gaps for segment in hub.stream("g/s").segments) == 1
        assert hub.check().ok


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.sampled_from(range(8))),
            st.tuples(st.just("split"), st.integers(0, 20)),
            st.tuples(st.just("merge"), st.integers(0, 20)),
            st.tuples(st.just("drain"), st.sampled_from([1, 500, 1 << 20])),
            st.tuples(st.just("hub power cut"), st.just(0)),
            st.tuples(st.just("gateway power cut"), st.just(0)),
        ),
        max_size=60,
    )
)
def test_under_random_scales_the_hub_is_always_a_prefix(steps: list[tuple[str, int]]) -> None:
    twins = MemoryTwin(), MemoryTwin()
    gateway, hub = map(SegmentStore.in_memory, twins)
    gateway.create_stream("s")
    append(gateway, "a", b"first")
    for number, (what, value) in enumerate(steps):
        segments = open_segments(gateway)
        if what == "append":
            append(gateway, KEYS[value], b"%d" % number)
        elif what == "split":
            split(gateway, value % len(segments))
        elif what == "merge" and len(segments) > 1:
            merge(gateway, value % (len(segments) - 1))
        elif what == "drain" and (unit := next_unit(gateway, hub, max_bytes=value)) is not None:
            hub.submit_unit(unit).result()
            hub.submit_unit(unit).result()
        elif what == "hub power cut":
            twins[1].power_cut()
            hub = SegmentStore.in_memory(twins[1])
        elif what == "gateway power cut":
            twins[0].power_cut()
            gateway = SegmentStore.in_memory(twins[0])
    drain(gateway, hub)
    same(gateway, hub)


def test_what_the_chain_no_longer_tells_the_segments_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "SETTLED_BYTES", 4000)
    with SegmentStore.in_memory() as gateway, SegmentStore.in_memory() as hub:
        scaled(gateway, 15)
        gateway.seal("s")
        catalog = gateway._catalog
        assert catalog.node is not None
        catalog.node = replace(catalog.node, chain=10_000)
        drain(gateway, hub, 200)
        same(gateway, hub)


class NotWalked(dict[str, StreamRecord]):
    """Streams by name, for whoever asks for one."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("all streams are looked at")

    values = keys = items = copy = __iter__  # type: ignore[assignment]


def test_what_is_held_of_a_node_is_told_without_a_look_at_the_streams_of_others() -> None:
    """A thousand gateways at one hub ask after each of their units."""
    with SegmentStore.in_memory() as hub:
        for node in ("g", "other"):
            with SegmentStore.in_memory() as gateway:
                for name in ("s", "t"):
                    gateway.create_stream(name)
                    gateway.submit([Append(name, [Frame([b"x"])])]).result()
                replicate(gateway, hub, node, max_bytes=1)
        hub.create_stream("s")
        hub._catalog.streams = NotWalked(hub._catalog.streams)
        assert sorted(hub.holdings("g").streams) == ["s", "t"]
        assert sorted(hub.holdings("g", ["t", "never"]).streams) == ["t"]
        assert hub.holdings("nobody").streams == {}


def test_what_is_held_of_a_node_is_the_same_after_reopening(reopen: Reopen) -> None:
    with SegmentStore.in_memory() as gateway:
        gateway.create_stream("s")
        append(gateway, "k", b"x")
        hub = reopen()
        unit = next_unit(gateway, hub)
        assert unit is not None
        hub.submit_unit(unit).result()
        held = hub.holdings("g")
        assert [stream.length for stream in held.streams.values()] == [gateway.stream("s").segments[0].length]
        assert reopen().holdings("g") == held


def test_a_gap_of_one_segment_does_not_pass_what_another_has_yet_to_send() -> None:
    with SegmentStore.in_memory() as gateway, SegmentStore.in_memory() as hub:
        gateway.create_stream("other")
        gateway.create_stream("s")
        append(gateway, KEYS[0], b"first")
        gateway.scale("s", [open_segments(gateway)[0].id], KeyRange().split(2))
        replicate(gateway, hub, max_bytes=1)
        gateway.submit([Append("other", [Frame([bytes(1000)])])]).result()
        for number in range(20):
            append(gateway, KEYS[number % 8], b"%d" % number)
        low, _high = open_segments(gateway)
        gateway.truncate("s", Position(low.id.number, low.id.epoch, low.length))
        replicate(gateway, hub, max_bytes=1)
        left = [event.payload for event in gateway.read("s")][1:]
        assert len(left) > 3
        assert [event.payload for event in hub.read("g/s")][1:] == left
