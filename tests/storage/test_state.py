"""State on a store: revisions, synchronizers, tables. On the engine and on its twin."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Sequence

import pytest

from storage import Append, FakeClock, Frame, Gap, GapReason, SegmentStore
from storage.errors import (
    ConditionFailedError,
    StoreFailedError,
    TooLargeError,
)
from storage.kv.memory import MemoryTwin
from storage.state import Entry, Revision, StateDamagedError
from tests.storage.conftest import Reopen
from tests.storage.counts import COUNTS, Counts, CountsCodec, damage


def entries(items: Iterable[Entry | Gap]) -> list[bytes]:
    return [item.data for item in items if isinstance(item, Entry)]


# revisioned streams


def test_entries_are_read_from_every_revision_on(reopen: Reopen) -> None:
    stream = reopen().revisioned("log")
    revisions = [stream.latest]
    for number in range(5):
        revisions.append(stream.write(b"%d" % number))
    assert revisions == sorted(set(revisions))
    stream = reopen().revisioned("log")
    assert stream.latest == revisions[-1]
    for number, revision in enumerate(revisions):
        assert entries(stream.read_all(revision)) == [b"%d" % n for n in range(number, 5)]
    found = list(stream.read_all())
    assert [item.revision for item in found if isinstance(item, Entry)] == revisions[:-1]
    assert [item.next for item in found if isinstance(item, Entry)] == revisions[1:]


def test_of_conditional_writes_in_one_commit_exactly_one_wins(store: SegmentStore) -> None:
    stream = store.revisioned("log")
    before = stream.write(b"first")
    writes = [stream.begin_write(before, b"%d" % number) for number in range(8)]
    assert not any(write.done() for write in writes)
    won = [write.result() for write in writes]
    assert won == [stream.latest] + [None] * 7
    assert entries(stream.read_all(before)) == [b"0"]


def test_of_conditional_appends_in_one_commit_exactly_one_wins(store: SegmentStore) -> None:
    store.create_stream("s")
    tickets = [store.submit([Append("s", [Frame([b"%d" % number])], 0)]) for number in range(8)]
    assert tickets[0].result().stored == 1
    for ticket in tickets[1:]:
        with pytest.raises(ConditionFailedError):
            ticket.result()
    assert [event.payload for event in store.read("s")] == [b"0"]


@pytest.mark.parametrize("owned", [False, True])
def test_of_conditional_writes_by_many_threads_exactly_one_wins_each_round(store: SegmentStore, owned: bool) -> None:
    stream = store.revisioned("log")
    rounds, writers = 20, 6
    won: list[list[bytes]] = [[] for _ in range(rounds)]
    revisions = [stream.latest]
    barrier = threading.Barrier(writers)
    done = threading.Event()

    def write(me: int) -> None:
        for turn in range(rounds):
            barrier.wait()
            data = b"%d of %d" % (me, turn)
            revision = stream.write_conditionally(revisions[turn], data)
            if revision is not None:
                won[turn].append(data)
                revisions.append(revision)
            barrier.wait()

    def commit() -> None:
        while not done.is_set():
            store.wait_for_work(0.01)
            store.commit()

    store.own_commits(owned)
    threads = [threading.Thread(target=write, args=(me,)) for me in range(writers)]
    committer = threading.Thread(target=commit)
    for thread in [*threads, *([committer] if owned else [])]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    if owned:
        committer.join()
    assert [len(winners) for winners in won] == [1] * rounds
    assert entries(stream.read_all()) == [winners[0] for winners in won]


def test_a_refused_write_is_told_when_what_was_stored_instead_can_be_read(clock: FakeClock) -> None:
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin, clock=clock)
    stream = store.revisioned("log")
    store.own_commits()
    first, second = stream.begin_write(Revision(0), b"first"), stream.begin_write(Revision(0), b"second")
    twin.stalled_writes = 1
    assert not store.commit()
    assert not second.done()
    assert store.commit()
    assert first.done()
    assert second.result() is None
    assert entries(stream.read_all()) == [b"first"]


def test_a_revision_stays_what_it_was_when_what_lies_before_is_given_up(reopen: Reopen) -> None:
    stream = reopen().revisioned("log")
    revisions = [stream.write(b"%d" % number) for number in range(4)]
    stream.truncate_to(revisions[1])
    stream = reopen().revisioned("log")
    assert stream.oldest == revisions[1]
    assert entries(stream.read_all(revisions[2])) == [b"3"]
    gap, *rest = stream.read_all(revisions[0])
    assert isinstance(gap, Gap)
    assert gap.reason is GapReason.DROPPED
    assert entries(rest) == [b"2", b"3"]
    assert stream.write_conditionally(revisions[1], b"late") is None
    assert stream.write_conditionally(revisions[3], b"4") == stream.latest


def test_an_entry_is_at_most_an_event(store: SegmentStore) -> None:
    stream = store.revisioned("log")
    with pytest.raises(TooLargeError):
        stream.write(bytes((8 << 20) + 1))


# state synchronizers


def test_two_synchronizers_agree_and_so_do_those_after_a_restart(reopen: Reopen) -> None:
    store = reopen()
    one, other = store.synchronizer(COUNTS, CountsCodec()), store.synchronizer(COUNTS, CountsCodec())
    one.update(lambda state: ["a", "b"])
    other.update(lambda state: ["a"] if state == {"a": 1, "b": 1} else ["wrong"])
    assert one.state == {"a": 1, "b": 1}
    assert one.fetch() == other.state == {"a": 2, "b": 1}
    again = reopen().synchronizer(COUNTS, CountsCodec())
    assert again.fetch() == {"a": 2, "b": 1}


def test_an_update_is_decided_again_on_what_others_did(store: SegmentStore) -> None:
    one, other = store.synchronizer(COUNTS, CountsCodec()), store.synchronizer(COUNTS, CountsCodec())
    seen: list[Counts] = []

    def decide(state: Counts) -> Sequence[str]:
        seen.append(state)
        if len(seen) == 1:
            other.update(lambda _: ["other"])
        return ["mine"]

    assert one.update(decide) == {"other": 1, "mine": 1}
    assert seen == [{}, {"other": 1}]


def test_updates_by_many_threads_are_all_counted(store: SegmentStore) -> None:
    def work(me: int) -> None:
        mine = store.synchronizer(COUNTS, CountsCodec(), compact_bytes=200)
        for _ in range(15):
            mine.update(lambda state: [f"w{me}", "all"])

    threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.synchronizer(COUNTS, CountsCodec()).fetch() == {"all": 60} | {f"w{me}": 15 for me in range(4)}


def test_no_update_writes_nothing(store: SegmentStore) -> None:
    counts = store.synchronizer(COUNTS, CountsCodec())
    counts.update(lambda state: ["a"])
    before = store.last_commit
    assert counts.update(lambda state: []) == {"a": 1}
    assert store.last_commit == before


def test_growth_is_bounded_and_one_who_is_behind_catches_up(reopen: Reopen) -> None:
    store = reopen()
    behind = store.synchronizer(COUNTS, CountsCodec())
    behind.update(lambda state: ["early"])
    counts = store.synchronizer(COUNTS, CountsCodec(), compact_bytes=500)
    longest = 0
    for number in range(150):
        counts.update(lambda state, number=number: [f"word-{number % 5}"])  # type: ignore[misc]
        (segment,) = store.stream(COUNTS).segments
        longest = max(longest, segment.length - segment.start)
    (segment,) = store.stream(COUNTS).segments
    assert segment.length > 3000
    assert longest < 2 * (500 + 200) + 100
    assert behind.fetch() == counts.state == {"early": 1} | {f"word-{i}": 30 for i in range(5)}
    assert reopen().synchronizer(COUNTS, CountsCodec()).fetch() == counts.state


def test_lost_updates_are_told_and_restored_from_before_them(clock: FakeClock) -> None:
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin, clock=clock)
    counts = store.synchronizer(COUNTS, CountsCodec())
    counts.update(lambda state: ["a"])
    hit = counts.revision
    for word in ("lost", "behind"):
        counts.update(lambda state, word=word: [word])  # type: ignore[misc]
    store.close()
    damage(twin, 1, hit.offset)
    store = SegmentStore.in_memory(twin, clock=clock)
    counts, other = store.synchronizer(COUNTS, CountsCodec()), store.synchronizer(COUNTS, CountsCodec())
    with pytest.raises(StateDamagedError, match="restore"):
        counts.update(lambda state: ["more"])
    assert counts.restore() == {"a": 1}
    assert other.restore() == other.fetch() == {"a": 1}
    assert other.update(lambda state: ["c"]) == {"a": 1, "c": 1} == counts.fetch()


def test_a_state_whose_first_updates_were_given_up_is_not_made_of_the_rest(store: SegmentStore) -> None:
    counts = store.synchronizer(COUNTS, CountsCodec())
    counts.update(lambda state: ["a"])
    behind = counts.revision
    counts.update(lambda state: ["b"])
    store.revisioned(COUNTS).truncate_to(behind)
    with pytest.raises(StateDamagedError, match="dropped"):
        store.synchronizer(COUNTS, CountsCodec()).fetch()
    assert counts.fetch() == {"a": 1, "b": 1}


def test_a_lost_whole_state_is_made_from_the_one_before_it(clock: FakeClock) -> None:
    twin = MemoryTwin()
    store = SegmentStore.in_memory(twin, clock=clock)
    counts = store.synchronizer(COUNTS, CountsCodec())
    for word in ("a", "b", "c"):
        counts.update(lambda state, word=word: [word])  # type: ignore[misc]
        hit = counts.revision
        counts.compact()
    store.close()
    damage(twin, 1, hit.offset)
    store = SegmentStore.in_memory(twin, clock=clock)
    counts = store.synchronizer(COUNTS, CountsCodec())
    with pytest.raises(StateDamagedError):
        counts.fetch()
    assert counts.restore() == {"a": 1, "b": 1, "c": 1}


@pytest.mark.long
def test_state_survives_power_cuts_and_failed_syncs(clock: FakeClock) -> None:
    kept = 0
    for seed in range(20):
        rng = random.Random(seed)
        twin = MemoryTwin()
        store = SegmentStore.in_memory(twin, clock=clock)
        said = 0
        for _ in range(6):
            counts = store.synchronizer(COUNTS, CountsCodec(), compact_bytes=80)
            for _ in range(rng.randrange(12)):
                said = counts.update(lambda state: ["x"])["x"]
            twin.failing_syncs = 1
            with pytest.raises(StoreFailedError):
                counts.update(lambda state: ["x"])
            twin.power_cut(keep=rng.randint(0, 1))
            store = SegmentStore.in_memory(twin, clock=clock)
            now = store.synchronizer(COUNTS, CountsCodec()).fetch().get("x", 0)
            assert now in (said, said + 1)
            kept += now - said
            said = now
            assert store.check().findings == []
    assert 0 < kept < 120
