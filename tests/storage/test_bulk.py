"""Bulk: written once into chunk files, durable before the pointer to it, mirrored, indexed, given up by whole files."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import Append, Event, FakeClock, Frame, Gap, GapReason, SegmentStore
from storage.bulk.writes import BulkWrites
from storage.errors import DamagedBlockError, RangeGoneError, StoreFailedError, TooLargeError
from storage.kv.contract import Batch
from storage.kv.memory import MemoryTwin
from storage.model import MAX_APPEND_BYTES, MAX_EVENT_BYTES, Position
from tests.storage.conftest import Reopen
from tests.storage.footage import BULK, append, filled, payloads, picture
from tests.storage.mirrored import replicate


@pytest.mark.usefixtures("small_chunks")
def test_what_was_acknowledged_is_there_after_reopening_and_lies_in_chunks(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("v", BULK)
    for number in range(30):
        append(store, number)
    before = list(store.read("v"))
    assert [event.payload for event in before] == [picture(number) for number in range(30)]
    assert [event.number for event in before] == list(range(30))
    assert len(store._kv.chunks.numbers()) == 8
    store = reopen()
    assert store.recovery == ()
    assert list(store.read("v")) == before
    assert list(store.read("v", before[17].position)) == before[17:]
    append(store, 30)
    assert len(payloads(store)) == 31
    assert store.check().findings == []


def test_the_same_numbers_again_are_not_stored_again(store: SegmentStore) -> None:
    store.create_stream("v", BULK)
    append(store, 0)
    append(store, 0)
    assert payloads(store) == [picture(0)]


def test_the_tables_hold_only_pointers(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("v", BULK)
    append(store, 0, 3_000_000)
    assert store.written_bytes - 3_000_000 < 5_000
    assert payloads(store) == [picture(0, 3_000_000)]


def test_an_event_may_be_as_large_as_a_submission_in_bulk_only(store: SegmentStore) -> None:
    store.create_stream("v", BULK)
    store.create_stream("t")
    huge = bytes(MAX_EVENT_BYTES) + random.Random(1).randbytes(MAX_EVENT_BYTES)
    store.writer("v").append(huge).result()
    assert payloads(store) == [huge]
    with pytest.raises(TooLargeError):
        store.writer("t").append(huge)
    with pytest.raises(TooLargeError):
        store.writer("v").append(bytes(MAX_APPEND_BYTES + 1))
    assert store.check().ok


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.lists(st.lists(st.integers(0, 60_000), min_size=1, max_size=5), min_size=1, max_size=8), st.integers(1, 5))
def test_events_of_any_size_come_back_as_they_were(commits: list[list[int]], chunk_kib: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.committer.CHUNK_BYTES", chunk_kib << 13)
        twin = MemoryTwin()
        store = SegmentStore.in_memory(twin)
        store.create_stream("v", BULK)
        sent: list[bytes] = []
        for sizes in commits:
            data = [picture(len(sent) + place, size) for place, size in enumerate(sizes)]
            store.writer("v", "w").append_many(data).result()
            sent += data
        twin.power_cut()
        with SegmentStore.in_memory(twin) as again:
            assert payloads(again) == sent
            assert again.check().findings == []


# power cuts


class PowerCutError(Exception):
    """The power went at a step."""


def cut_at(twin: MemoryTwin, step: str, keep: int, keep_chunk_bytes: int) -> Callable[[str, dict[str, object]], None]:
    armed = [False]

    def trace(name: str, details: dict[str, object]) -> None:
        if name == "store.opened":
            armed[0] = True
        if armed[0] and name == step and details.get("commit", 7) == 7 and twin.syncs >= 6:
            twin.power_cut(keep, keep_chunk_bytes)
            raise PowerCutError(name)

    return trace


STEPS = ["commit.building", "chunk.written", "chunk.synced", "commit.writing", "commit.written", "commit.synced"]


@pytest.mark.parametrize("keep_chunk_bytes", [0, 1, 9_000, 1 << 20])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("step", STEPS)
def test_a_power_cut_at_any_step_leaves_whole_events_and_nothing_behind_them(
    step: str, keep: int, keep_chunk_bytes: int
) -> None:
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin, trace=cut_at(twin, step, keep, keep_chunk_bytes))
    store.create_stream("v", BULK)
    with pytest.raises(PowerCutError):
        for number in range(100):
            append(store, number)
    with SegmentStore.in_memory(twin) as again:
        held = payloads(again)
        assert held == [picture(number) for number in range(len(held))]
        assert len(held) in (4, 5)
        assert len(held) == 5 or step != "commit.synced"
        [number] = twin.chunks.numbers()
        assert twin.chunks.size(number) == again._catalog.chunks[number].size_bytes
        assert again.check().findings == []
        assert again.recovery == ()
        append(again, len(held))
        assert payloads(again) == [picture(number) for number in range(len(held) + 1)]


def test_a_pointer_whose_chunk_was_never_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BulkWrites, "persist", lambda self, chunks, trace: None)
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin)
    store.create_stream("v", BULK)
    append(store, 0)
    twin.power_cut()
    with SegmentStore.in_memory(twin) as again:
        assert payloads(again) == []
        assert any("lost bytes" in line for line in again.recovery)


def test_a_full_disk_keeps_what_was_accepted_and_goes_on_at_the_same_place() -> None:
    twin = MemoryTwin()
    with SegmentStore.in_memory(twin) as store:
        store.create_stream("v", BULK)
        append(store, 0)
        for room in (10, 1_000, 20_100):
            twin.capacity_bytes = twin.used_bytes + room
            number = len(payloads(store))
            frame = Frame([picture(number)], writer="cam", number=number)
            ticket = store.submit([Append("v", [frame])])
            assert not store.commit()
            assert "disk is full" in (store.blocked or "")
            twin.capacity_bytes = None
            assert ticket.result().stored == 1
        assert payloads(store) == [picture(number) for number in range(4)]
        assert store.check().findings == []


def test_a_failed_sync_of_a_chunk_ends_the_store_until_it_is_reopened() -> None:
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin)
    store.create_stream("v", BULK)
    append(store, 0)
    twin.failing_syncs = 1
    with pytest.raises(StoreFailedError):
        append(store, 1)
    twin.power_cut()
    with SegmentStore.in_memory(twin) as again:
        assert payloads(again) == [picture(0)]
        append(again, 1)


# giving up


@pytest.mark.usefixtures("small_chunks")
def test_giving_up_unlinks_whole_chunks(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("v", BULK)
    for number in range(20):
        append(store, number)
    before = list(store.read("v"))
    chunks = store._kv.chunks
    assert len(chunks.numbers()) == 5
    store.truncate("v", before[10].position)
    assert chunks.numbers() == [3, 4, 5]
    assert payloads(store) == [picture(number) for number in range(10, 20)]
    store.truncate("v", "tail")
    assert chunks.numbers() == []
    append(store, 20)
    assert chunks.numbers() == [6]
    assert payloads(store) == [picture(20)]
    store = reopen()
    assert payloads(store) == [picture(20)]
    assert store.check().findings == []


@pytest.mark.usefixtures("small_chunks")
def test_a_chunks_number_is_not_used_twice_so_a_record_brought_back_harms_no_live_file() -> None:
    twin = MemoryTwin()
    before = filled(twin)
    kv = twin.connect()
    records = kv.scan("default", b"K", b"L")
    kv.close()
    with SegmentStore.in_memory(twin) as store:
        store.truncate("v", "tail")
    with SegmentStore.in_memory(twin) as store:
        append(store, len(before))
    kv = twin.connect()
    (key, value), live = records[0], [key for key, _ in kv.scan("default", b"K", b"L")]
    assert key not in live
    kv.write(Batch(puts=[("default", key, value)]))
    kv.sync()
    kv.close()
    with SegmentStore.in_memory(twin) as store:
        assert payloads(store) == [picture(len(before))]
        assert store.check().findings == []


@pytest.mark.usefixtures("small_chunks")
def test_a_chunk_that_a_crash_left_behind_is_unlinked_at_the_next_opening() -> None:
    twin = MemoryTwin()
    before = filled(twin)
    with SegmentStore.in_memory(twin) as store:
        store.truncate("v", before[10].position)
        assert twin.chunks.numbers() == [3]
        twin.power_cut()
        assert twin.chunks.numbers() == [1, 2, 3]
    with SegmentStore.in_memory(twin) as store:
        assert twin.chunks.numbers() == [3]
        assert store.recovery == ()
        assert list(store.read("v")) == before[10:]


# mirroring


@pytest.mark.usefixtures("small_chunks")
def test_a_hub_holds_the_same_events_at_the_same_positions_in_chunks_of_its_own() -> None:
    twin = MemoryTwin()
    with SegmentStore.in_memory(twin) as gateway, SegmentStore.in_memory() as hub:
        gateway.create_stream("v", BULK)
        gateway.create_stream("t")
        for number in range(12):
            append(gateway, number, key=number % 5 == 0)
            gateway.writer("t", "w").append(b"%d" % number).result()
        largest = 0
        while (unit := gateway.next_unit("n", hub.holdings("n").streams, lambda _: True, 50_000)) is not None:
            largest = max(largest, unit.size_bytes)
            hub.submit_unit(unit).result()
            assert hub.submit_unit(unit).result().stored == 0
        assert 50_000 < largest < 90_000
        ours, theirs = list(gateway.read("v")), list(hub.read("n/v"))
        assert [event.in_stream("n/v") for event in ours] == theirs
        assert len(hub._kv.chunks.numbers()) == 3
        end = gateway.resolve("v", "tail").offset
        here = Position(0, 0, 0)
        assert gateway.read_bytes("v", here, end) == hub.read_bytes("n/v", here, end)
        assert hub.check().findings == []
        assert gateway.key_frame_before("v", ours[-1].time_ns) == hub.key_frame_before("n/v", ours[-1].time_ns)


@pytest.mark.usefixtures("small_chunks")
def test_what_is_damaged_goes_up_as_a_gap() -> None:
    twin = MemoryTwin()
    before = filled(twin)
    twin.chunks.damage(2, None)
    with SegmentStore.in_memory(twin) as gateway, SegmentStore.in_memory() as hub:
        replicate(gateway, hub, "n", 50_000)
        kept = [event.payload for event in (*before[:4], *before[8:])]
        assert payloads(hub, "n/v") == kept
        assert len(hub.gaps("n/v")) == 4
        assert hub.check().ok


# byte ranges and key frames


@pytest.mark.parametrize("size_bytes", [1, 100, 4096, 70_000, 1 << 20])
def test_byte_ranges_are_the_same_however_they_are_asked_for(store: SegmentStore, size_bytes: int) -> None:
    store.create_stream("v", BULK)
    for number in range(4):
        append(store, number)
    store.writer("v").append(b"z" * 50_000).result()  # One that is compressed.
    whole = store.read_bytes("v", Position(0, 0, 0), 1 << 20)
    assert len(whole) == store.resolve("v", "tail").offset
    pieces = [
        store.read_bytes("v", Position(0, 0, offset), size_bytes) for offset in range(0, len(whole), size_bytes)[:50]
    ]
    assert b"".join(pieces) == whole[: 50 * size_bytes]
    assert picture(2) in whole
    append(store, 4)
    assert store.read_bytes("v", Position(0, 0, 0), 1 << 20)[: len(whole)] == whole
    assert store.read_bytes("v", store.resolve("v", "tail"), 10) == b""


def test_a_byte_range_that_is_gone_is_told(store: SegmentStore) -> None:
    store.create_stream("v", BULK)
    for number in range(4):
        append(store, number)
    second = list(store.read("v"))[2].position
    store.truncate("v", second)
    with pytest.raises(RangeGoneError, match="begins at"):
        store.read_bytes("v", Position(0, 0, 0), 10)
    for chunk in store._kv.chunks.numbers():
        store._kv.chunks.cut(chunk, 10)
    with pytest.raises(DamagedBlockError):
        store.read_bytes("v", second, 10)


def test_the_last_key_frame_before_a_moment_is_found_without_touching_a_chunk(clock: FakeClock) -> None:
    twin = MemoryTwin()
    with SegmentStore.in_memory(twin, clock=clock) as store:
        store.create_stream("v", BULK)
        frames = []
        for second in range(120):
            if second == 60:
                clock.reboot()
            begins = clock.boot_ns()
            made = [
                Frame(
                    [picture(second, 300)], captured_ns=begins + place * 200_000_000, key_frame=second % 3 + place == 1
                )
                for place in range(5)
            ]
            store.submit([Append("v", made)]).result()
            clock.advance(1)
        frames = list(store.read("v"))
        keys = [event for place, event in enumerate(frames) if (place // 5) % 3 + place % 5 == 1]
        for chunk in twin.chunks.numbers():
            twin.chunks.damage(chunk, None)
        for event in [*frames[::7], frames[-1]]:
            expected = [key.position for key in keys if key.time_ns <= event.time_ns][-1:]
            assert store.key_frame_before("v", event.time_ns) == (expected[0] if expected else None)
        assert store.key_frame_before("v", frames[0].time_ns - 1) is None


def test_a_key_frame_is_marked_in_the_frame_itself(store: SegmentStore) -> None:
    from storage.frame import decode_all

    store.create_stream("v", BULK)
    store.submit(
        [Append("v", [Frame([b"a", b"b"], key_frame=True), Frame([b"c"]), Frame([b"d"], key_frame=True)])]
    ).result()
    whole = store.read_bytes("v", Position(0, 0, 0), 1 << 20)
    assert [(frame.key_frame, list(frame.payloads)) for frame in decode_all(whole)] == [
        (True, [b"a", b"b", b"c"]),
        (True, [b"d"]),
    ]


def test_a_follower_reads_what_is_appended_while_it_waits(tmp_path: Path) -> None:
    with SegmentStore.open(tmp_path / "store") as store:
        store.create_stream("v", BULK)
        reader = store.reader("v")
        for number in range(20):
            append(store, number, 200_000)
            [event] = reader.poll()
            assert isinstance(event, Event)
            assert event.payload == picture(number, 200_000)


def test_what_is_given_up_while_it_is_read_is_told_and_not_called_damaged(store: SegmentStore) -> None:
    store.create_stream("v", BULK)
    for number in range(10):
        append(store, number, 600_000)
    reader = store.reader("v")
    assert [isinstance(item, Event) for item in reader.poll()] == [True] * 2
    store.truncate("v", "tail")
    append(store, 10)
    gap, event = reader.poll() + reader.poll()
    assert isinstance(gap, Gap)
    assert gap.reason is GapReason.DROPPED
    assert isinstance(event, Event)
    assert event.payload == picture(10)
