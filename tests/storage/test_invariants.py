"""The invariants of streams, one test each: what a reader of this project may rely on whatever else it does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import (
    Append,
    FakeClock,
    Frame,
    Gap,
    GapReason,
    Position,
    RetentionPolicy,
    SegmentStore,
    StreamConfig,
    StreamCut,
)
from storage.errors import ConditionFailedError, StreamSealedError, TransactionEndedError, WriterNumberGapError
from storage.kv.logs import log_files
from storage.kv.memory import MemoryTwin
from storage.model import TransactionState
from storage.readers import CheckpointEvent, Reader
from tests.storage.conftest import Reopen
from tests.storage.scaled import KEYS, append, by_key, merge, open_segments, scaled, split, told


class Killed(BaseException):
    """The power goes."""


class Power:
    """A trace that ends after so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self, step: str, details: dict[str, object]) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed(step)


def payloads(store: SegmentStore, stream: str = "s") -> list[bytes]:
    return [event.payload for event in store.read(stream)]


def every_step() -> Iterator[tuple[int, int]]:
    """After so many steps the power goes, and so many batches that were written and not synced are kept."""
    yield from ((steps, torn) for steps in range(1000) for torn in (0, 1))


# appends


@pytest.mark.long
def test_what_was_acknowledged_is_readable_after_a_crash_at_the_same_offset_with_the_same_bytes() -> None:
    for steps, torn in every_step():
        twin, acknowledged = MemoryTwin(), dict[Position, bytes]()
        whole = False
        try:
            store = SegmentStore.in_memory(twin, trace=Power(steps))
            store.create_stream("s")
            for number in range(8):
                acknowledged[append(store, KEYS[number], b"%d" % number)] = b"%d" % number
                if number == 3:
                    split(store)
            whole = True
        except Killed:
            pass
        twin.power_cut(torn)
        with SegmentStore.in_memory(twin) as again:
            held = {event.position: event.payload for event in again.read("s")} if again.has_stream("s") else {}
            assert held.items() >= acknowledged.items()
            assert again.check().findings == []
        if whole:
            return
    raise AssertionError("it never came to an end")


def test_no_gap_duplicate_or_reorder_per_key_across_split_and_merge(reopen: Reopen) -> None:
    store = reopen()
    written = scaled(store)
    for _ in range(2):
        assert by_key(told(store.read("s"))) == by_key(written)
        assert told(store.read("s")) == written
        assert store.check().findings == []
        store = reopen()


def test_the_same_number_of_a_writer_again_is_acknowledged_and_not_stored_also_after_a_scale(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("s")
    store.writer("s", "w").append_many([b"0", b"1"], "a").result()
    assert store.writer("s", "w").append(b"1", "a", number=1).result().duplicates == 1
    split(store)
    store = reopen()
    writer = store.writer("s", "w")
    again = [writer.append(b"%d" % n, "a", number=n).result() for n in (0, 1)]
    assert [(receipt.stored, receipt.positions) for receipt in again] == [(0, (None,)), (0, (None,))]
    assert writer.append(b"2", "b", number=2).result().stored == 1
    merge(store)
    receipt = writer.append_many([b"1", b"2", b"3"], "b", number=1).result()
    assert (receipt.stored, receipt.duplicates) == (1, 2)
    assert payloads(store) == [b"0", b"1", b"2", b"3"]


def test_a_gap_in_numbers_is_refused(store: SegmentStore) -> None:
    store.create_stream("s")
    writer = store.writer("s", "w")
    writer.append(b"0").result()
    with pytest.raises(WriterNumberGapError, match="number 1 is missing"):
        writer.append(b"5", number=5).result()
    split(store)
    with pytest.raises(WriterNumberGapError, match="number 1 is missing"):
        writer.append(b"2", "elsewhere", number=2).result()
    assert payloads(store) == [b"0"]


def test_of_n_concurrent_conditional_appends_exactly_one_wins(store: SegmentStore) -> None:
    store.create_stream("s")
    for rivals in (1, 2, 8):
        length = store.stream("s").segments[0].length
        tickets = [store.submit([Append("s", [Frame([b"%d" % i])], expected_length=length)]) for i in range(rivals)]
        before = len(payloads(store))
        store.commit()
        errors = [ticket.error() for ticket in tickets]
        assert [type(error) for error in errors if error] == [ConditionFailedError] * (rivals - 1)
        assert len(payloads(store)) == before + 1


def test_a_sealed_segment_never_grows() -> None:
    with SegmentStore.in_memory() as store:
        store.create_stream("s")
        append(store, "a", b"0")
        length = store.stream("s").segments[0].length
        # In one commit: what comes before the scale goes to the old segment, what comes behind it to the new ones.
        before = store.submit([Append("s", [Frame([b"1"], "a")])])
        split(store)
        sealed = store.stream("s").segments[0]
        assert before.result().commit == store.last_commit
        assert sealed.length > length
        append(store, "a", b"2")
        store.seal("s")
        with pytest.raises(StreamSealedError):
            append(store, "a", b"3")
        assert store.stream("s").segments[0].length == sealed.length
        assert payloads(store) == [b"0", b"1", b"2"]


# transactions


@pytest.mark.long
@pytest.mark.usefixtures("pointers")
def test_a_transaction_is_there_whole_or_not_at_all_after_a_kill_at_every_step() -> None:
    seen = set()
    for steps, torn in every_step():
        twin = MemoryTwin()
        acknowledged = False
        try:
            store = SegmentStore.in_memory(twin, trace=Power(steps))
            for name in ("s", "t"):
                store.create_stream(name)
            transaction = store.begin_transaction(["s", "t"])
            for number, key in enumerate(KEYS):
                transaction.append(b"%d" % number, key, stream="st"[number % 2]).result()
                if number == 3:
                    split(store)
            transaction.commit({"cursor": b"behind it"})
            acknowledged = True
        except Killed:
            pass
        twin.power_cut(torn)
        with SegmentStore.in_memory(twin) as again:
            held = sorted(payload for name in "st" if again.has_stream(name) for payload in payloads(again, name))
            assert held in ([], [b"%d" % number for number in range(8)])
            assert (again.cursor("cursor") is not None) == bool(held)
            assert held or not acknowledged
            assert again.check().findings == []
            seen.add(bool(held))
        if acknowledged:
            break
    assert seen == {False, True}


@pytest.mark.usefixtures("pointers")
def test_events_of_no_transaction_are_never_inside_a_transaction() -> None:
    with SegmentStore.in_memory() as store:
        store.create_stream("s")
        split(store)
        transactions = [store.begin_transaction(["s"]) for _ in range(3)]
        for number in range(24):
            append(store, KEYS[number % 8], b"alone")
            for name, transaction in enumerate(transactions):
                transaction.append(b"of %d" % name, KEYS[number % 8]).result()
        for transaction in transactions:
            transaction.commit()
            append(store, KEYS[0], b"alone")
        for segment in store.stream("s").segments[1:]:
            reader = store.segment_reader(segment.id, Position(segment.id.number, segment.id.epoch, 0))
            runs: list[bytes] = []
            for _, payload in told(reader.poll()):
                if not runs or runs[-1] != payload:
                    runs.append(payload)
            assert [run for run in runs if run != b"alone"] == [b"of 0", b"of 1", b"of 2"]


@pytest.mark.usefixtures("pointers")
def test_commits_are_visible_in_commit_order(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("s")
    split(store)
    transactions = [store.begin_transaction(["s"]) for _ in range(5)]
    for number, transaction in enumerate(transactions):
        for key in KEYS:
            transaction.append(b"%d" % number, key).result()
    order = [3, 0, 4, 1, 2]
    reader = store.reader("s")
    for done, number in enumerate(order, start=1):
        transactions[number].commit()
        assert [payload for _, payload in told(reader.poll())] == [b"%d" % number] * 8
        assert payloads(store) == [b"%d" % each for each in order[:done] for _ in KEYS]
    assert payloads(reopen()) == [b"%d" % each for each in order for _ in KEYS]


def test_a_lease_aborts_only_open_transactions(reopen: Reopen, clock: FakeClock) -> None:
    store = reopen()
    store.create_stream("s")
    left, kept, committing, committed = (store.begin_transaction(["s"], lease_s=10) for _ in range(4))
    for number, each in enumerate((left, kept, committing, committed)):
        each.append(b"%d" % number).result()
    committed.commit()
    clock.advance(9)
    kept.ping()
    clock.step_wall(1e9)
    assert store.expire_transactions() == []
    waiting = store.commit_transaction(committing.id)
    clock.advance(5)
    assert store.expire_transactions() == [left.id]
    waiting.result()
    store.commit()
    assert (left.state, kept.state) == (TransactionState.ABORTED, TransactionState.OPEN)
    assert committing.state is committed.state is TransactionState.COMMITTED
    with pytest.raises(TransactionEndedError):
        left.commit()
    assert payloads(reopen()) == [b"3", b"2"]


@pytest.mark.usefixtures("pointers")
def test_a_transaction_spans_a_scale(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("s")
    transaction = store.begin_transaction(["s"])
    for key in KEYS:
        append(store, key, b"before")
        transaction.append(b"inside", key).result()
    split(store)
    split(store)
    for key in KEYS:
        append(store, key, b"between")
    transaction.append(b"inside, too", KEYS[0]).result()
    merge(store)
    transaction.commit()
    for key in KEYS:
        append(store, key, b"behind")
    store = reopen()
    of_key = by_key(told(store.read("s")))
    assert of_key.pop(KEYS[0]) == [b"before", b"between", b"inside", b"inside, too", b"behind"]
    assert list(of_key.values()) == [[b"before", b"between", b"inside", b"behind"]] * 7
    assert store.check().findings == []


# reading


@pytest.mark.long
def test_truncation_never_shifts_offsets(reopen: Reopen) -> None:
    store = reopen()
    scaled(store, 30)
    events = list(store.read("s"))
    for index in (5, 11, 29):
        assert store.truncate("s", store.cut("s", events[index].position))
        for _ in range(2):
            assert list(store.read("s")) == events[index:]
            for event in events[index:]:
                segment = store.stream("s").segments[event.position.number]
                assert store.segment_reader(segment.id, event.position).poll(1) == [event]
            assert store.check().findings == []
            store = reopen()


def test_a_read_below_the_start_is_told_once_and_goes_on(store: SegmentStore) -> None:
    store.create_stream("s")
    for number in range(10):
        append(store, "k", b"%d" % number)
    events = list(store.read("s"))
    reader = store.reader("s", events[3].position)
    store.truncate("s", events[8].position)
    gap, *rest = reader.poll() + reader.poll()
    assert isinstance(gap, Gap)
    assert (gap.position, gap.next, gap.reason) == (events[3].position, events[8].position, GapReason.DROPPED)
    assert rest == events[8:]
    gaps: list[Gap] = []
    assert list(store.read("s", Position(0, 0, 0), on_gap=gaps.append)) == events[8:]
    assert [(gap.reason, gap.events) for gap in gaps] == [(GapReason.DROPPED, 8)]


def test_tail_read_and_history_read_are_byte_equal(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("s")
    tail, read = store.reader("s", "tail"), list[object]()
    for number in range(60):
        append(store, KEYS[number % 8], b"%d" % number * (1 + number % 5))
        if number % 7 == 3:
            split(store, -1)
        if number % 9 == 8:
            with store.transaction("s") as transaction:
                transaction.append_many([b"in a transaction", b"%d" % number], KEYS[number % 8])
        if number % 4 == 0:
            read += tail.poll(3)
    while items := tail.poll(3):
        read += items
    assert len(read) == 60 + 2 * 6
    assert list(store.read("s")) == read
    assert list(reopen().read("s")) == read


def test_stream_cuts_survive_scaling() -> None:
    with SegmentStore.in_memory() as store:
        written = scaled(store, 23)
        reader = store.reader("s")
        read = reader.poll(11)
        cut = StreamCut.parse(str(reader.cut))
        for _ in range(3):
            split(store, -1)
            written.append(("late", b"x"))
            append(store, "late", b"x")
        assert len(read) == 11
        assert told(store.read("s", cut)) == written[11:]
        assert told(store.read("s", "head", stop=cut)) == written[:11]
        assert str(store.cut("s", cut)) == str(cut)


def test_the_union_of_a_groups_readers_is_each_event_once_per_checkpoint_generation(reopen: Reopen) -> None:
    store = reopen()
    written = scaled(store, 40)
    group = store.reader_group("g", ["s"])

    def read(readers: list[Reader], rounds: int) -> list[object]:
        return [item for _ in range(rounds) for reader in readers for item in reader.read(3)]

    readers = [group.reader(name) for name in ("a", "b", "c")]
    before = read(readers, 3)
    group.checkpoint("here")
    behind: list[object] = []
    while group.checkpoint_cut("here") is None:
        behind += read(readers, 1)
    assert sum(isinstance(item, CheckpointEvent) for item in behind) == 3
    readers.pop().close()
    split(store, -1)
    written += [(key, b"late") for key in KEYS if append(store, key, b"late")]
    behind += read(readers, 60)
    assert sorted(told(before + behind)) == sorted(written)
    cut = (group.checkpoint_cut("here") or {})["s"]
    generation = told(store.read("s", cut))
    store = reopen()
    group = store.reader_group("g")
    group.reset_to_checkpoint("here")
    again = told(read([group.reader(name) for name in ("d", "e")], 80))
    assert sorted(again) == sorted(generation)
    assert by_key(again) == by_key(generation)


# giving up, and what a power cut leaves


@pytest.mark.parametrize(
    "policy", [RetentionPolicy(max_age_s=1.0), RetentionPolicy(consumed=True), RetentionPolicy(max_bytes=400)]
)
def test_retention_never_takes_what_is_not_confirmed(policy: RetentionPolicy, clock: FakeClock) -> None:
    with SegmentStore.in_memory(clock=clock) as store:
        store.create_stream("s", StreamConfig(retention=policy))
        split(store)
        through = [store.last_commit]
        for number in range(10):
            append(store, KEYS[number % 8], b"%d" % number)
            through.append(store.last_commit)
            clock.advance(3600)
        ends = [Position(s.id.number, s.id.epoch, s.length) for s in open_segments(store)]
        for confirmed in (0, 4, 7, 10):
            store.retain({"s": through[confirmed]}, {"s": ends})
            left = [int(payload) for payload in payloads(store)]
            assert set(left) >= set(range(confirmed, 10))
        assert len(payloads(store)) < 10


@pytest.mark.long
def test_a_torn_tail_is_detected_and_cut(tmp_path: Path) -> None:
    live = tmp_path / "live"
    with SegmentStore.open(live) as store:
        store.create_stream("s")
        sizes = []
        for number in range(20):
            append(store, "k", b"%d" % number * 30)
            sizes.append(log_files(live / "db")[-1].stat().st_size)
        events = list(store.read("s"))
        # A tail is torn before its sync: the witness, which is written after it, does not know of it.
        shutil.copytree(live, tmp_path / "image", ignore=shutil.ignore_patterns("LOCK", "WITNESS"))
    for size in (sizes[10], sizes[10] + 1, sizes[11] - 1, sizes[18] + 9, sizes[18] + 100):
        image = tmp_path / f"torn at {size}"
        shutil.copytree(tmp_path / "image", image)
        with log_files(image / "db")[-1].open("r+b") as log:
            log.truncate(size)
        whole = sum(end <= size for end in sizes)
        for _ in range(2):
            with SegmentStore.open(image) as store:
                assert list(store.read("s")) == events[:whole]
                assert store.recovery == ()
                assert store.check().findings == []
        shutil.rmtree(image)
