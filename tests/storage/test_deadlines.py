"""While nothing can be made durable, whoever waits for a change of streams is told, and not kept for ever."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from storage import SegmentStore, committer
from storage.errors import StoreBusyError, StoreFullError
from storage.kv.memory import MemoryTwin

Change = Callable[[SegmentStore], object]


def full(twin: MemoryTwin) -> None:
    twin.capacity_bytes = 0


def scale(store: SegmentStore) -> None:
    (segment,) = store.stream("s").segments
    store.scale("s", [segment.id], segment.keys.split())


CHANGES: dict[str, Change] = {
    "'t' was not made": lambda store: store.create_stream("t"),
    "'s' was not scaled": scale,
    "'s' was not sealed": lambda store: store.seal("s"),
    "'s' was not truncated": lambda store: store.truncate("s", "tail"),
}


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> MemoryTwin:
    monkeypatch.setattr(committer, "CHANGE_S", 0.2)
    return MemoryTwin()


@pytest.mark.parametrize("said", CHANGES)
def test_a_change_on_a_full_disk_is_refused_after_a_while_and_done_once_there_is_room(
    twin: MemoryTwin, said: str
) -> None:
    with SegmentStore.in_memory(twin) as store:
        store.create_stream("s")
        store.writer("s", "w").append(b"x").result()
        full(twin)
        with pytest.raises(StoreFullError, match=f"{said} within 0.2 s: .* goes on by itself once there is room"):
            CHANGES[said](store)
        twin.capacity_bytes = None
        while store.commit():
            pass
        made, scaled, sealed = (
            store.has_stream("t"),
            len(store.stream("s").segments),
            store.stream("s").segments[-1].until,
        )
        begun = store.stream("s").segments[0].start
        assert (made, scaled == 3, sealed is not None, begun > 0).count(True) == 1
        assert store.check().ok


@pytest.mark.long
def test_asking_again_for_a_stream_that_is_still_queued_makes_one(twin: MemoryTwin) -> None:
    with SegmentStore.in_memory(twin) as store:
        full(twin)
        for _ in range(3):
            with pytest.raises(StoreFullError):
                store.create_stream("t")
        twin.capacity_bytes = None
        assert store.create_stream("t")
        assert [stream.number for stream in store._catalog.streams.values()] == [1]


def test_where_the_disk_is_not_full_it_says_that_much_is_being_written(twin: MemoryTwin) -> None:
    with SegmentStore.in_memory(twin) as store:
        store.own_commits()
        with pytest.raises(StoreBusyError, match=r"'t' was not made within 0\.2 s: much else is being written"):
            store.create_stream("t")
