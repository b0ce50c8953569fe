"""How a stream is kept can be changed, but for what says where its data lies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage import SegmentStore, StreamConfig, Ticket
from storage.configuring import take_config
from storage.errors import ConditionFailedError, StorageError, UnknownStreamError
from storage.group import Group
from storage.model import RetentionPolicy, ScalingPolicy
from storage.scaling import take_scale
from tests.storage.conftest import Reopen

SCALED = ScalingPolicy("events", 10.0)


def test_what_can_be_changed_of_a_stream_is_and_stays(reopen: Reopen) -> None:
    store = reopen()
    store.create_stream("s", StreamConfig(priority=3))
    store.writer("s", "w").append(b"1").result()
    wanted = StreamConfig(
        priority=3, scaling=SCALED, retention=RetentionPolicy(60.0), attributes={"unit": "m3/h"}, durable_every_s=2.0
    )
    store.configure_stream("s", wanted)
    assert store.stream("s").config == wanted
    store.writer("s", "w").append(b"2").result()
    store = reopen()
    assert store.stream("s").config == wanted
    assert [event.number for event in store.read("s")] == [0, 1]
    assert store.check().findings == []


@pytest.mark.parametrize("other", [{"kind": "bulk"}, {"priority": 9}, {"when_full": "thin"}])
def test_kind_priority_and_policy_when_full_stay(other: dict[str, str]) -> None:
    with SegmentStore.in_memory() as store:
        store.create_stream("s")
        with pytest.raises(ConditionFailedError, match="keeps the kind, priority and when_full"):
            store.configure_stream("s", replace(StreamConfig(), **other))  # type: ignore[arg-type]
        with pytest.raises(UnknownStreamError):
            store.configure_stream("t", StreamConfig())
        assert store.stream("s").config == StreamConfig()


def test_a_scale_and_a_change_in_one_commit_are_both_done() -> None:
    with SegmentStore.in_memory() as store:
        store.create_stream("s")
        (segment,) = store.stream("s").segments

        def both(group: Group, ticket: Ticket) -> None:
            take_scale(group, ticket, "s", [(0, 0)], segment.keys.split())
            take_config(group, ticket, "s", StreamConfig(scaling=SCALED))

        store.submit_take(both, 0).result()
        assert len(store.stream("s").segments) == 3
        assert store.stream("s").config.scaling == SCALED


def test_a_hub_takes_over_what_was_changed_and_nobody_else_changes_it() -> None:
    with SegmentStore.in_memory() as gateway, SegmentStore.in_memory() as hub:
        gateway.create_stream("s")
        for number in range(2):
            gateway.writer("s").append(b"%d" % number).result()
            unit = gateway.next_unit("g", hub.holdings("g").streams, lambda _: True, 1 << 20)
            assert unit is not None
            hub.submit_unit(unit).result()
            assert hub.stream("g/s").config == gateway.stream("s").config
            gateway.configure_stream("s", StreamConfig(scaling=SCALED))
        with pytest.raises(StorageError, match="mirrored from node 'g'"):
            hub.configure_stream("g/s", StreamConfig())
