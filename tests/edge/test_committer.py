"""The thread that commits, against a disk that misbehaves."""

from __future__ import annotations

import logging
import threading
from contextlib import closing

import pytest

from edge.daemon.committer import Committer
from storage.kv.memory import MemoryTwin
from storage.model import Append, Frame
from storage.store import SegmentStore

DEADLINE_S = 30


def append(payload: bytes) -> list[Append]:
    return [Append("a", [Frame([payload])])]


@pytest.mark.long
def test_it_makes_durable_whatever_is_submitted() -> None:
    with closing(SegmentStore.in_memory()) as store:
        committer = Committer(store, threading.Event().set)
        committer.start()
        store.create_stream("a")
        assert store.submit(append(b"x")).result(DEADLINE_S).stored == 1
        committer.stop()
        assert committer.failed is None


def test_a_failed_sync_ends_it_and_wakes_the_supervisor() -> None:
    twin = MemoryTwin()
    with closing(SegmentStore.in_memory(twin)) as store:
        store.create_stream("a")
        woken = threading.Event()
        committer = Committer(store, woken.set)
        twin.failing_syncs = 1
        committer.start()
        store.submit(append(b"x"))
        assert woken.wait(DEADLINE_S)
        assert committer.failed == "the disk did not sync: what was written since the last sync is not safe"
        committer.stop()


@pytest.mark.long
def test_a_full_disk_does_not_end_it_and_what_waited_is_stored_when_there_is_space(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    twin = MemoryTwin()
    with closing(SegmentStore.in_memory(twin)) as store:
        store.create_stream("a")
        committer = Committer(store, threading.Event().set)
        committer.start()
        twin.capacity_bytes = twin.used_bytes
        ticket = store.submit(append(b"x"))
        with pytest.raises(TimeoutError):
            ticket.result(1.0)
        assert committer.failed is None
        twin.capacity_bytes = None
        assert ticket.result(DEADLINE_S).stored == 1
        committer.stop()
    assert "not storing: the disk is full" in caplog.text
    assert "storing again" in caplog.text
