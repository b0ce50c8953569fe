"""What becomes of a transaction's shadows: over power cuts, truncation, a disk limit, mirroring and repairs."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from storage import Append, FakeClock, Frame, SegmentStore, StreamConfig, committer
from storage.codec import seal
from storage.keys import DEFAULT, SegmentKey
from storage.keys import placed as placed_key
from storage.keys import segment as segment_key
from storage.kv.contract import Batch
from storage.kv.memory import MemoryTwin
from storage.model import TransactionState
from storage.records import SegmentRecord
from storage.transactions import placing
from tests.storage.conftest import Reopen
from tests.storage.mirrored import replicate


@pytest.fixture
def led_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pointers lead to shadows, however small these are."""
    monkeypatch.setattr(placing, "INLINE_BYTES", 0)


@pytest.fixture
def small_generations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "GENERATION_BYTES", 2000)
    monkeypatch.setattr(committer, "SETTLED_BYTES", 4000)


def payloads(store: SegmentStore, stream: str = "s") -> list[bytes]:
    return [event.payload for event in store.read(stream)]


def transact(store: SegmentStore, *payloads: bytes, stream: str = "s", key_frame: bool = False) -> None:
    """A transaction of so many events, each in a commit of its own."""
    with store.transaction(stream) as transaction:
        for payload in payloads:
            transaction.submit([Append(stream, [Frame([payload], key_frame=key_frame)])]).result()


@pytest.mark.long
@pytest.mark.parametrize("inline_bytes", [0, 1 << 20])
@pytest.mark.parametrize("kind", ["telemetry", "bulk"])
@pytest.mark.parametrize("seed", range(6))
def test_a_power_cut_at_any_commit_leaves_all_of_it_or_nothing(
    seed: int, kind: str, inline_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "INLINE_BYTES", inline_bytes)
    dice = random.Random(f"{seed} {kind}")
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin)
    for stream in ("s", "t"):
        store.create_stream(stream, StreamConfig(kind=kind))
    whole: list[bytes] = []
    for number in range(30):
        names = [b"%d.%d" % (number, part) for part in range(3)]
        transaction = store.begin_transaction(["s", "t"])
        for name in names:
            transaction.append(name, stream="s")
            transaction.append(name, stream="t")
            if dice.random() < 0.5:
                store.commit()
        if dice.random() < 0.2:
            segments = [each for each in store.stream("s").segments if each.until is None]
            store.scale("s", [segments[0].id], segments[0].keys.split(2))
        ticket = store.commit_transaction(transaction.id, {"last": names[-1]})
        if dice.random() < 0.6:
            ticket.result()
            whole += names
        else:
            for _ in range(dice.randint(0, 2)):
                store.commit()
            acknowledged = ticket.done()
            twin.power_cut(keep=dice.randint(0, twin.unsynced_batches))
            store = SegmentStore.in_memory(twin)
            assert store.check().findings == []
            held = store.transaction_state(transaction.id) is TransactionState.COMMITTED
            assert held or not acknowledged
            assert (store.cursor("last") == names[-1]) == held
            whole += names if held else []
        assert sorted(payloads(store)) == sorted(payloads(store, "t")) == sorted(whole)
    assert payloads(store, "t") == whole
    assert store.check().findings == []


@pytest.mark.usefixtures("led_to", "small_generations")
def test_shadows_go_with_what_leads_to_them(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("s")
    for number in range(8):
        transact(store, b"%d" % number * 300, b"-" * 300)
    assert len(store._catalog.placed) == 8
    middle = list(store.read("s"))[9].position
    store.truncate("s", middle)
    assert len(payloads(store)) == 8
    assert len(store._catalog.placed) == 4
    store = reopen()
    assert len(store._catalog.placed) == 4
    store.truncate("s", "tail")
    assert not store._catalog.placed
    assert [key.stream for key in store._catalog.segments] == [1]
    store._retention.retire(everything=True)
    assert [name for name in store._kv.families() if name.startswith("telemetry")] == []
    assert store.check().findings == []


@pytest.mark.usefixtures("led_to", "small_generations")
def test_a_generation_that_holds_an_open_or_visible_shadow_stays(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("s")
    transaction = store.begin_transaction(["s"])
    transaction.append(b"1" * 300).result()
    for _ in range(10):
        store.submit([Append("s", [Frame([random.randbytes(500)])])]).result()
    store.truncate("s", "tail")
    store._retention.retire(everything=True)
    transaction.append(b"2").result()
    transaction.commit()
    store._retention.retire(everything=True)
    store = reopen()
    assert payloads(store) == [b"1" * 300, b"2"]
    assert store.check().findings == []


@pytest.mark.usefixtures("small_chunks")
def test_bulk_stays_in_its_chunk_which_becomes_the_stream_s(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("cam", StreamConfig(kind="bulk"))
    pictures = [random.Random(number).randbytes(60_000) for number in range(6)]
    store.submit([Append("cam", [Frame([pictures[0]])])]).result()
    transact(store, *pictures[1:5], stream="cam", key_frame=True)
    store.submit([Append("cam", [Frame([pictures[5]])])]).result()
    assert {chunk.segment.stream for chunk in store._catalog.chunks.values()} == {1}
    store = reopen()
    assert payloads(store, "cam") == pictures
    assert store.check().findings == []
    events = list(store.read("cam"))
    assert store.key_frame_before("cam", events[-1].time_ns) == events[4].position
    store.truncate("cam", events[5].position)
    assert payloads(store, "cam") == pictures[5:]
    held = {store._kv.chunks.size(number) or 0 for number in store._kv.chunks.numbers()}
    assert sum(held) < 70_000
    assert store.check().findings == []


@pytest.mark.usefixtures("small_chunks")
def test_an_aborted_transaction_gives_its_chunks_back(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("cam", StreamConfig(kind="bulk"))
    transaction = store.begin_transaction(["cam"])
    for _ in range(4):
        transaction.append(random.randbytes(60_000)).result()
    transaction.append(random.randbytes(60_000))
    assert store._kv.chunks.numbers()
    transaction.abort()
    assert store._kv.chunks.numbers() == []
    store = reopen()
    assert store.check().findings == []


@pytest.mark.long
@pytest.mark.parametrize("when_full", ["drop-oldest", "block", "thin"])
@pytest.mark.parametrize("inline_bytes", [0, 1 << 20])
def test_under_a_disk_limit_transactions_give_way_like_anything_else(
    when_full: str, inline_bytes: int, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    monkeypatch.setattr(placing, "INLINE_BYTES", inline_bytes)
    dice = random.Random(5)
    limit = 16 << 20
    with SegmentStore.in_memory(clock=clock, disk_limit=limit) as store:
        store.create_stream("s", StreamConfig(when_full=when_full))
        opened = store.begin_transaction(["s"], lease_s=80_000)
        opened.append(b"kept open").result()
        for number in range(60):
            with store.transaction("s") as transaction:
                for _ in range(4):
                    transaction.append(dice.randbytes(100_000))
                    store.retain({"s": store.last_commit}, None)
                    store.commit()
                transaction.append(b"%d" % number)
            assert store.disk_bytes() <= limit
        kept = [event.payload for event in store.read("s") if len(event.payload) < 10]
        assert 0 < len(kept) < 60
        assert kept == [b"%d" % number for number in range(60 - len(kept), 60)]
        # None of them is thinned: all of what is left is there.
        assert len(payloads(store)) == 5 * len(kept)
        opened.append(b"and whole")
        opened.commit()
        assert payloads(store)[-2:] == [b"kept open", b"and whole"]
        assert store.check().ok, store.check().findings


@pytest.mark.parametrize("inline_bytes", [0, 1 << 20])
@pytest.mark.parametrize("kind", ["telemetry", "bulk"])
def test_a_hub_gets_a_transaction_whole_and_at_the_same_place(
    kind: str, inline_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "INLINE_BYTES", inline_bytes)
    with SegmentStore.in_memory() as gateway, SegmentStore.in_memory() as hub:
        gateway.create_stream("s", StreamConfig(kind=kind))
        for number in range(6):
            transaction = gateway.begin_transaction(["s"])
            for part in range(3):
                transaction.append(b"%d.%d" % (number, part), f"k{part}", writer="w", number=3 * number + part).result()
                replicate(gateway, hub, max_bytes=1)
                seen = payloads(hub, "g/s") if number else []
                assert seen == payloads(gateway)
            if number % 2:
                first = next(each for each in gateway.stream("s").segments if each.until is None)
                gateway.scale("s", [first.id], first.keys.split(2))
            transaction.commit()
        replicate(gateway, hub, max_bytes=1)
        here = list(gateway.read("s"))
        assert [event.in_stream("s") for event in hub.read("g/s")] == here
        assert [event.payload for event in hub.read("g/s", here[7].position)] == [event.payload for event in here[7:]]
        assert hub.last_number("g/s", "w") == 17
        assert gateway.check().findings == hub.check().findings == []


def test_large_transactions_that_are_committed_at_once_go_up_one_by_one() -> None:
    with SegmentStore.in_memory() as store:
        store.create_stream("s")
        opened = [store.begin_transaction(["s"]) for _ in range(3)]
        for transaction in opened:
            transaction.append_many([bytes(1 << 20)] * 6).result()
        receipts = [store.commit_transaction(transaction.id) for transaction in opened]
        assert len({ticket.result().commit for ticket in receipts}) == 3


@pytest.mark.usefixtures("led_to")
def test_what_a_repair_brings_back_of_ended_transactions_is_nothing(clock: FakeClock) -> None:
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin, clock=clock)
    store.create_stream("s")
    transact(store, b"1")
    (shadow, placed), *_ = store._catalog.placed.items()
    record = store._catalog.segments[shadow]
    store.truncate("s", "tail")
    store.close()
    kv = twin.connect()
    batch = Batch()
    for key, payload in (
        (segment_key(shadow), record.encode()),
        (placed_key(shadow), placed.encode()),
        (segment_key(SegmentKey(shadow.stream + 7, 0, 0)), SegmentRecord(length=100).encode()),
    ):
        batch.put(DEFAULT, key, seal(key, 2, payload))
    kv.write(batch)
    kv.sync()
    kv.close()
    store = SegmentStore.in_memory(twin, clock=clock)
    assert [key.stream for key in store._catalog.segments] == [1]
    assert not store._catalog.placed
    transact(store, b"2")
    assert payloads(store) == [b"2"]
    store.close()


def test_times_hold_where_a_transaction_was_open_over_a_reboot(reopen: Reopen, clock: FakeClock) -> None:
    store = reopen()
    store.create_stream("s")
    transaction = store.begin_transaction(["s"])
    transaction.append(b"old").result()
    captured = store.now_ns()
    clock.advance(100)
    clock.reboot()
    store = reopen()
    store.submit([Append("s", [Frame([b"between"])])]).result()
    clock.advance(100)
    store.resume_transaction(transaction.id).commit()
    clock.advance(100)
    store.submit([Append("s", [Frame([b"after"])])]).result()
    times = {event.payload: event.time_ns for event in store.read("s")}
    assert times[b"old"] == captured
    assert times[b"old"] < times[b"between"] < times[b"after"]
    for name, first in ((b"old", b"between"), (b"between", b"between"), (b"after", b"after")):
        moment = datetime.fromtimestamp(times[name] / 1e9, UTC).isoformat()
        assert next(store.read("s", moment)).payload == first
