"""A disk that is really full: a small tmpfs, mounted in a namespace of its own."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from storage import SegmentStore, queue
from storage.errors import StoreBusyError
from tests.small_disk import run_on_small_disk

BALLAST_BYTES = 24 << 20


def fill_and_free(mount: Path) -> None:
    """Runs inside the namespace: fill the disk, see that nothing is lost or falsely acknowledged, free it, go on."""
    queue.QUEUE_BYTES = 4 << 20
    ballast = mount / "ballast"
    ballast.write_bytes(bytes(BALLAST_BYTES))
    path = mount / "store"
    with SegmentStore.open(path) as store:
        store.create_stream("s")
        writer = store.writer("s", "w")
        tickets = []
        acknowledged = 0
        while store.blocked is None:
            tickets.append(writer.append(b"%08d" % writer.next_number + os.urandom(20_000)))
            store.commit()
            assert len(tickets) < 10_000
        print("blocked:", store.blocked)
        assert "disk is full" in store.blocked
        waiting = [ticket for ticket in tickets if not ticket.done()]
        assert waiting
        try:
            while True:
                tickets.append(writer.append(b"%08d" % writer.next_number + os.urandom(20_000)))
        except StoreBusyError as error:
            print("pushed back:", error)
        acknowledged = sum(ticket.done() for ticket in tickets)
        assert len(list(store.read("s"))) == acknowledged
        ballast.unlink()
        deadline = time.monotonic() + 60
        while store.blocked is not None and time.monotonic() < deadline:
            store.commit()
            time.sleep(0.1)
        assert waiting[0].done()
        print("went on by itself; acknowledged", acknowledged, "queued", len(tickets) - acknowledged)
        numbers = [event.number for event in store.read("s")]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > acknowledged
    with SegmentStore.open(path) as store:
        print("recovery:", store.recovery)
        again = [event.number for event in store.read("s")]
        assert again[: len(numbers)] == numbers
        assert again == list(range(len(again)))
        report = store.check()
        assert report.ok, report.findings


@pytest.mark.long
def test_a_full_disk_loses_nothing_and_work_goes_on_when_space_is_freed(tmp_path: Path) -> None:
    assert "went on by itself" in run_on_small_disk(__name__, fill_and_free.__name__, tmp_path)
