"""Reader groups on streams that the store itself scales, over power cuts."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import SegmentStore
from storage.errors import StoreBusyError
from storage.kv.memory import MemoryTwin
from storage.readers import Reader
from tests.storage.scaled import KEYS, append, by_key, merge, open_segments, split, told

Steps = list[tuple[str, int]]

steps_of_a_stream = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 7)),
        st.tuples(st.just("split"), st.integers(0, 20)),
        st.tuples(st.just("merge"), st.integers(0, 20)),
        st.tuples(st.sampled_from(["read", "new reader", "close", "checkpoint"]), st.integers(0, 3)),
    ),
    max_size=60,
)


def change(store: SegmentStore, what: str, value: int, written: list[tuple[str, bytes]]) -> None:
    segments = open_segments(store)
    if what == "append":
        written.append((KEYS[value], b"%d" % len(written)))
        append(store, *written[-1])
    elif what == "split":
        split(store, value % len(segments))
    elif what == "merge" and len(segments) > 1:
        merge(store, value % (len(segments) - 1))


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(steps_of_a_stream)
def test_whatever_scales_each_event_is_read_once_and_each_key_in_order(steps: Steps) -> None:
    with SegmentStore.in_memory() as store:
        store.create_stream("s")
        group = store.reader_group("g", ["s"])
        readers: list[Reader] = [group.reader("0")]
        written: list[tuple[str, bytes]] = []
        got: list[tuple[str, bytes]] = []
        for number, (what, value) in enumerate(steps):
            reader = readers[value % len(readers)]
            if what == "read":
                got += told(reader.read(3))
            elif what == "new reader" and len(readers) < 4:
                readers.append(group.reader(str(number + 1)))
            elif what == "close" and len(readers) > 1:
                readers.remove(reader)
                reader.close()
            elif what == "checkpoint":
                with contextlib.suppress(StoreBusyError):
                    group.checkpoint(f"at {number}")
            else:
                change(store, what, value, written)
        for _ in range(200):
            got += [event for reader in readers for event in told(reader.read(5))]
        assert by_key(got) == by_key(written)
        assert sorted(got) == sorted(written)


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(steps_of_a_stream, steps_of_a_stream)
def test_a_groups_cut_goes_on_behind_what_was_read_after_scales_and_a_power_cut(before: Steps, behind: Steps) -> None:
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin)
    store.create_stream("s")
    written: list[tuple[str, bytes]] = []
    reader = store.reader_group("g", ["s"]).reader("a")
    got: list[tuple[str, bytes]] = []
    for what, value in before:
        change(store, what, value, written)
        if what == "read":
            got += told(reader.read(3))
    reader.close()
    cut = store.reader_group("g").cut()["s"]
    for what, value in behind:
        change(store, what, value, written)
    twin.power_cut()
    with SegmentStore.in_memory(twin) as store:
        rest = told(list(store.read("s", cut)))
        assert by_key(got + rest) == by_key(written)
        reader = store.reader_group("g").reader("b")
        again: list[tuple[str, bytes]] = []
        for _ in range(200):
            again += told(reader.read(50))
        assert by_key(got + again) == by_key(written)
