"""Tables, and the streams that a store keeps for itself. On the engine and on its twin."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage import Append, Frame, SegmentStore, StreamConfig, StreamInfo
from storage.errors import ConditionFailedError, InvalidNameError, OriginRefusedError, StorageError, TooLargeError
from storage.mirror.unit import Unit
from storage.state import RevisionedStream
from storage.state import table as tables
from sync.streams import selector
from tests.storage.conftest import Reopen
from tests.storage.counts import COUNTS, CountsCodec

# tables


def test_a_table_holds_values_with_versions(reopen: Reopen) -> None:
    table = reopen().table("t")
    assert table.get("a") is None
    table.put("a", b"1")
    table.put("a", b"2")
    table.put("b", b"")
    table = reopen().table("t")
    assert table.get("a") == (b"2", 2)
    assert table.items() == {"a": (b"2", 2), "b": (b"", 1)}


def test_a_removed_key_stays_removed_and_its_versions_go_on(reopen: Reopen) -> None:
    table = reopen().table("t")
    table.put("a", b"1")
    table.put("a", b"2")
    table.remove("a")
    table.remove("never there")
    table = reopen().table("t")
    assert table.get("a") is None
    assert table.items() == {}
    assert table.put_if("a", b"stale", 2) is None
    assert table.put_if("a", b"new", 0) == 4
    assert table.get("a") == (b"new", 4)
    assert not table.remove_if("a", 2)
    assert table.remove_if("a", 4)


def test_of_conditional_puts_in_one_commit_exactly_one_wins(store: SegmentStore) -> None:
    table = store.table("t")
    table.put("a", b"0")
    tickets = [store.submit((), None, [table.change("a", b"%d" % number, 1)]) for number in range(5)]
    assert tickets[0].result().commit == store.last_commit
    for ticket in tickets[1:]:
        with pytest.raises(ConditionFailedError, match="at version 2, not 1"):
            ticket.result()
    assert table.get("a") == (b"0", 2)


def test_a_change_moves_with_its_data_or_not_at_all(store: SegmentStore) -> None:
    store.create_stream("s")
    table, other = store.table("t"), store.table("other")
    changes = [table.change("a", b"1", 0), other.change("a", b"1")]
    store.submit([Append("s", [Frame([b"event"])])], {"cursor": b"c"}, changes).result()
    assert (table.get("a"), other.get("a"), store.cursor("cursor")) == ((b"1", 1), (b"1", 1), b"c")
    refused = [
        store.submit([Append("s", [Frame([b"again"])])], None, changes),
        store.submit([Append("s", [Frame([b"other"])], 0)], None, [other.change("a", b"2")]),
    ]
    for ticket in refused:
        with pytest.raises(ConditionFailedError):
            ticket.result()
    assert [event.payload for event in store.read("s")] == [b"event"]
    assert other.get("a") == (b"1", 1)


def test_a_table_has_limits(store: SegmentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_KEYS", 3)
    table = store.table("t")
    for key in "abc":
        table.put(key, b"x")
    table.remove("a")
    with pytest.raises(TooLargeError, match="3 keys"):
        table.put("d", b"x")
    table.put("a", b"again")
    store.table("t2").put("d", b"x")
    with pytest.raises(TooLargeError):
        table.put("a", bytes((64 << 10) + 1))
    for name in ("", "a\0b", "x" * 256):
        with pytest.raises(InvalidNameError):
            table.put(name, b"")
        with pytest.raises(InvalidNameError):
            store.table(name)


# streams that the store keeps for itself


def test_the_stores_own_streams_are_shown_to_those_who_ask(store: SegmentStore) -> None:
    store.create_stream("s")
    store.synchronizer(COUNTS, CountsCodec()).update(lambda state: ["a"])
    assert [info.name for info in store.streams()] == ["s"]
    assert [info.name for info in store.streams(internal=True)] == [COUNTS, "s"]
    assert store.stream(COUNTS).config.kind == "state"


def test_nobody_makes_a_stream_of_another_kind_under_the_stores_own_names(store: SegmentStore) -> None:
    for config in (None, StreamConfig(), StreamConfig(kind="bulk")):
        with pytest.raises(InvalidNameError, match="the store's own"):
            store.create_stream("_system/mine", config)
    assert store.create_stream("_systematic/mine")


def test_the_stores_own_streams_are_mirrored_when_asked_for(store: SegmentStore) -> None:
    store.create_stream("s")
    store.writer("s").append(b"1").result()
    store.synchronizer(COUNTS, CountsCodec()).update(lambda state: ["a"])

    def mirrored(*patterns: str) -> list[str]:
        unit = store.next_unit("node", {}, selector(patterns), 1 << 20)
        return [] if unit is None else [part.stream for part in unit.parts]

    assert mirrored("*") == ["s"]
    assert mirrored("_system/counts") == [COUNTS]
    assert sorted(mirrored("*", "_system/*")) == [COUNTS, "s"]


def test_no_node_may_be_called_like_the_stores_own_streams(store: SegmentStore) -> None:
    with pytest.raises(OriginRefusedError, match="the store's own"):
        store.submit_unit(Unit("_system", store.store_id, 1, (), ())).result()


class Scaled:
    """A store in which the stream was scaled."""

    def __init__(self, store: SegmentStore) -> None:
        self._store = store
        self.reader, self.submit_take, self.truncate = store.reader, store.submit_take, store.truncate

    def stream(self, name: str) -> StreamInfo:
        info = self._store.stream(name)
        return replace(info, segments=(*info.segments, *info.segments))


def test_a_stream_of_several_segments_has_no_revisions(store: SegmentStore) -> None:
    store.create_stream("s")
    with pytest.raises(StorageError, match="a stream of one"):
        RevisionedStream(Scaled(store), "s")
